import type { Registry } from '../policy/registry.js';

/** What callers choose to show must not grow the memory: beyond this all are forgotten, and told once more. */
const MAX_REMEMBERED = 10_000;

/** Identities that a registry did not know and of which that has been recorded; begun anew where the registry changes. */
export class UnregisteredLog {
  #revision: string | undefined;
  readonly #told = new Set<string>();

  /** True once for an identity and revision. */
  isNew(id: string, { revision }: Registry): boolean {
    if (revision !== this.#revision || this.#told.size >= MAX_REMEMBERED) this.#told.clear();
    this.#revision = revision;
    if (this.#told.has(id)) return false;
    this.#told.add(id);
    return true;
  }
}
