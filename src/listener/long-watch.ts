/** Deadlines of what may stay open for long, over HTTP like any request: gRPC calls and event streams. Ticks, milliseconds. */
export class LongWatch {
  #movedMs: number;
  #movedBytes = 0;
  readonly #idleMs: number;
  readonly #endMs: number;
  /** When the caller itself wants no answer any more. */
  readonly #callEndMs: number;

  /** @param timeoutMs of the call, by its caller; Infinity = none. */
  constructor(startedMs: number, idleMs: number, ageMs: number, timeoutMs: number) {
    this.#movedMs = startedMs;
    this.#idleMs = idleMs;
    this.#endMs = startedMs + ageMs;
    this.#callEndMs = startedMs + timeoutMs;
  }

  /** What is over, if anything. @param bytes both ways so far. */
  expired(tickMs: number, bytes: number): 'call' | 'stream' | undefined {
    if (bytes !== this.#movedBytes) {
      this.#movedBytes = bytes;
      this.#movedMs = tickMs;
    }
    if (tickMs >= this.#endMs || tickMs - this.#movedMs >= this.#idleMs) return 'stream';
    return tickMs >= this.#callEndMs ? 'call' : undefined;
  }
}
