import { hasAnyAllow } from '../policy/policy.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import type { Credential } from './credential.js';

/**
 * Every open connection of a listener, by credential: one entry holds one certificate, so identity, key, serial and
 * authority are each one look away, and a change is judged once a credential, not once a connection.
 */
export class LiveConnections {
  readonly #all = new Set<Connection>();
  #whenEmpty: (() => void) | undefined;

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
    if (this.#all.size === 0) this.#whenEmpty?.();
  }

  emptied(): Promise<void> {
    if (this.#all.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty = resolve;
    });
  }

  /** After a swap: each live credential is judged once; a policy change asks again for everything that is open. */
  rejudge(next: Snapshot, before: Snapshot, causeMs: number): void {
    const nowMs = this.context.clock.nowMs();
    const policyChanged = next.policy !== before.policy;
    for (const credential of this.context.credentials.live()) {
      if (this.#endIfRefused(credential, next, nowMs, causeMs)) continue;
      if (policyChanged) this.#applyPolicy(credential, next, nowMs, causeMs);
    }
  }

  /** Periodic: what only the clock changes (notAfter, a CRL's nextUpdate), and every deadline. */
  sweep(snapshot: Snapshot): void {
    const nowMs = this.context.clock.nowMs();
    for (const credential of this.context.credentials.live())
      this.#endIfRefused(credential, snapshot, nowMs, nowMs);
    const { idleMs } = snapshot.config.deadlines;
    for (const connection of this.#all) connection.sweep(nowMs, idleMs);
  }

  closeIdle(): void {
    for (const connection of this.#all) if (connection.open.size === 0) connection.close();
  }

  destroyAll(): void {
    for (const connection of this.#all) {
      for (const exchange of connection.open) exchange.cut('deadline_exceeded');
      connection.socket.destroy();
    }
  }

  #endIfRefused(credential: Credential, snapshot: Snapshot, nowMs: number, causeMs: number): boolean {
    const refusal = credential.judge(snapshot, nowMs);
    if (refusal === undefined) return false;
    const graceMs = snapshot.config.deadlines.accessEndMs;
    for (const connection of credential.connections) {
      if (!this.#all.has(connection) || connection.terminatedBy !== undefined) continue;
      if (connection.refusal !== undefined) continue; // was never let in: it is waiting for its one answer
      connection.judge(snapshot, nowMs);
      connection.endAccess(nowMs, graceMs, { reason: refusal.reason, causeMs });
    }
    return true;
  }

  #applyPolicy(credential: Credential, next: Snapshot, nowMs: number, causeMs: number): void {
    const svid = credential.svid;
    if (svid === undefined) return;
    const nothingLeft = !hasAnyAllow(next.policy, svid.id);
    const graceMs = next.config.deadlines.accessEndMs;
    for (const connection of credential.connections) {
      if (!this.#all.has(connection)) continue;
      if (nothingLeft) {
        connection.endAccess(nowMs, graceMs, { reason: 'policy_denied', causeMs });
        continue;
      }
      for (const exchange of connection.open) {
        if (exchange.isStillAllowed(next, nowMs)) continue;
        if (exchange.longLived || graceMs === 0) exchange.cut('access_ended');
        else exchange.limitTo(nowMs + graceMs);
      }
    }
  }
}
