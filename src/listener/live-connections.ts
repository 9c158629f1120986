import { hasAnyAllow } from '../policy/policy.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection, Termination } from './connection.js';
import type { ListenerContext } from './context.js';
import type { Credential } from './credential.js';

/** So many ends are done before other events get their turn: an end costs a TLS goodbye of some 50 µs. */
const ENDS_AT_ONCE = 64;

interface End {
  readonly connection: Connection;
  readonly graceMs: number;
  readonly termination: Termination;
}

/**
 * Every open connection of a listener, by credential: one entry holds one certificate, so identity, key, serial and
 * authority are each one look away, and a change is judged once a credential, not once a connection.
 */
export class LiveConnections {
  readonly #all = new Set<Connection>();
  /** Open connections by the verified identity that opened them. */
  readonly #shares = new Map<string, number>();
  #whenEmpty: (() => void)[] = [];
  /** Judged and found over; no request on them is let through any more, they only have to be told. */
  #ends: End[] = [];

  constructor(readonly context: ListenerContext) {}

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): IterableIterator<Connection> {
    return this.#all.values();
  }

  add(connection: Connection): void {
    this.#all.add(connection);
    connection.credential?.connections.add(connection);
  }

  remove(connection: Connection): void {
    this.#all.delete(connection);
    connection.credential?.connections.delete(connection);
    if (connection.credential?.connections.size === 0)
      this.context.credentials.discardUnvouched(connection.credential);
    const { sharedBy, terminatedBy } = connection;
    if (terminatedBy !== undefined) {
      const { cause } = terminatedBy;
      if (--cause.left === 0)
        this.context.metrics.observeRevocation(this.context.clock.nowMs() - cause.seenMs);
    }
    if (sharedBy !== undefined) {
      const left = (this.#shares.get(sharedBy) ?? 1) - 1;
      if (left === 0) this.#shares.delete(sharedBy);
      else this.#shares.set(sharedBy, left);
    }
    if (this.#all.size > 0) return;
    const waiting = this.#whenEmpty;
    this.#whenEmpty = [];
    for (const resolve of waiting) resolve();
  }

  /** Counts an accepted connection as its identity's; false where that identity has all it may have. */
  takeShare(connection: Connection, limit: number): boolean {
    const id = connection.credential?.svid?.id.uri;
    if (id === undefined) return true;
    const taken = this.#shares.get(id) ?? 0;
    if (taken >= limit) return false;
    this.#shares.set(id, taken + 1);
    connection.sharedBy = id;
    return true;
  }

  emptied(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty.push(resolve);
    });
  }

  /** After a swap: each live credential is judged once; a policy change asks again for everything that is open. */
  rejudge(next: Snapshot, before: Snapshot, causeMs: number): void {
    const nowMs = this.context.clock.nowMs();
    const policyChanged = next.policy !== before.policy;
    const cause = { seenMs: causeMs, left: 0 };
    for (const credential of this.context.credentials.live()) {
      if (this.#endIfRefused(credential, next, nowMs, cause)) continue;
      if (policyChanged) this.#applyPolicy(credential, next, nowMs, cause);
    }
    this.#workOffEnds();
  }

  /** Periodic: what only the clock changes (notAfter, a CRL's nextUpdate), and every deadline. */
  sweep(snapshot: Snapshot, idleMs: number): void {
    const nowMs = this.context.clock.nowMs();
    const cause = { seenMs: nowMs, left: 0 };
    for (const credential of this.context.credentials.live())
      this.#endIfRefused(credential, snapshot, nowMs, cause);
    this.#workOffEnds();
    const tickMs = performance.now();
    for (const connection of this.#all) connection.sweep(tickMs, idleMs);
  }

  closeIdle(): void {
    for (const connection of this.#all) if (connection.open.size === 0) connection.close();
  }

  destroyAll(): void {
    for (const connection of this.#all) {
      for (const exchange of connection.open) exchange.cut('deadline_exceeded');
      connection.reset();
    }
  }

  #endLater(connection: Connection, graceMs: number, termination: Termination): void {
    if (connection.terminatedBy !== undefined) return;
    connection.terminatedBy = termination;
    termination.cause.left++;
    this.#ends.push({ connection, graceMs, termination });
  }

  #workOffEnds(): void {
    for (const { connection, graceMs } of this.#ends.splice(0, ENDS_AT_ONCE)) connection.endAccess(graceMs);
    if (this.#ends.length > 0) setImmediate(() => this.#workOffEnds());
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
      this.#endLater(connection, graceMs, { reason: refusal.reason, cause });
    }
    return true;
  }

  #applyPolicy(credential: Credential, next: Snapshot, nowMs: number, cause: Termination['cause']): void {
    const svid = credential.svid;
    if (svid === undefined) return;
    const nothingLeft = !hasAnyAllow(next.policy, svid.id);
    const graceMs = next.config.deadlines.accessEndMs;
    for (const connection of credential.connections) {
      if (!this.#all.has(connection)) continue;
      if (nothingLeft) {
        this.#endLater(connection, graceMs, { reason: 'policy_denied', cause });
        continue;
      }
      for (const exchange of connection.open) {
        if (exchange.isStillAllowed(next, nowMs)) continue;
        if (exchange.longLived || graceMs === 0) exchange.cut('access_ended');
        else exchange.limitTo(performance.now() + graceMs);
      }
    }
  }
}
