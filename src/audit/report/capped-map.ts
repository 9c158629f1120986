/** The name under which everything is counted that finds no place of its own. */
export const OTHER = '(other)';

/** Names that are longer stand for nothing that we write. */
const MAX_NAME_LENGTH = 2100;

/** A name within a record: empty where there is none. */
export const nameOf = (value: unknown): string =>
  typeof value !== 'string' ? '' : value.length > MAX_NAME_LENGTH ? OTHER : value;

/** A map of at most `cap` names: whatever comes after them shares one entry, so that what is read cannot fill the memory. */
export class CappedMap<V> {
  readonly #entries = new Map<string, V>();
  #other: V | undefined;

  constructor(
    readonly cap: number,
    readonly make: (name: string) => V,
  ) {}

  at(name: string): V {
    return this.#entries.get(name) ?? this.#add(name);
  }

  get(name: string): V | undefined {
    return this.#entries.get(name);
  }

  /** Some names found no place. */
  get isFull(): boolean {
    return this.#other !== undefined;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The shared one last. */
  values(): V[] {
    return this.#other === undefined ? [...this.#entries.values()] : [...this.#entries.values(), this.#other];
  }

  #add(name: string): V {
    if (this.#entries.size >= this.cap || name.length > MAX_NAME_LENGTH) {
      this.#other ??= this.make(OTHER);
      return this.#other;
    }
    const entry = this.make(name);
    this.#entries.set(name, entry);
    return entry;
  }
}
