import type { Duplex, Readable } from 'node:stream';
import type { AuditRecord, PrincipalFields, SecretKind } from '../audit/record.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type { TokenIssuer } from '../identity/token-issuer.js';
import type { Delegation } from '../policy/delegation.js';
import type { Permit } from '../policy/permit.js';
import type { Failure, Reason, Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';

/** What the listener needs of the rest; `app` hands it in. */

/** The snapshot in force. Read once at a request's start, then pinned. */
export interface SnapshotHolder {
  readonly current: Snapshot | undefined;
}

/** What a peer presented, as DER in the order it was sent. */
export interface PeerCertificates {
  readonly leaf: Buffer;
  readonly intermediates: readonly Buffer[];
}

/** Reads what the peer presented in the handshake (the one file that knows Node's TLS differences). */
export type PeerReader = (socket: Duplex) => PeerCertificates | undefined;

/** Why a token could not be validated elsewhere: it is bad, nobody there ever validates any, or nobody knows now. */
export interface NotValidated {
  readonly kind: 'rejected' | 'unsupported' | 'unavailable';
  readonly message: string;
}

/** What of verifying tokens has to be asked for elsewhere. */
export interface TokenAuthority {
  /** A token names a key that is not in its issuer's set. Resolves when it has been fetched again: true where the set is another one now. */
  refreshKeys(issuer: string): Promise<boolean>;
  /** The agent's word on a JWT-SVID (SPIFFE Workload API 6.3). */
  validate(audience: string, token: string): Promise<Result<SpiffeId, NotValidated>>;
}

/** What goes out. Framing, Host and Connection are the upstream's to write; they are not in `headers`. */
export interface ForwardRequest {
  readonly method: string;
  /** Path and query, byte for byte as judged. */
  readonly target: string;
  readonly authority: string;
  /** Flat: name, value, name, value. */
  readonly headers: string[];
  readonly body: Readable | undefined;
  /** Octets; undefined = chunked or none. */
  readonly bodyLength: number | undefined;
  /** The client reads trailers (`TE: trailers`, gRPC). Those of the request itself never cross. */
  readonly acceptsTrailers: boolean;
  /** How long a connection for it may take to open; undefined = as the upstream says. */
  readonly connectMs?: number;
}

/** Where a request or tunnel went to. */
export interface UpstreamServer {
  /** As the configuration names it: `127.0.0.1:8080`, `unix:/run/app.sock`. */
  readonly target: string;
  /** Who it proved to be; undefined where nobody asked. */
  readonly identity: PrincipalFields | undefined;
  /** What it is spoken to in; undefined = HTTP/1.1, or no HTTP at all. */
  readonly httpVersion?: '2';
}

/**
 * Answers of one forwarded request. After `onEnd` or `onFailure` nothing more comes. Raw headers are flat, latin1, in valid
 * grammar. How long to wait for them is the handler's to watch.
 */
export interface ForwardHandler {
  /** Asked right before the request's first byte goes out, which may be long after `forward`. False = it must not. */
  mayBegin(): boolean;
  /** Which server its first byte goes to, now; again where it is sent again. */
  onServer(server: UpstreamServer): void;
  onEarlyHints(rawHeaders: readonly string[]): void;
  /** @returns false to pause until `resume`. */
  onHead(status: number, rawHeaders: readonly string[]): boolean;
  onData(chunk: Buffer): boolean;
  /** Right before `onEnd`, where the answer has trailers and they were asked for. Flat, latin1, in valid grammar. */
  onTrailers(rawTrailers: readonly string[]): void;
  onEnd(): void;
  onFailure(failure: Failure): void;
}

export interface ForwardCall {
  /** Something of it may have reached the upstream. */
  readonly hasBegun: boolean;
  resume(): void;
  /**
   * Ends the upstream request now: its connection is destroyed, nothing on it looks complete.
   * @param silence why, where the upstream did not answer in time.
   */
  abort(silence?: Failure): void;
}

export interface TunnelledCall extends ForwardCall {
  /** The client's side is gone by our doing: nothing more crosses, either way. The upstream's is ended by `abort`, later. */
  letGo(): void;
}

/** What becomes of a tunnel. After `onFailure` or `onClose` nothing more comes; a failure may come when it is open, too. */
export interface TunnelHandler {
  /** Asked right before the first byte goes out. False = it must not. */
  mayBegin(): boolean;
  onServer(server: UpstreamServer): void;
  /** The tunnel is open to the upstream; the client hears of it, and bytes flow, when `begin` is called: now, or later. */
  onOpen(begin: () => void): void;
  onFailure(failure: Failure): void;
  onClose(): void;
}

/** Answers of one forwarded upgrade. */
export interface UpgradeHandler extends TunnelHandler {
  /** The upstream said 101: what of its fields the client gets, or undefined where it must not get any of it. */
  fieldsToClient(rawHeaders: readonly string[]): readonly string[] | undefined;
  /** The upstream answered without upgrading; the listener relays it, if it is whole at its close, and closes. */
  onRefused(
    status: number,
    rawHeaders: readonly string[],
    body: Readable & { readonly complete: boolean },
  ): void;
}

export interface UpgradeRequest {
  readonly target: string;
  readonly authority: string;
  readonly headers: string[];
  /** The client's connection and what it sent beyond its head. */
  readonly socket: Duplex;
  readonly head: Buffer;
  /** How long a connection for it may take to open; undefined = as the upstream says. */
  readonly connectMs?: number;
}

export interface ConnectRequest {
  readonly socket: Duplex;
  /** Goes out before anything that the client sends. */
  readonly opening: Buffer | undefined;
  /** Asked when the client's end comes: whether it came without TLS's goodbye, so that somebody may have cut the stream short. */
  readonly isCutShort?: () => boolean;
  readonly connectMs?: number;
}

export interface UpstreamPort {
  forward(permit: Permit, request: ForwardRequest, handler: ForwardHandler): ForwardCall;
  upgrade(permit: Permit, request: UpgradeRequest, handler: UpgradeHandler): TunnelledCall;
  /** Bytes of any kind, both ways, until both sides have ended. */
  connect(permit: Permit, request: ConnectRequest, handler: TunnelHandler): TunnelledCall;
}

/** One reading of one request, as an external engine is to judge it. */
export interface ExternalQuestion {
  /** JSON of the input document without its time: the same text is the same question. */
  readonly input: string;
  /** Whoever asks has gone. */
  readonly signal: AbortSignal;
  /** Nobody waits for it: it leaves room for those who do. */
  readonly isBackground: boolean;
}

export interface ExternalAnswer {
  /** `unavailable`: there is no answer, and nothing may be let through. */
  readonly result: 'allow' | 'deny' | 'unavailable';
  readonly id: string | undefined;
  readonly cached: boolean;
  readonly detail: string;
  /** For how long the engine stands by it, from now; 0 = it did not say. */
  readonly validForMs: number;
  /** Unavailable only because too many questions are under way. */
  readonly isBusy: boolean;
}

export interface ExternalDecisions {
  /** Never rejects: what goes wrong is an answer that lets nothing through. */
  ask(question: ExternalQuestion): Promise<ExternalAnswer>;
}

/** Where records go. */
export interface RecordSink {
  /** False while records cannot be written and the configuration says to refuse then. */
  readonly available: boolean;
  /** An answer's last byte waits for its record. */
  readonly confirms: boolean;
  /**
   * @param confirmed told once, later: true when the record is kept as the durability asks (or `onFailure` says to go on without),
   * false when that could not be, and the answer must not look whole.
   */
  write(record: AuditRecord, confirmed?: (isKept: boolean) => void): void;
}

export interface ListenerMetrics {
  observeRequest(
    listener: string,
    route: string,
    trustDomain: string,
    effect: string,
    code: number,
    seconds: number,
  ): void;
  countRefusal(listener: string, reason: Reason): void;
  countHandshake(listener: string, result: 'accepted' | 'refused', reason: string): void;
  /** A decision beside which another policy was tried out. */
  countShadow(listener: string, effect: string, shadow: string): void;
  countConditionErrors(listener: string, errors: number): void;
  /** A request of a verified identity that the registry does not know. */
  countUnregistered(listener: string): void;
  /** A request of a verified identity on behalf of another, by what said so. */
  countDelegated(listener: string, by: Delegation['by'], effect: string): void;
  /** A static secret came with a request of a verified identity. */
  countStaticSecret(route: string, kind: SecretKind): void;
  /** A request of a verified identity. At most `most` identities are told apart. */
  countPrincipal(principal: string, destination: string, effect: string, most: number): void;
  /** A request that went out with a credential that this route put in. */
  countInjected(route: string): void;
  countTerminated(reason: Reason): void;
  /** A request that this exception let in. */
  countException(id: string): void;
  /** From seeing what ended access to the last connection gone, in milliseconds. */
  observeRevocation(ms: number): void;
}

/** `unknown`: of no issuer that the configuration names, or not readable at all. */
export type TokenKind = TokenIssuer['kind'] | 'unknown';

export interface TokenMetrics {
  /** A token or an assertion was verified, and what came of it; not counted where it is remembered. */
  countVerification(kind: TokenKind, result: 'ok' | 'refused' | 'unverifiable'): void;
}

export interface Diagnostics {
  info(detail: object, message: string): void;
  warn(detail: object, message: string): void;
  error(detail: object, message: string): void;
}

export interface Clock {
  nowMs(): number;
}
