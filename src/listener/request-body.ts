import { Readable } from 'node:stream';
import type { BodySource } from './client-message.js';

/** What became of a request body that did not end well. */
export type BodyFault = 'body_too_large' | 'client_aborted';

/**
 * The client's body on its way to the upstream. It is not the IncomingMessage itself, because what destroys this one (a
 * failing upstream) must leave the client's connection able to carry our answer.
 */
export class RequestBody extends Readable {
  bytes = 0;
  complete = false;
  readonly #source: BodySource;
  readonly #limit: number;
  readonly #onFault: (fault: BodyFault) => void;
  readonly #declared: number | undefined;
  #held: Buffer | undefined;

  /** @param declared octets that its head promises, where frames and not these say that it is whole. */
  constructor(source: BodySource, limit: number, onFault: (fault: BodyFault) => void, declared?: number) {
    super({ highWaterMark: 64 * 1024 });
    this.#source = source;
    this.#limit = limit;
    this.#onFault = onFault;
    this.#declared = declared;
    const { stream } = source;
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('end', () => this.#finish());
    stream.on('close', () => this.#closed());
    stream.on('error', () => this.#closed());
    stream.pause();
  }

  /** The upstream is not taking what is here for it. */
  get isFull(): boolean {
    return this.readableLength >= this.readableHighWaterMark;
  }

  override _read(): void {
    this.#source.stream.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#source.stream.resume(); // what still comes is read and thrown away, up to the lingering limit of the answer
    callback(error);
  }

  #take(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (this.destroyed) return;
    if (this.bytes > this.#limit) return this.#onFault('body_too_large');
    // The last octet makes it look whole to the upstream: it waits until the client has said that it is (P104).
    if (this.bytes === this.#declared) this.#held = chunk;
    else if (!this.push(chunk)) this.#source.stream.pause();
  }

  #finish(): void {
    if (!this.#source.isWhole) return this.#closed();
    this.complete = true;
    if (this.destroyed) return;
    if (this.#held !== undefined) this.push(this.#held);
    this.push(null);
  }

  #closed(): void {
    if (!this.complete && !this.destroyed) this.#onFault('client_aborted');
  }
}
