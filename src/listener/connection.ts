import type { TLSSocket } from 'node:tls';
import type { TlsFields } from '../audit/record.js';
import type { Reason, Refusal, RefusalReason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Credential } from './credential.js';

/** Something open on a connection that deadlines and the end of access must reach: a request, or a tunnel. */
export interface OpenExchange {
  /** True for a tunnel, which is ended at once with its access; a request may finish for a while. */
  readonly longLived: boolean;
  /** @returns true where the exchange would still be allowed under this snapshot. */
  isStillAllowed(snapshot: Snapshot, nowMs: number): boolean;
  /** Ends it now, visibly incomplete. */
  cut(reason: Reason): void;
  /** The connection is gone; an exchange that waited behind another hears it from nobody else. */
  connectionClosed(): void;
  /** It may run until then, and is cut after. */
  limitTo(untilMs: number): void;
  sweep(nowMs: number): void;
}

/** Why and since when an open connection's access is over. */
export interface Termination {
  readonly reason: RefusalReason;
  readonly causeMs: number;
}

/** Sweeps that a closed connection may take to go (about 5 s). */
const MAX_CLOSING_SWEEPS = 20;

/** One accepted TLS connection: whose it is, what runs on it, and whether it may go on. */
export class Connection {
  readonly open = new Set<OpenExchange>();
  readonly tls: TlsFields;
  requests = 0;
  lastActiveMs: number;
  /** Set by the first no that ends this connection; never taken back, so that no judged identity returns (P033). */
  #ended: Refusal | undefined;
  /** No further request is read from it. */
  closing = false;
  #cutAtMs = Number.POSITIVE_INFINITY;
  #closingSweeps = 0;
  readonly #bytesAtOpen: number;
  /** Set when access ended on the open connection; for its record. */
  terminatedBy: Termination | undefined;

  constructor(
    readonly id: string,
    readonly socket: TLSSocket,
    readonly peerAddress: string,
    readonly credential: Credential | undefined,
    readonly openedAtMs: number,
  ) {
    this.lastActiveMs = openedAtMs;
    this.#bytesAtOpen = socket.bytesRead;
    this.tls = {
      version: socket.getProtocol() ?? undefined,
      cipher: socket.getCipher()?.name,
      resumed: socket.isSessionReused(),
      serverName: serverNameOf(socket),
    };
  }

  /** Judges the credential at this moment; a no is for good. */
  judge(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (this.#ended !== undefined) return this.#ended;
    const refusal =
      this.credential === undefined
        ? { reason: 'certificate_missing' as const, detail: 'the client sent no certificate' }
        : this.credential.judge(snapshot, nowMs);
    if (refusal !== undefined) this.#ended = refusal;
    return refusal;
  }

  /** The no that ended it, once there is one. */
  get refusal(): Refusal | undefined {
    return this.#ended;
  }

  /** Nothing of any request has arrived. */
  get isSilent(): boolean {
    return this.requests === 0 && this.socket.bytesRead === this.#bytesAtOpen;
  }

  /**
   * Access is over: tunnels end now, requests in flight get `graceMs` to finish, an idle connection is closed.
   */
  endAccess(nowMs: number, graceMs: number, termination: Termination): void {
    this.terminatedBy ??= termination;
    for (const exchange of this.open) {
      if (exchange.longLived || graceMs === 0) exchange.cut('access_ended');
    }
    if (this.open.size === 0) this.close();
    else this.#cutAtMs = Math.min(this.#cutAtMs, nowMs + graceMs);
  }

  /** Periodic: deadlines of everything on it. */
  sweep(nowMs: number, idleMs: number): void {
    for (const exchange of this.open) exchange.sweep(nowMs);
    if (nowMs >= this.#cutAtMs) {
      for (const exchange of this.open) exchange.cut('access_ended');
      this.socket.destroy();
    } else if (this.closing && this.open.size === 0) {
      this.#closingSweeps++; // its end is not being taken: it does not get to stay for that
      if (this.#closingSweeps > MAX_CLOSING_SWEEPS) this.socket.destroy();
    } else if (this.open.size === 0 && nowMs - this.lastActiveMs >= idleMs) {
      this.close();
    }
  }

  /** Closes an idle connection cleanly (close_notify), and for certain. */
  close(): void {
    this.closing = true;
    if (this.socket.destroyed) return;
    this.socket.end();
    this.socket.destroySoon();
  }
}

function serverNameOf(socket: TLSSocket): string | undefined {
  const name = (socket as TLSSocket & { servername?: string | false }).servername;
  return typeof name === 'string' && name !== '' ? name.toLowerCase() : undefined;
}
