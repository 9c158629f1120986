import type { Socket } from 'node:net';
import { buildConnector, Client, type Dispatcher } from 'undici';

/** Who runs on a connection; told which one before its first byte is written. */
export interface ConnectionUser {
  connection: PooledClient | undefined;
}

/**
 * One connection of a pool, with a brake of our own. undici's brake stops its parser, and when the upstream ends or resets
 * a `Connection: close` answer while that parser is stopped, an assertion in it throws out of an event: a slow client
 * would end the process. Here the socket stops giving bytes instead, and the parser is never stopped.
 */
export class PooledClient extends Client {
  /** Whole answers that the present socket has carried: only a used connection can have been dead before we wrote. */
  served = 0;
  readonly #reading: { held: boolean; socket: Socket | undefined };

  constructor(origin: URL | string, options: Client.Options, connectMs: number) {
    const reading = { held: false, socket: undefined as Socket | undefined };
    const connect = buildConnector({ timeout: connectMs });
    super(origin, {
      ...options,
      connect: (target, callback) =>
        connect(target, (...result) => {
          const socket: Socket | null | undefined = result[1]; // missing where connecting failed, whatever the types say
          if (socket) this.#take(socket);
          callback(...result);
        }),
    });
    this.#reading = reading;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    (handler as unknown as ConnectionUser).connection = this;
    return super.dispatch(options, handler);
  }

  /** No further bytes of the answer until `release`; what the parser already has still comes. */
  hold(): void {
    this.#reading.held = true;
  }

  release(): void {
    const { held, socket } = this.#reading;
    if (!held) return;
    this.#reading.held = false;
    if (socket !== undefined && !socket.destroyed) socket.emit('readable');
  }

  #take(socket: Socket): void {
    const reading = this.#reading;
    reading.held = false;
    reading.socket = socket;
    this.served = 0;
    const read = socket.read.bind(socket);
    socket.read = (size?: number): unknown => (reading.held ? null : read(size));
    // undici takes a reset for the end of an answer that lasts until the connection closes; it is an answer cut short
    // (RFC 9112 8), so the reset goes by another name.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') error.code = UPSTREAM_RESET;
    });
  }
}

export const UPSTREAM_RESET = 'UPSTREAM_RESET';
