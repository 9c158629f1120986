import type { Connection, OpenExchange, Termination } from './connection.js';

/** After so long other events get their turn: a thousand ends must not hold up a request. */
const SLICE_MS = 2;

/** Ends as much as it can until then (a tick). @returns false where more is left. */
type End = (untilTickMs: number) => boolean;

/** Connections, and exchanges on them, judged and found over. Nothing new is let through on them, they only have to be told. */
export class EndQueue {
  #ends: End[] = [];
  #isWorking = false;

  /** A slice of it is due. */
  get isWorking(): boolean {
    return this.#isWorking;
  }

  add(connection: Connection, graceMs: number, termination: Termination): void {
    if (connection.terminatedBy !== undefined) return;
    connection.terminatedBy = termination;
    termination.cause.ends(termination.reason);
    this.#ends.push((untilTickMs) => connection.endAccess(graceMs, untilTickMs));
  }

  /** One of several on its connection; the others go on. */
  addExchange(exchange: OpenExchange): void {
    this.#ends.push(() => {
      exchange.cut('access_ended');
      return true;
    });
  }

  workOff(): void {
    if (this.#isWorking || this.#ends.length === 0) return;
    const untilTickMs = performance.now() + SLICE_MS;
    let done = 0;
    for (const end of this.#ends) {
      if (!end(untilTickMs)) break;
      done++;
      if (performance.now() >= untilTickMs) break;
    }
    this.#ends.splice(0, done);
    if (this.#ends.length === 0) return;
    this.#isWorking = true;
    setImmediate(() => {
      this.#isWorking = false;
      this.workOff();
    });
  }
}
