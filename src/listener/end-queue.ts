import type { Connection, Termination } from './connection.js';

/** After so long other events get their turn: a thousand ends must not hold up a request. */
const SLICE_MS = 2;

interface End {
  readonly connection: Connection;
  readonly graceMs: number;
}

/** Connections judged and found over. No request on them is let through any more, they only have to be told. */
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
    this.#ends.push({ connection, graceMs });
  }

  workOff(): void {
    if (this.#isWorking || this.#ends.length === 0) return;
    const untilMs = performance.now() + SLICE_MS;
    let done = 0;
    for (const { connection, graceMs } of this.#ends) {
      done++;
      connection.endAccess(graceMs);
      if (performance.now() >= untilMs) break;
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
