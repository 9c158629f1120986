import type { Connection, OpenExchange, Termination } from './connection.js';

/** After so long other events get their turn: a thousand ends must not hold up a request. */
const SLICE_MS = 2;
/** So long HTTP/2 calls are told, one by one, why they end. Where they are more than that, their connections just go. */
const TELL_MS = 80;
/** With more connections than this to be ended, no call is told. */
const MOST_TOLD = 256;
/** Node ends what is open on an HTTP/2 connection in one piece, right after it: no more calls than this in one turn, or one connection's. */
const CALLS_A_TURN = 50;
/** Those that were told have so long to take it, before their connections go. */
const TAKE_MS = 80;

/** Does as much as it can until then (a tick). @returns false where more is left. */
export type End = (untilTickMs: number) => boolean;

/** Taken in order, as much of it at once as there is time for. */
class Row {
  #ends: End[] = [];
  #next = 0;

  get size(): number {
    return this.#ends.length - this.#next;
  }

  get isEmpty(): boolean {
    return this.#ends.length === 0;
  }

  push(end: End): void {
    this.#ends.push(end);
  }

  /** @returns false where something is left. */
  workOff(untilTickMs: number, isEnough: () => boolean): boolean {
    while (this.#next < this.#ends.length) {
      if (!this.#ends[this.#next]!(untilTickMs)) return false;
      this.#next++;
      if (isEnough() || performance.now() >= untilTickMs) break;
    }
    if (this.#next < this.#ends.length) return false;
    this.#ends = [];
    this.#next = 0;
    return true;
  }
}

/**
 * Connections, and exchanges on them, judged and found over. Nothing new is let through on them. First all of them are taken off
 * the wire; what is left of each, its upstream's side and its records, comes after.
 */
export class EndQueue {
  readonly #ends = new Row();
  readonly #after = new Row();
  #isWorking = false;
  #tellUntilTickMs = 0;
  /** Ended with their connections in this turn. */
  #calls = 0;
  readonly #isEnough = (): boolean => this.#calls >= CALLS_A_TURN;
  /** They know, and are closing. */
  #told: Connection[] = [];
  #takes: NodeJS.Timeout | undefined;

  /** A slice of it is due. */
  get isWorking(): boolean {
    return this.#isWorking;
  }

  add(connection: Connection, graceMs: number, termination: Termination): void {
    if (connection.terminatedBy !== undefined) return;
    connection.terminatedBy = termination;
    termination.cause.ends(termination.reason);
    if (this.#ends.isEmpty) this.#tellUntilTickMs = performance.now() + TELL_MS;
    this.#ends.push((untilTickMs) => this.#end(connection, graceMs, untilTickMs));
  }

  /** One of several on its connection; the others go on. */
  addExchange(exchange: OpenExchange, { reason, cause }: Termination): void {
    cause.ends(reason);
    this.#ends.push(() => {
      exchange.cut('access_ended');
      cause.gone();
      return true;
    });
  }

  /** What is left of one that is off the wire. */
  addAfter(work: End): void {
    this.#after.push(work);
    this.#goOn();
  }

  workOff(): void {
    if (!this.#isWorking) this.#workSlice();
  }

  #end(connection: Connection, graceMs: number, untilTickMs: number): boolean {
    const tellsCalls = this.#ends.size <= MOST_TOLD && performance.now() < this.#tellUntilTickMs;
    const isOver = connection.endAccess(graceMs, untilTickMs, tellsCalls);
    if (connection.isSevered && connection.session !== undefined) this.#calls += connection.open.size;
    if (isOver && connection.session !== undefined && !connection.socket.destroyed)
      this.#awaitTaken(connection);
    return isOver;
  }

  /** What does not close by itself now is closed. */
  #awaitTaken(connection: Connection): void {
    this.#told.push(connection);
    this.#takes?.refresh();
    this.#takes ??= setTimeout(() => {
      this.#takes = undefined;
      for (const told of this.#told) this.#ends.push(() => this.#sever(told));
      this.#told = [];
      this.workOff();
    }, TAKE_MS).unref();
  }

  #sever(connection: Connection): boolean {
    if (connection.sever()) this.#calls += connection.open.size;
    return true;
  }

  #workSlice(): void {
    const untilTickMs = performance.now() + SLICE_MS;
    this.#calls = 0;
    if (this.#ends.workOff(untilTickMs, this.#isEnough) && performance.now() < untilTickMs)
      this.#after.workOff(untilTickMs, this.#isEnough);
    if (!this.#ends.isEmpty || !this.#after.isEmpty) this.#goOn();
  }

  #goOn(): void {
    if (this.#isWorking) return;
    this.#isWorking = true;
    setImmediate(() => {
      this.#isWorking = false;
      this.#workSlice();
    });
  }
}
