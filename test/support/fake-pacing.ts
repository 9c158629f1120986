import { EventEmitter, once } from 'node:events';
import type { Pacing } from '../../src/sources/pacing.js';

interface Timer {
  readonly delayMs: number;
  readonly run: () => void;
}

/** Time that passes when it is told to, and lots that always fall the same. */
export class FakePacing implements Pacing {
  nowMs = Date.UTC(2026, 10, 21, 10);
  /** Every delay that was ever asked for, oldest first. */
  readonly asked: number[] = [];
  readonly #timers = new Set<Timer>();
  readonly #events = new EventEmitter();

  /** `instant` delays pass by themselves, at once. */
  constructor(private readonly instant: readonly number[] = []) {}

  schedule(delayMs: number, run: () => void): () => void {
    const timer = { delayMs, run };
    this.asked.push(delayMs);
    if (this.instant.includes(delayMs)) {
      const soon = setImmediate(run);
      return () => clearImmediate(soon);
    }
    this.#timers.add(timer);
    this.#events.emit('scheduled');
    return () => this.#timers.delete(timer);
  }

  draw(): number {
    return 0;
  }

  /** Delays still to pass, those aside that `besides` names. */
  pending(...besides: readonly number[]): number[] {
    return [...this.#timers].map(({ delayMs }) => delayMs).filter((delayMs) => !besides.includes(delayMs));
  }

  /** Waits until a timer is set, those of `besides` aside. */
  async due(...besides: readonly number[]): Promise<Timer> {
    for (;;) {
      const timer = [...this.#timers].find(({ delayMs }) => !besides.includes(delayMs));
      if (timer !== undefined) return timer;
      await once(this.#events, 'scheduled');
    }
  }

  /** The same, then lets its time pass and runs it. The answer is its delay. */
  async pass(...besides: readonly number[]): Promise<number> {
    const timer = await this.due(...besides);
    this.#timers.delete(timer);
    this.nowMs += timer.delayMs;
    timer.run();
    return timer.delayMs;
  }
}
