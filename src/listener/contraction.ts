import type { RefusalReason } from '../reasons.js';

/** What came of one change that takes access away, once the last connection that it ended is gone. */
export interface Enforcement {
  readonly source: string;
  /** Connections that it ended. */
  readonly connections: number;
  readonly reasons: readonly RefusalReason[];
  /** From when the cause was seen. */
  readonly latencyMs: number;
}

/** One change (a revocation, an authority gone, a policy, a date) and the open connections that it ends, on every listener. */
export class Contraction {
  #connections = 0;
  #left = 0;
  /** When the last one so far went off the wire, Unix milliseconds. */
  #lastOffMs: number | undefined;
  /** Listeners that are still looking for connections that it ends, and whoever made it. */
  #holds = 0;
  #isOver = false;
  readonly #reasons = new Set<RefusalReason>();
  #resolveJudged: (connections: number) => void = () => undefined;
  /** Connections that it ends, once all are found; they may still be going. */
  readonly judged: Promise<number>;

  constructor(
    readonly source: string,
    /** When the cause was seen, Unix milliseconds. */
    readonly seenMs: number,
    readonly nowMs: () => number,
    readonly onOver: (enforcement: Enforcement) => void,
  ) {
    this.judged = new Promise((resolve) => {
      this.#resolveJudged = resolve;
    });
  }

  /** Not over before the matching `release`. */
  hold(): void {
    this.#holds++;
  }

  release(): void {
    this.#holds--;
    if (this.#holds === 0) this.#resolveJudged(this.#connections);
    this.#settle();
  }

  /** One more connection that it ends. */
  ends(reason: RefusalReason): void {
    this.#connections++;
    this.#left++;
    this.#reasons.add(reason);
  }

  /** One of them is off the wire; what is left to do about it is done when it is told. */
  offWire(): void {
    this.#lastOffMs = this.nowMs();
  }

  /** All that was to be done about one that is off the wire is done. */
  told(): void {
    this.#left--;
    this.#settle();
  }

  /** One of them is gone. */
  gone(): void {
    this.offWire();
    this.told();
  }

  #settle(): void {
    if (this.#holds > 0 || this.#left > 0 || this.#isOver) return;
    this.#isOver = true;
    const overMs = this.#lastOffMs ?? this.nowMs();
    // After the record of the last connection, which is written by whoever calls `told` or `gone`.
    queueMicrotask(() => {
      const { source } = this;
      const latencyMs = Math.max(0, overMs - this.seenMs);
      this.onOver({ source, connections: this.#connections, reasons: [...this.#reasons], latencyMs });
    });
  }
}
