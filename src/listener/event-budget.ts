/** How much of something may happen: `burst` at once, `perSecond` in the long run. */
export class EventBudget {
  #left: number;
  #atTickMs = performance.now();

  constructor(
    readonly burst: number,
    readonly perSecond: number,
  ) {
    this.#left = burst;
  }

  /** @returns false where that is more than there may be. */
  spend(amount = 1): boolean {
    const tickMs = performance.now();
    this.#left = Math.min(this.burst, this.#left + ((tickMs - this.#atTickMs) / 1000) * this.perSecond);
    this.#atTickMs = tickMs;
    this.#left -= amount;
    return this.#left >= 0;
  }
}
