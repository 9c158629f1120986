import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ClientReader } from './client-reader.js';
import { resetSocket } from './reset-socket.js';
import type { TunnelReader } from './tunnel-reader.js';

export interface TunnelEnds {
  /** Where an end is no proof that its side sent all it had (a TLS stream that was cut short). */
  isCutShort(side: 'client' | 'upstream'): boolean;
  /** Both sides have ended in good order, and all is out. */
  onDone(): void;
  /** One side broke off; the upstream's is reset by then, the client's is the owner's to reset. */
  onBroken(side: 'client' | 'upstream', cause: Error | undefined): void;
}

/**
 * Carries bytes both ways until both sides have ended. Each end is passed on behind the last byte of its own way and leaves the
 * other way open; what breaks on one side breaks on the other. Holds no more than the buffers of its two sockets.
 */
export class ByteTunnel {
  readonly #client: Duplex;
  readonly #upstream: Socket;
  readonly #ends: TunnelEnds;
  #error: Error | undefined;
  #left = 2;
  #isOver = false;

  /** Listens for what breaks from now on; bytes flow from `begin`. */
  constructor(client: Duplex, upstream: Socket, ends: TunnelEnds) {
    this.#client = client;
    this.#upstream = upstream;
    this.#ends = ends;
    const keepError = (error: Error): void => {
      this.#error ??= error;
    };
    client.on('error', keepError).once('close', () => this.#closed('client'));
    upstream.on('error', keepError).once('close', () => this.#closed('upstream'));
  }

  /** @param reader reads the upstream, where its transport was opened with one; both sides are then read into large buffers. */
  begin(reader?: TunnelReader): void {
    const client = this.#client;
    const upstream = this.#upstream;
    if (this.#isOver) return;
    // Else the system's end would end the way back as well (RFC 9293 3.6).
    client.allowHalfOpen = true;
    upstream.allowHalfOpen = true;
    // A way that brought nothing may have ended while its record was waited for, and says so only once.
    if (client.readableEnded) this.#clientEnded();
    else client.once('end', () => this.#clientEnded());
    if (upstream.readableEnded) this.#upstreamEnded();
    else upstream.once('end', () => this.#upstreamEnded());
    const isRead = reader !== undefined && client instanceof Socket && ClientReader.begin(client, upstream);
    if (!isRead) this.#carry(client, upstream);
    this.#carry(upstream, client); // brings nothing where a reader does
    reader?.begin(client, upstream);
  }

  /** Nothing more crosses; both sides are their owners' to end. */
  stop(): void {
    this.#isOver = true;
  }

  /** Ends it now, so that nothing on the upstream's side looks complete. */
  destroy(): void {
    this.#isOver = true;
    resetSocket(this.#upstream);
  }

  #clientEnded(): void {
    if (this.#isOver) return;
    if (this.#ends.isCutShort('client')) this.#break('client', undefined);
    else this.#upstream.end();
  }

  #upstreamEnded(): void {
    if (this.#isOver) return;
    if (this.#ends.isCutShort('upstream')) this.#break('upstream', undefined);
    else this.#client.end();
  }

  #closed(side: 'client' | 'upstream'): void {
    if (this.#isOver) return;
    const { readableEnded, writableFinished } = side === 'client' ? this.#client : this.#upstream;
    if (!readableEnded || !writableFinished) return this.#break(side, this.#error);
    if (--this.#left > 0) return;
    this.#isOver = true;
    this.#ends.onDone();
  }

  #break(side: 'client' | 'upstream', cause: Error | undefined): void {
    this.#isOver = true;
    resetSocket(this.#upstream);
    this.#ends.onBroken(side, cause);
  }

  /** What `from` brings goes to `to`, no faster than that takes it. */
  #carry(from: Duplex, to: Duplex): void {
    const resume = (): void => void from.resume();
    from.on('data', (chunk: Buffer) => {
      if (this.#isOver) return; // what a side that is gone has left in its buffer
      if (!to.write(chunk)) from.pause();
    });
    to.on('drain', resume);
    from.resume(); // it may have been paused for what came before
  }
}
