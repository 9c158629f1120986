import { hasAnyAllow } from '../policy/policy.js';
import type { RefusalReason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { affectedBy } from './affected.js';
import type { Connection, Termination } from './connection.js';
import { enforcedRecord } from './connection-record.js';
import { ConnectionShares } from './connection-shares.js';
import type { ListenerContext } from './context.js';
import { Contraction } from './contraction.js';
import type { Credential } from './credential.js';
import { type End, EndQueue } from './end-queue.js';
import { inSlices } from './in-slices.js';
import { flagLongLived } from './long-lived.js';
import { isOpenToTokens } from './token-admission.js';
import { endExchange, UnnamedConnections } from './unnamed-connections.js';

/** How often what is open is asked about again where the policy depends on time. */
const ASK_AGAIN_MS = 900;
/**
 * Every open connection of a listener, by credential: one entry holds one certificate, so identity, key, serial and
 * authority are each one look away, and a change is judged once a credential, not once a connection.
 */
export class LiveConnections {
  readonly #all = new Set<Connection>();
  readonly #shares = new ConnectionShares();
  #whenEmpty: (() => void)[] = [];
  readonly #ends = new EndQueue();
  #isSweeping = false;
  #askedTickMs = 0;

  readonly #unnamed: UnnamedConnections;

  constructor(readonly context: ListenerContext) {
    this.#unnamed = new UnnamedConnections(context, this.#ends);
  }

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#all.values();
  }

  add(connection: Connection): void {
    this.#all.add(connection);
    if (connection.credential === undefined) return this.#unnamed.add(connection);
    connection.credential.connections.add(connection);
    connection.credential.seenAtMs = this.context.clock.nowMs();
  }

  remove(connection: Connection): void {
    this.#all.delete(connection);
    this.#unnamed.remove(connection);
    const { credential, terminatedBy } = connection;
    if (credential !== undefined) {
      credential.connections.delete(connection);
      credential.seenAtMs = this.context.clock.nowMs();
      if (credential.connections.size === 0) this.context.credentials.discardUnvouched(credential);
    }
    if (connection.goneAtMs === undefined) terminatedBy?.cause.gone();
    else terminatedBy?.cause.told();
    this.context.signals.closed(connection);
    this.#shares.giveBack(connection);
    if (this.#all.size > 0) return;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }

  /** Our own SVID has rotated: what our own workload has open goes on under the new one. */
  rehome(credential: Credential): void {
    credential.seenAtMs = this.context.clock.nowMs();
    for (const connection of this.#all) {
      connection.credential?.connections.delete(connection);
      connection.credential = credential;
      credential.connections.add(connection);
    }
  }

  /** Ends all that is open, for a reason that no credential tells. */
  endAll(reason: RefusalReason, cause: Termination['cause'], graceMs: number): void {
    for (const connection of this.#all)
      if (connection.terminatedBy === undefined) this.#ends.add(connection, graceMs, { reason, cause });
    this.#ends.workOff();
  }

  /** Counts an accepted connection as its identity's; false where that identity has all it may have. */
  takeShare(connection: Connection, limit: number): boolean {
    flagLongLived(this.context, connection);
    if (!this.#shares.take(connection, limit)) return false;
    this.context.signals.opened(this.context.name, connection);
    return true;
  }

  emptied(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty.push(resolve);
    });
  }

  /**
   * After a swap: what it can take access from is judged, once a credential, and what else is open is asked about again where
   * the policy changed. Under load this comes in slices; no request is let through meanwhile that the new snapshot refuses.
   */
  rejudge(next: Snapshot, before: Snapshot, contraction: Contraction): void {
    this.#unnamed.rejudge(next, before, contraction);
    const affected = affectedBy(next, before);
    if (affected === undefined) return;
    const policyChanged = next.policy !== before.policy;
    const judge = (credential: Credential): void => {
      const { snapshots, clock } = this.context;
      const [snapshot, nowMs] = [snapshots.current ?? next, clock.nowMs()];
      if (!affected.mayTouch(credential, nowMs)) return;
      if (this.#endIfRefused(credential, snapshot, nowMs, contraction)) return;
      if (policyChanged) this.#applyPolicy(credential, snapshot, nowMs, contraction);
    };
    // Those that are named first: they are few, and ten thousand others need not be looked at before.
    for (const id of affected.ids)
      for (const credential of this.context.credentials.ofId(id)) judge(credential);
    this.#ends.workOff();
    if (affected.isOnlyIds) return;
    contraction.hold();
    const walk = (): void =>
      this.#inSlices([...this.context.credentials.live()].values(), judge, () => {
        contraction.release();
        this.#ends.workOff();
      });
    if (this.#ends.isWorking) setImmediate(walk);
    else walk();
  }

  /** What is left to do about connections that are off the wire: when none is left that is not, and in slices. */
  afterEnds(work: End): void {
    this.#ends.addAfter(work);
  }

  /** Periodic: what only the clock changes (notAfter, a CRL's nextUpdate), and every deadline. */
  sweep(snapshot: Snapshot, idleMs: number): void {
    if (this.#isSweeping || this.#ends.isWorking) return; // ends first; the next sweep is near
    this.#isSweeping = true;
    const contraction = this.contractionBy('clock', this.context.clock.nowMs());
    contraction.hold();
    const look = (): void => this.#sweepConnections(snapshot, idleMs, contraction);
    this.#sweepCredentials(snapshot, contraction, () =>
      this.#unnamed.sweep(snapshot, false, contraction, look),
    );
  }

  #sweepConnections(snapshot: Snapshot, idleMs: number, contraction: Contraction): void {
    const asksAgain = this.#asksAgain(snapshot);
    const look = (connection: Connection): void => {
      if (asksAgain) this.#askAgain(connection, snapshot, contraction);
      connection.sweep(performance.now(), idleMs);
    };
    this.#inSlices(this.#all.values(), look, () => {
      contraction.release();
      this.#ends.workOff();
      this.#isSweeping = false;
    });
  }

  closeIdle(): void {
    for (const connection of this.#all) {
      if (connection.open.size === 0) connection.close();
      else connection.session?.endAfterAnswers(); // calls may stay open for as long as they like
    }
  }

  destroyAll(): void {
    for (const connection of this.#all) {
      for (const exchange of connection.open) exchange.cut('deadline_exceeded');
      // Frames that reset streams go out with the next turn of the loop: without them a client may take the end for a clean one.
      if (connection.session === undefined) connection.reset();
      else setImmediate(() => connection.reset());
    }
  }

  /** An exception dies, and a condition on time turns, without any change of snapshots (PRODUCT §6). */
  #asksAgain(snapshot: Snapshot): boolean {
    const tickMs = performance.now();
    const { policy } = this.context.snapshots.current ?? snapshot;
    if (!policy.isTimeBound || tickMs - this.#askedTickMs < ASK_AGAIN_MS) return false;
    this.#askedTickMs = tickMs;
    return true;
  }

  #askAgain(connection: Connection, snapshot: Snapshot, cause: Contraction): void {
    if (connection.open.size === 0) return;
    const { snapshots, clock } = this.context;
    this.#endDenied(connection, snapshots.current ?? snapshot, clock.nowMs(), cause);
  }

  #sweepCredentials(snapshot: Snapshot, contraction: Contraction, done: () => void): void {
    const { clock, snapshots } = this.context;
    const judge = (credential: Credential): void => {
      this.#endIfRefused(credential, snapshots.current ?? snapshot, clock.nowMs(), contraction);
    };
    this.#inSlices([...this.context.credentials.live()].values(), judge, () => {
      this.#ends.workOff();
      done();
    });
  }

  /** A contraction that is measured and recorded here when it ended something. */
  contractionBy(source: string, seenMs: number): Contraction {
    const { metrics, records, snapshots, clock } = this.context;
    return new Contraction(source, seenMs, clock.nowMs, (enforcement) => {
      if (enforcement.connections === 0) return;
      metrics.observeRevocation(enforcement.latencyMs);
      records.write(enforcedRecord(enforcement, snapshots.current, clock.nowMs()));
    });
  }

  #inSlices<T>(items: Iterator<T>, visit: (item: T) => void, done: () => void): void {
    inSlices(items, visit, () => this.#ends.workOff(), done);
  }

  #endIfRefused(
    credential: Credential,
    snapshot: Snapshot,
    nowMs: number,
    cause: Termination['cause'],
  ): boolean {
    const refusal = credential.judge(snapshot, nowMs);
    if (refusal === undefined) return false;
    const graceMs = snapshot.config.deadlines.accessEndMs;
    for (const connection of credential.connections) {
      if (!this.#all.has(connection) || connection.terminatedBy !== undefined) continue;
      if (connection.refusal !== undefined) continue; // was never let in: it is waiting for its one answer
      connection.judge(snapshot, nowMs);
      this.#ends.add(connection, graceMs, { reason: refusal.reason, cause });
    }
    return true;
  }

  #applyPolicy(credential: Credential, next: Snapshot, nowMs: number, cause: Termination['cause']): void {
    const svid = credential.svid;
    if (svid === undefined) return;
    const mayAllow = next.config.externalDecision?.mayAllow === true; // then no rule need be there for it
    // By a token, somebody else may call on its connections.
    const isAlone = !isOpenToTokens(next.listeners.get(this.context.name));
    const nothingLeft = !mayAllow && isAlone && !hasAnyAllow(next.policy, svid.id, nowMs);
    const graceMs = next.config.deadlines.accessEndMs;
    for (const connection of credential.connections) {
      if (!this.#all.has(connection)) continue;
      if (nothingLeft) {
        this.#ends.add(connection, graceMs, { reason: 'policy_denied', cause });
        continue;
      }
      this.#endDenied(connection, next, nowMs, cause);
    }
  }

  /** What is open on it and would not be let through now. */
  #endDenied(connection: Connection, snapshot: Snapshot, nowMs: number, cause: Termination['cause']): void {
    for (const exchange of connection.open) {
      if (exchange.isStillAllowed(snapshot, nowMs)) continue;
      endExchange(this.#ends, exchange, connection, snapshot, { reason: 'policy_denied', cause });
    }
  }
}
