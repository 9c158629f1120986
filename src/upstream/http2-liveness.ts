/** A connection that carries calls and has been silent for so long is asked whether it is there. */
const SILENCE_MS = 30_000;
/** And has so long to answer. */
const ANSWER_MS = 10_000;
/** Without anything else heard since, not again for so long: gRPC servers give up clients that ask more often than in 5 minutes. */
const REPEAT_MS = 310_000;

/** When to send a PING (RFC 9113 6.7), and when a connection is dead: a host that vanished sends no RST. */
export class Http2Liveness {
  /** Asked, and not answered yet. */
  isAsking = false;
  #bytes = 0;
  #heardMs: number;
  #askedMs = Number.NEGATIVE_INFINITY;
  #heardSinceAsked = true;

  constructor(nowMs: number) {
    this.#heardMs = nowMs;
  }

  /** @param bytes that the connection has brought in all. */
  observe(bytes: number, nowMs: number): void {
    if (bytes === this.#bytes) return;
    this.#bytes = bytes;
    this.#heardMs = nowMs;
    this.#heardSinceAsked = true;
  }

  isDead(nowMs: number): boolean {
    return this.isAsking && nowMs - this.#askedMs >= ANSWER_MS && nowMs - this.#heardMs >= ANSWER_MS;
  }

  isSilent(nowMs: number): boolean {
    return nowMs - this.#heardMs >= SILENCE_MS;
  }

  mayAsk(nowMs: number): boolean {
    return !this.isAsking && (this.#heardSinceAsked || nowMs - this.#askedMs >= REPEAT_MS);
  }

  asked(nowMs: number): void {
    this.isAsking = true;
    this.#askedMs = nowMs;
    this.#heardSinceAsked = false;
  }

  /** @param bytes with those of the answer, which say nothing more. */
  answered(bytes: number, nowMs: number): void {
    this.isAsking = false;
    this.#bytes = bytes;
    this.#heardMs = nowMs;
  }
}
