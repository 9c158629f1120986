import type { Connection } from './connection.js';

/** Stands for all that have no certificate: no identity is empty. */
const UNNAMED = '';

/** Open connections of a listener by the verified identity that opened them; those without one share one share. */
export class ConnectionShares {
  readonly #taken = new Map<string, number>();

  /** Counts an accepted connection; false where its identity has all it may have. */
  take(connection: Connection, limit: number): boolean {
    const id = connection.credential === undefined ? UNNAMED : connection.credential.svid?.id.uri;
    if (id === undefined) return true; // of a certificate that is refused anyway
    const taken = this.#taken.get(id) ?? 0;
    if (taken >= limit) return false;
    this.#taken.set(id, taken + 1);
    connection.sharedBy = id;
    return true;
  }

  /** It is gone. */
  giveBack({ sharedBy }: Connection): void {
    if (sharedBy === undefined) return;
    const left = (this.#taken.get(sharedBy) ?? 1) - 1;
    if (left === 0) this.#taken.delete(sharedBy);
    else this.#taken.set(sharedBy, left);
  }
}
