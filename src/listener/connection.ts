import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { TlsFields } from '../audit/record.js';
import type { Reason, Refusal, RefusalReason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Contraction } from './contraction.js';
import type { Credential } from './credential.js';
import { transportOf } from './peer-address.js';
import type { KeyUse } from './signal-keys.js';
import { isOpenToTokens } from './token-admission.js';
import { Turns } from './turns.js';

/** Something open on a connection that deadlines and the end of access must reach: a request, or a tunnel. */
export interface OpenExchange {
  /** True for a tunnel, which is ended at once with its access; a request may finish for a while. */
  readonly longLived: boolean;
  /** @returns true where the exchange would still be allowed under this snapshot. */
  isStillAllowed(snapshot: Snapshot, nowMs: number): boolean;
  /** Ends it now, visibly incomplete. */
  cut(reason: Reason): void;
  /** Its connection is about to be taken off the wire, because access is over; the rest follows with `connectionClosed`. */
  sever(): void;
  /** The connection is gone; an exchange that waited behind another hears it from nobody else. */
  connectionClosed(): void;
  /** It may run until then (a tick), and is cut after. */
  limitTo(untilTickMs: number): void;
  sweep(tickMs: number): void;
}

/** What several exchanges at once share (HTTP/2). */
export interface Session {
  /** The client is told that no further request is taken; those that it has sent by then are answered. */
  endAfterAnswers(): void;
  /** Takes nothing more, and ends with what is open. */
  close(): void;
  /** Periodic. */
  sweep(tickMs: number): void;
}

/** Why and since when an open connection's access is over. */
export interface Termination {
  readonly reason: RefusalReason;
  /** One for all connections that one change ends. */
  readonly cause: Contraction;
}

/** Resets of streams have so long to get out before their connection is reset. */
const STREAM_RESETS_MS = 1000;
/** Sweeps that a closed connection may take to go (about 5 s). */
const MAX_CLOSING_SWEEPS = 20;

const NO_TLS: TlsFields = { version: undefined, cipher: undefined, resumed: false, serverName: undefined };

/** One accepted connection: whose it is, what runs on it, and whether it may go on. */
export class Connection {
  readonly open = new Set<OpenExchange>();
  /** What came behind the exchange that is open. */
  readonly turns: Turns;
  readonly tls: TlsFields;
  /** As records have it. */
  readonly peer: { readonly address: string };
  requests = 0;
  /** That it came to nothing is recorded already. */
  isRecorded = false;
  /** Ticks are of the monotonic clock: a wall clock that steps must not end or prolong anything. */
  readonly openedTickMs = performance.now();
  lastActiveTickMs = this.openedTickMs;
  /** Set by the first no that ends this connection; never taken back, so that no judged identity returns (P033). */
  #ended: Refusal | undefined;
  /** No further request is read from it. */
  closing = false;
  /** Set where several exchanges run on it at once. */
  session: Session | undefined;
  /** Those that are left to be told that access is over, and then that the connection is gone. */
  #ending: Iterator<OpenExchange> | undefined;
  #closed: Iterator<OpenExchange> | undefined;
  /** It is off the wire by our doing, and what was open on it has not been told: that takes its time (see EndQueue). */
  isSevered = false;
  /** When it went off the wire, Unix milliseconds, where its record is written later. */
  goneAtMs: number | undefined;
  #cutAtTickMs = Number.POSITIVE_INFINITY;
  #closingSweeps = 0;
  readonly #bytesAtOpen: number;
  /** The identity whose share of the connections it takes (see LiveConnections). */
  sharedBy: string | undefined;
  /** Its key, where that is watched (see Signals). */
  keyUse: KeyUse | undefined;
  /** It was opened when little of its credential's life was left, and that has not been told. */
  isNearExpiry = false;
  /** Where its last allowed request went to. */
  lastDestination: string | undefined;
  /** Set when access ended on the open connection; for its record. */
  terminatedBy: Termination | undefined;

  /** @param direction `outbound`: of our own workload, in plaintext, with our own SVID as its credential. */
  constructor(
    readonly id: string,
    readonly socket: Socket,
    readonly peerAddress: string,
    /** Of our own workload it follows the rotation of our SVID (see LiveConnections.rehome). */
    public credential: Credential | undefined,
    readonly openedAtMs: number,
    readonly direction: 'inbound' | 'outbound' = 'inbound',
    /** Name of the listener that accepted it. */
    readonly listener = '',
  ) {
    this.turns = new Turns(socket);
    this.peer = { address: peerAddress };
    this.#bytesAtOpen = socket.bytesRead;
    this.tls = socket instanceof TLSSocket ? tlsFieldsOf(socket) : NO_TLS;
  }

  /** Judges the credential at this moment; a no is for good. */
  judge(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (this.#ended !== undefined) return this.#ended;
    const refusal =
      this.direction === 'outbound' ? this.#judgeOwn(snapshot, nowMs) : this.#judgePeer(snapshot, nowMs);
    if (refusal !== undefined) this.#ended = refusal;
    return refusal;
  }

  #judgePeer(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (this.credential !== undefined) return this.credential.judge(snapshot, nowMs);
    // Where tokens count, each request is to bring one.
    if (isOpenToTokens(snapshot.listeners.get(this.listener))) return undefined;
    return { reason: 'certificate_missing', detail: 'the client sent no certificate' };
  }

  /** What is wrong with our own SVID is no fault of the workload that asks: it may try again later. */
  #judgeOwn(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (snapshot.isOwnWithdrawn) return { reason: 'not_ready', detail: 'our own SVID was withdrawn' };
    const refusal = this.credential?.judge(snapshot, nowMs);
    if (refusal === undefined && this.credential !== undefined) return undefined;
    const { reason = 'certificate_missing', detail = '' } = refusal ?? {};
    return { reason: 'not_ready', detail: `our own SVID: ${reason}${detail && `: ${detail}`}` };
  }

  /** A no that is not the credential's: kept like one. */
  turnAway(refusal: Refusal): void {
    this.#ended ??= refusal;
    this.closing = true;
  }

  /** The no that ended it, once there is one. */
  get refusal(): Refusal | undefined {
    return this.#ended;
  }

  /** Whether the answer to a request that began at `startedMs` (a tick) is the last on it, and must say so. */
  endsWith(startedMs: number, snapshot: Snapshot | undefined): boolean {
    if (this.#ended !== undefined || this.terminatedBy !== undefined || snapshot === undefined) return true;
    if (this.closing && this.turns.size === 0) return true;
    const { limits, deadlines } = snapshot.config;
    return (
      (limits.requestsPerConnection > 0 && this.requests >= limits.requestsPerConnection) ||
      startedMs - this.openedTickMs >= deadlines.connectionAgeMs
    );
  }

  /** What comes now has to wait: behind the exchange that is open, or those that wait, or until it is read again. */
  get isBusy(): boolean {
    return this.open.size > 0 || this.turns.isHeld;
  }

  /** Nothing of any request has arrived. */
  get isSilent(): boolean {
    return this.requests === 0 && this.socket.bytesRead === this.#bytesAtOpen;
  }

  /**
   * Access is over: tunnels end now, requests in flight get `graceMs` to finish, an idle connection is closed.
   * @param tellsCalls HTTP/2 calls are told why, each by itself; else their connection just goes.
   * @returns false where more is to be told than could be until `untilTickMs`: to be called again.
   */
  endAccess(graceMs: number, untilTickMs: number, tellsCalls: boolean): boolean {
    if ((this.session === undefined || !tellsCalls) && this.sever()) return true;
    if (this.#ending === undefined) {
      this.#ending = this.open.values();
      this.session?.close(); // nothing more gets in, while what is open is told
    }
    for (let next = this.#ending.next(); next.done !== true; next = this.#ending.next()) {
      if (next.value.longLived || graceMs === 0) next.value.cut('access_ended');
      if (performance.now() >= untilTickMs) return false;
    }
    if (this.open.size === 0) this.close();
    else this.#cutAtTickMs = Math.min(this.#cutAtTickMs, performance.now() + graceMs);
    return true;
  }

  /**
   * Takes it off the wire at once, as cheaply as can be: thousands must be gone at once. Without TLS's goodbye, which costs a write
   * each. @returns false where something on it still has time.
   */
  sever(): boolean {
    if (this.socket.destroyed) return true;
    for (const exchange of this.open) if (!exchange.longLived) return false;
    this.isSevered = true;
    this.closing = true;
    for (const exchange of this.open) exchange.sever();
    if (this.open.size === 0) this.turns.forget();
    // What HTTP/2 has not ended looks ended to nobody; a reset would take back what was answered and is on its way.
    if (this.open.size === 0 || this.session !== undefined) this.socket.destroy();
    else this.reset();
    return true;
  }

  /** Periodic: deadlines of everything on it. */
  sweep(tickMs: number, idleMs: number): void {
    if (this.isSevered) return;
    this.session?.sweep(tickMs);
    for (const exchange of this.open) exchange.sweep(tickMs);
    if (tickMs >= this.#cutAtTickMs) {
      for (const exchange of this.open) exchange.cut('access_ended');
      // Streams are reset each for itself: behind a GOAWAY, clients take a reset of the transport for a clean end.
      if (this.session === undefined || tickMs >= this.#cutAtTickMs + STREAM_RESETS_MS) this.reset();
    } else if (this.closing && this.open.size === 0) {
      this.#closingSweeps++; // its end is not being taken: it does not get to stay for that
      if (this.#closingSweeps > MAX_CLOSING_SWEEPS) this.socket.destroy();
    } else if (this.open.size === 0 && tickMs - this.lastActiveTickMs >= idleMs) {
      this.close();
    }
  }

  /** Ends it so that nobody takes what arrived for a whole message: a TCP reset, where the transport has one. Not from within
   * 'secureConnection': that brings Node down. */
  reset(): void {
    if (this.socket.destroyed) return;
    const transport = transportOf(this.socket) ?? this.socket;
    try {
      // Where its end is under way the system refuses a reset (libuv, uv_tcp_close_reset), and Node would never close it.
      if (!this.socket.writableEnded) transport.resetAndDestroy();
    } catch {
      // a unix socket has no reset
    }
    this.socket.destroy();
  }

  /** Whoever asks for more than it may is read more slowly: what a flood costs must not be the others' time. */
  holdBack(ms: number): void {
    this.turns.hold(ms, () => {
      if (this.open.size === 0) this.turns.next();
    });
  }

  /** Its socket is gone. @returns false where more is to be told of it than could be until then: to be called again. */
  closed(untilTickMs = Number.POSITIVE_INFINITY): boolean {
    this.isSevered = false;
    this.#closed ??= this.open.values();
    for (let next = this.#closed.next(); next.done !== true; next = this.#closed.next()) {
      next.value.connectionClosed();
      if (performance.now() >= untilTickMs) return false;
    }
    this.turns.letGo();
    this.turns.next(); // what was held back is recorded all the same
    return true;
  }

  /** The answer under way is the last: what came behind it, or still comes, has no effect. */
  endAfterAnswer(): void {
    this.closing = true;
    this.turns.forget();
    this.session?.endAfterAnswers();
  }

  /** Closes an idle connection cleanly (close_notify), and for certain. */
  close(): void {
    this.endAfterAnswer();
    if (this.socket.destroyed || this.session !== undefined) return;
    this.socket.end();
    this.socket.destroySoon();
  }
}

const tlsFieldsOf = (socket: TLSSocket): TlsFields => ({
  version: socket.getProtocol() ?? undefined,
  cipher: socket.getCipher()?.name,
  resumed: socket.isSessionReused(),
  serverName: serverNameOf(socket),
});

function serverNameOf(socket: TLSSocket): string | undefined {
  const name = (socket as TLSSocket & { servername?: string | false }).servername;
  return typeof name === 'string' && name !== '' ? name.toLowerCase() : undefined;
}
