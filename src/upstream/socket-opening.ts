import type { NetConnectOpts, Socket } from 'node:net';
import type { UpstreamTarget } from '../config/config.js';
import { Failure } from '../reasons.js';
import type { Carrier, Opening, OpenOptions } from './connector.js';

const WRITE_AHEAD_BYTES = 64 * 1024;
const KEEP_ALIVE_PROBE_MS = 60_000;

/** What every connection to an upstream has in common, as net.connect and tls.connect take it. */
export function socketOptions({ address }: UpstreamTarget, options: OpenOptions): NetConnectOpts {
  const shared = {
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
    highWaterMark: WRITE_AHEAD_BYTES,
    allowHalfOpen: options.allowHalfOpen === true,
    ...(options.onread === undefined ? {} : { onread: options.onread }),
  };
  return address.kind === 'unix'
    ? { ...shared, path: address.path }
    : { ...shared, host: address.host, port: address.port };
}

/** Waits for one socket to be ready, for as long as it may take; then it listens to nothing of it any more. */
export class SocketOpening implements Opening {
  readonly #socket: Socket;
  readonly #readyEvent: 'connect' | 'secureConnect';
  readonly #ready: () => Carrier | Failure;
  readonly #done: (result: Carrier | Failure) => void;
  readonly #timer: NodeJS.Timeout;
  #error: NodeJS.ErrnoException | undefined;
  /** TCP is there: what goes wrong from then on is TLS. */
  #isConnected = false;

  /** @param ready judges the socket when it is up; a Failure closes it. */
  constructor(
    socket: Socket,
    readyEvent: 'connect' | 'secureConnect',
    connectMs: number,
    ready: () => Carrier | Failure,
    done: (result: Carrier | Failure) => void,
  ) {
    this.#socket = socket;
    this.#readyEvent = readyEvent;
    this.#ready = ready;
    this.#done = done;
    this.#timer = setTimeout(this.#onTimeout, connectMs);
    socket.once('connect', this.#onConnect);
    socket.once(readyEvent, this.#onReady);
    socket.on('error', this.#onError);
    socket.once('close', this.#onClose);
  }

  cancel(): void {
    this.#leave();
    this.#socket.on('error', ignore);
    this.#socket.destroy();
  }

  readonly #onConnect = (): void => {
    this.#isConnected = true;
  };

  readonly #onReady = (): void => {
    const result = this.#ready();
    if (result instanceof Failure) return this.#fail(result);
    this.#leave();
    this.#done(result);
  };

  readonly #onError = (error: NodeJS.ErrnoException): void => {
    this.#error = error;
  };

  readonly #onClose = (): void => {
    this.#fail(this.#isConnected ? tlsFailure(this.#error) : connectFailure(this.#error));
  };

  readonly #onTimeout = (): void => {
    this.#fail(new Failure('upstream_connect_timeout', 'connecting took too long'));
  };

  #fail(failure: Failure): void {
    this.cancel();
    this.#done(failure);
  }

  #leave(): void {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    socket.off('connect', this.#onConnect);
    socket.off(this.#readyEvent, this.#onReady);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
  }
}

const ignore = (): void => undefined;

function connectFailure(error: NodeJS.ErrnoException | undefined): Failure {
  const cause = error === undefined ? {} : { cause: error };
  return error?.code === 'ETIMEDOUT'
    ? new Failure('upstream_connect_timeout', error.message, cause)
    : new Failure('upstream_unreachable', error?.message ?? 'the connection closed', cause);
}

/** A connection that breaks in the handshake is out of reach; everything else is a server that cannot be trusted. */
function tlsFailure(error: NodeJS.ErrnoException | undefined): Failure {
  const isLost = error === undefined || TRANSPORT_ERRORS.has(error.code ?? '');
  return isLost ? connectFailure(error) : new Failure('upstream_untrusted', error.message, { cause: error });
}

const TRANSPORT_ERRORS: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ECONNABORTED']);
