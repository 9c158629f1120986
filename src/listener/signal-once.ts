/** What has been told, and when. Bounded: beyond `capacity` the oldest is forgotten, and told once more where it comes again. */
export class ToldOnce {
  readonly #toldAt = new Map<string, number>();
  #forgotten = 0;

  constructor(
    readonly capacity: number,
    /** Told again after so long. */
    readonly againMs = Number.POSITIVE_INFINITY,
  ) {}

  get size(): number {
    return this.#toldAt.size;
  }

  /** How many were forgotten before their time. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** True where it is to be told now. */
  isNew(what: string, nowMs: number): boolean {
    const toldMs = this.#toldAt.get(what);
    if (toldMs !== undefined && nowMs - toldMs < this.againMs && nowMs >= toldMs) return false;
    this.#toldAt.delete(what);
    this.#toldAt.set(what, nowMs);
    if (this.#toldAt.size > this.capacity) {
      this.#toldAt.delete(this.#toldAt.keys().next().value ?? what);
      this.#forgotten++;
    }
    return true;
  }
}
