import type { Snapshot } from '../snapshot.js';
import type { BorrowingExchange } from './borrowed.js';
import type { Connection, OpenExchange, Termination } from './connection.js';
import type { ListenerContext } from './context.js';
import type { Contraction } from './contraction.js';
import type { EndQueue } from './end-queue.js';
import { inSlices } from './in-slices.js';

/**
 * What no certificate tells of: open connections of clients without one, and whatever is under way and rests on a token or a
 * delegation. Each is looked at after every change, and the latter at every sweep: tokens end by the clock.
 */
export class UnnamedConnections {
  readonly #all = new Set<Connection>();

  constructor(
    readonly context: ListenerContext,
    readonly ends: EndQueue,
  ) {}

  add(connection: Connection): void {
    this.#all.add(connection);
  }

  remove(connection: Connection): void {
    this.#all.delete(connection);
  }

  /** After a swap. */
  rejudge(next: Snapshot, before: Snapshot, cause: Contraction): void {
    if (this.#all.size === 0 && this.context.borrowed.size === 0) return;
    const isChanged = next.config !== before.config || next.policy !== before.policy;
    cause.hold();
    const done = (): void => {
      cause.release();
      this.ends.workOff();
    };
    this.sweep(next, isChanged, cause, () => {
      if (!isChanged) return done();
      this.#inSlices(this.#all.values(), (connection) => this.#endRefused(connection, next, cause), done);
    });
  }

  /** @param isChanged what policy says of it may be another now. */
  sweep(snapshot: Snapshot, isChanged: boolean, cause: Contraction, done: () => void): void {
    const { borrowed, snapshots, clock } = this.context;
    const judge = (exchange: BorrowingExchange): void => {
      const { connection } = exchange;
      const [current, nowMs] = [snapshots.current ?? snapshot, clock.nowMs()];
      const refusal = exchange.judgeBorrowed(current, nowMs);
      // With a certificate, policy is asked where its credential is looked at.
      const asksPolicy = isChanged && connection.credential === undefined;
      if (refusal === undefined && !(asksPolicy && !exchange.isStillAllowed(current, nowMs))) return;
      borrowed.delete(exchange); // it is ended once
      const reason = refusal?.reason ?? 'policy_denied';
      endExchange(this.ends, exchange, connection, current, { reason, cause });
    };
    this.#inSlices(borrowed.values(), judge, () => {
      this.ends.workOff();
      done();
    });
  }

  #endRefused(connection: Connection, snapshot: Snapshot, cause: Contraction): void {
    if (connection.terminatedBy !== undefined || connection.refusal !== undefined) return;
    const { snapshots, clock } = this.context;
    const current = snapshots.current ?? snapshot;
    const refusal = connection.judge(current, clock.nowMs());
    if (refusal === undefined) return;
    this.ends.add(connection, current.config.deadlines.accessEndMs, { reason: refusal.reason, cause });
  }

  #inSlices<T>(items: Iterator<T>, visit: (item: T) => void, done: () => void): void {
    inSlices(items, visit, () => this.ends.workOff(), done);
  }
}

/** Ends one exchange whose access is over; what else is on its connection goes on where it can. */
export function endExchange(
  ends: EndQueue,
  exchange: OpenExchange,
  connection: Connection,
  { config: { deadlines } }: Snapshot,
  termination: Termination,
): void {
  const graceMs = deadlines.accessEndMs;
  if (exchange.longLived && connection.session !== undefined) ends.addExchange(exchange, termination);
  // A tunnel is all that there is on its connection.
  else if (exchange.longLived) ends.add(connection, graceMs, termination);
  else if (graceMs === 0) exchange.cut('access_ended');
  else exchange.limitTo(performance.now() + graceMs);
}
