import type { Readable, Writable } from 'node:stream';

/** Sends one request's body on its stream, as fast as the upstream takes it, and never more or less than was declared. */
export class Http2BodyWriter {
  /** All of the request was handed to the stream. */
  isWhole = false;
  /** Octets; undefined = nothing was declared. */
  #left: number | undefined;
  #stopped = false;
  readonly #stream: Writable;
  readonly #body: Readable;
  readonly #onFault: (problem: string) => void;

  /** @param onFault called at most once: what is sent can no longer become the request that was declared. */
  constructor(
    stream: Writable,
    body: Readable,
    length: number | undefined,
    onFault: (problem: string) => void,
  ) {
    this.#stream = stream;
    this.#body = body;
    this.#left = length;
    this.#onFault = onFault;
    body.on('data', (chunk: Buffer) => this.#write(chunk));
    body.on('end', () => this.#end());
    body.on('error', (error: Error) => this.#fault(error.message));
    body.on('close', () => this.#end());
  }

  /** What was written before is on its way. */
  drained(): void {
    if (!this.#stopped) this.#body.resume();
  }

  /** Nothing more is sent; the rest of the body is its owner's to throw away. */
  stop(): void {
    this.#stopped = true;
    this.#body.destroy();
  }

  #write(chunk: Buffer): void {
    if (this.#stopped || chunk.length === 0) return;
    if (this.#left !== undefined) {
      if (chunk.length > this.#left) return this.#fault('the body is longer than was declared');
      this.#left -= chunk.length;
      if (this.#left === 0) {
        this.isWhole = true;
        this.#stream.end(chunk); // END_STREAM goes with the last octets
        return;
      }
    }
    if (!this.#stream.write(chunk)) this.#body.pause();
  }

  #end(): void {
    if (this.#stopped || this.isWhole) return;
    if (!this.#body.readableEnded) return this.#fault('the body was given up');
    if (this.#left !== undefined && this.#left > 0)
      return this.#fault('the body is shorter than was declared');
    this.isWhole = true;
    this.#stream.end();
  }

  #fault(problem: string): void {
    if (this.#stopped || this.isWhole) return;
    this.stop();
    this.#onFault(problem);
  }
}
