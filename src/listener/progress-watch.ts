/** In every span of the body's deadline so much must have come (P108): a burst at the start buys no time. */
const MIN_BYTES_PER_MS = 1;

/** Whether the two sides of one exchange keep moving. Ticks and deadlines are milliseconds of the monotonic clock. */
export class ProgressWatch {
  readonly #bodyMs: number;
  readonly #firstByteMs: number;
  /** The present span of the request body: since when, and how much had come by then. */
  #spanFromMs: number;
  #spanFromBytes = 0;
  /** When the upstream was last seen to move, and how far it had come. */
  #upstreamMovedMs: number;
  #upstreamMovedBytes = 0;
  /** Since when the client does not take what there is for it; 0 = it does. */
  #stalledSinceMs = 0;

  constructor(startedMs: number, bodyMs: number, firstByteMs: number) {
    this.#spanFromMs = startedMs;
    this.#upstreamMovedMs = startedMs;
    this.#bodyMs = bodyMs;
    this.#firstByteMs = firstByteMs;
  }

  clientStalls(): void {
    this.#stalledSinceMs = performance.now();
  }

  clientMoves(): void {
    this.#stalledSinceMs = 0;
  }

  /** @param bytes of the request body so far, while it is not whole. */
  isBodyTooSlow(tickMs: number, bytes: number): boolean {
    if (tickMs - this.#spanFromMs <= this.#bodyMs) return false;
    if (bytes - this.#spanFromBytes < this.#bodyMs * MIN_BYTES_PER_MS) return true;
    this.#spanFromMs = tickMs;
    this.#spanFromBytes = bytes;
    return false;
  }

  /** The client has taken nothing of the answer for too long (P109). */
  isClientTooSlow(tickMs: number): boolean {
    return this.#stalledSinceMs !== 0 && tickMs - this.#stalledSinceMs > this.#bodyMs;
  }

  /**
   * The only watch over the first byte: it also sees requests that wait for a free connection of a stuck upstream, and
   * answers that stop half-way. What waits for the client is no silence.
   * @param hears false while the upstream has not had the whole question: the body's deadline watches then.
   */
  isUpstreamSilent(tickMs: number, hears: boolean, isAnswered: boolean, responseBytes: number): boolean {
    const moved = responseBytes + (isAnswered ? 1 : 0);
    if (this.#stalledSinceMs !== 0 || (!isAnswered && !hears) || moved !== this.#upstreamMovedBytes) {
      this.#upstreamMovedBytes = moved;
      this.#upstreamMovedMs = tickMs;
      return false;
    }
    return tickMs - this.#upstreamMovedMs > (isAnswered ? this.#bodyMs : this.#firstByteMs);
  }

  /** Nothing of it has gone out for as long as the first byte of an answer may take. */
  isOverdue(tickMs: number, sinceMs: number): boolean {
    return tickMs - sinceMs > this.#firstByteMs;
  }
}
