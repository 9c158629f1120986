import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

/** What became of a request body that did not end well. */
export type BodyFault = 'body_too_large' | 'client_aborted';

/**
 * The client's body on its way to the upstream. It is not the IncomingMessage itself, because what destroys this one (a
 * failing upstream) must leave the client's connection able to carry our answer.
 */
export class RequestBody extends Readable {
  bytes = 0;
  complete = false;
  readonly #source: IncomingMessage;
  readonly #limit: number;
  readonly #onFault: (fault: BodyFault) => void;

  constructor(source: IncomingMessage, limit: number, onFault: (fault: BodyFault) => void) {
    super({ highWaterMark: 64 * 1024 });
    this.#source = source;
    this.#limit = limit;
    this.#onFault = onFault;
    source.on('data', (chunk: Buffer) => this.#take(chunk));
    source.on('end', () => this.#finish());
    source.on('close', () => this.#closed());
    source.on('error', () => this.#closed());
    source.pause();
  }

  /** The upstream is not taking what is here for it. */
  get isFull(): boolean {
    return this.readableLength >= this.readableHighWaterMark;
  }

  override _read(): void {
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source.resume(); // what still comes is read and thrown away, up to the lingering limit of the answer
    callback(error);
  }

  #take(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.destroyed) return;
    if (this.bytes > this.#limit) return this.#onFault('body_too_large');
    if (!this.push(chunk)) this.#source.pause();
  }

  #finish(): void {
    this.complete = true;
    if (!this.destroyed) this.push(null);
  }

  #closed(): void {
    if (!this.complete && !this.destroyed) this.#onFault('client_aborted');
  }
}
