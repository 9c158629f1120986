/** How many requests of each caller are under way. Bounded by the connections that are open: each carries one at a time. */
export class OpenCounts {
  readonly #open = new Map<string, number>();

  constructor(public most: number) {}

  hasRoom(id: string): boolean {
    return (this.#open.get(id) ?? 0) < this.most;
  }

  enter(id: string): void {
    this.#open.set(id, (this.#open.get(id) ?? 0) + 1);
  }

  leave(id: string): void {
    const left = (this.#open.get(id) ?? 0) - 1;
    if (left > 0) this.#open.set(id, left);
    else this.#open.delete(id);
  }

  /** How many callers have one under way. */
  get size(): number {
    return this.#open.size;
  }
}
