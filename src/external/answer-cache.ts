import type { EngineAnswer } from '../policy/external-answer.js';

/** Two clocks: one that is set back must not prolong an answer, nor one that stands while the machine sleeps. */
export interface Moment {
  /** Milliseconds of the monotonic clock. */
  readonly tickMs: number;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

interface Entry {
  readonly answer: EngineAnswer;
  readonly askedAt: Moment;
}

/** Answers that said for how long they may be used again, the least recently used forgotten first. */
export class AnswerCache {
  readonly #entries = new Map<string, Entry>();

  constructor(readonly capacity: number) {}

  get size(): number {
    return this.#entries.size;
  }

  find(key: string, now: Moment): { readonly answer: EngineAnswer; readonly validForMs: number } | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    const validForMs = leftOf(entry, now);
    if (validForMs <= 0) return undefined;
    this.#entries.set(key, entry); // most recent last
    return { answer: entry.answer, validForMs };
  }

  /** @param askedAt when the question was sent: an answer ages on its way. */
  keep(key: string, answer: EngineAnswer, askedAt: Moment): void {
    if (answer.ttlMs === 0 || this.capacity === 0) return;
    this.#entries.delete(key);
    this.#entries.set(key, { answer, askedAt });
    if (this.#entries.size <= this.capacity) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  clear(): void {
    this.#entries.clear();
  }
}

/** By whichever clock it is older; a clock that went back before the question tells nothing. */
function leftOf({ answer, askedAt }: Entry, { tickMs, nowMs }: Moment): number {
  if (nowMs < askedAt.nowMs) return 0;
  return answer.ttlMs - Math.max(tickMs - askedAt.tickMs, nowMs - askedAt.nowMs);
}
