/** So many at once, and so many that wait for their turn, in order. */
export class Slots {
  #taken = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(
    readonly most: number,
    readonly mostWaiting: number,
  ) {}

  /** @returns undefined, and does nothing, where too many wait already. */
  run<T>(work: () => Promise<T>): Promise<T> | undefined {
    if (this.#taken >= this.most && this.#waiting.length >= this.mostWaiting) return undefined;
    return this.#run(work);
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.most) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#taken++;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift(); // which takes over the slot
      if (next === undefined) this.#taken--;
      else next();
    }
  }
}
