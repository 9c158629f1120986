import type {
  AccessRecord,
  ExternalFields,
  Outcome,
  PrincipalFields,
  RequestFields,
} from '../audit/record.js';
import type { RouteConfig } from '../config/config.js';
import type { PrincipalId } from '../identity/principal-id.js';
import type { RequestHead } from '../message/request-head.js';
import type { Decision } from '../policy/decision.js';
import { authorize, authorizeExternally, type Permit } from '../policy/permit.js';
import { isTokenFault, type Reason, type Refusal, type Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import type { HeldDelegation } from './delegation.js';
import { observe } from './exchange-metrics.js';
import { accessRecord } from './exchange-record.js';
import { askEngine, isRouteAsked } from './external-question.js';
import type { Admitted, Pending } from './pipeline.js';
import type { ExternalAnswer, UpstreamServer } from './ports.js';
import type { RouteLimiter } from './route-limiter.js';
import type { FoundSecret } from './signal-secrets.js';
import { isStillAllowed } from './still-allowed.js';
import { type Unproven, useUp } from './token-admission.js';
import type { Readings, TokenCredential } from './token-credential.js';
import type { VerifiedDelegation } from './verified-delegation.js';

const NONE: readonly string[] = [];
const PROTOCOLS = { '1.0': 'http/1.0', '1.1': 'http/1.1', '2': 'http/2' } as const;

/** One request from accept to close, whatever carries it. Writes its one record (two for a tunnel) exactly once. */
export abstract class Exchange {
  readonly id: string;
  readonly startedAtMs: number;
  readonly startedMs = performance.now();
  head: RequestHead | undefined;
  route: RouteConfig | undefined;
  permit: Permit | undefined;
  decision: Decision | undefined;
  /** As it was judged; what becomes of the credential later is not this request's. */
  principal: PrincipalFields | undefined;
  /** That it brought, where its route looks at one. */
  token: TokenCredential | undefined;
  /** The token says who calls; else the certificate does. */
  isNamedByToken = false;
  /** What came of verifying its token, where that had to be awaited. */
  proof: Result<Readings> | undefined;
  /** What came of verifying what its caller says of others, where that had to be awaited. */
  claim: Result<HeldDelegation> | undefined;
  /** On whose behalf it is made. */
  delegation: VerifiedDelegation | undefined;
  refusal: Refusal | undefined;
  /** What an external engine said of it last. */
  external: ExternalFields | undefined;
  #asking: AbortController | undefined;
  /** Why the answer is ours, or why it was broken off. */
  reason: Reason | undefined;
  outcome: Outcome = 'complete';
  status = 0;
  requestBytes = 0;
  responseBytes = 0;
  upstreamMs: number | undefined;
  /** Where it was sent, the last time, and how often. */
  server: UpstreamServer | undefined;
  attempts = 0;
  /** `jti` of the assertion that its service gets. */
  assertion: string | undefined;
  /** Of a gRPC call. */
  grpcStatus: number | undefined;
  traceId: string | undefined;
  /** Null before they were looked for. */
  #secrets: readonly FoundSecret[] | undefined | null = null;
  /** Flat: what a refusal tells the client besides its reason. */
  refusalHeaders: readonly string[] = NONE;
  /** For how long its caller is read no further, having asked for too much. */
  protected holdBackMs = 0;
  /** What it was counted by, for as long as it is under way, and as whose. */
  #limiter: RouteLimiter | undefined;
  #countedAs = '';
  #isCounted = false;
  #hasUsedUp = false;
  #recorded = false;
  /** What was recorded before the answer's last byte was sent. */
  #recordedFirst: AccessRecord | undefined;

  constructor(
    readonly listener: ListenerContext,
    readonly connection: Connection,
    /** Pinned at the request's start, or when its token was verified: what it is judged, forwarded and recorded under. */
    public snapshot: Snapshot | undefined,
    /** As the client sent them: kept for the record of a request that never became a head. */
    readonly rawMethod: string | undefined,
    readonly rawTarget: string | undefined,
  ) {
    this.id = listener.ids.next();
    this.startedAtMs = listener.clock.nowMs();
  }

  onServer(server: UpstreamServer): void {
    this.server = server;
    this.attempts++;
  }

  /** As records name it; undefined where its head could not be read. */
  get protocol(): RequestFields['protocol'] {
    return this.head && PROTOCOLS[this.head.httpVersion];
  }

  /** Says no, or that something failed, as far as this exchange still can. */
  abstract refuse(reason: Reason, detail?: string): void;

  /** Static secrets that came with it; looked for where it gets its first record. */
  get secrets(): readonly FoundSecret[] | undefined {
    if (this.#secrets === null) this.#secrets = this.listener.signals.secretsIn(this);
    return this.#secrets;
  }

  /** Who calls; undefined where nothing that was verified says so. */
  get caller(): PrincipalId | undefined {
    return this.isNamedByToken ? this.token?.caller : this.connection.credential?.svid?.id;
  }

  /** Its token has to be verified before anything else. The newest keys verify it, and what they belong to judges it. */
  unproven(text: string): Unproven {
    return {
      prove: async () => {
        this.proof = await this.listener.tokens.verify(text);
        this.snapshot = this.listener.snapshots.current ?? this.snapshot;
      },
    };
  }

  /** Uses up a token that counts once; not again where the request is admitted from the start once more. */
  useUp(snapshot: Snapshot): Refusal | undefined {
    if (this.#hasUsedUp) return undefined;
    this.#hasUsedUp = true;
    return useUp(this, snapshot);
  }

  /** Counts it as one more of its caller's, whatever becomes of it later; where that is one too many, why. */
  takeShare(): Refusal | undefined {
    const { snapshot, listener, route, startedMs } = this;
    const id = this.caller?.uri;
    if (snapshot === undefined || id === undefined) return undefined; // nobody's, and refused for that
    if (this.#isCounted) return undefined;
    this.#isCounted = true;
    const limiter = listener.limits.limiterOf(snapshot.config, route?.name, startedMs);
    if (limiter === undefined) return undefined;
    const refusal = limiter.enter(id, startedMs);
    if (refusal !== undefined) {
      this.refusalHeaders = refusal.headers;
      this.holdBackMs = listener.limits.holdBackMs(id, startedMs);
      return refusal;
    }
    this.#limiter = limiter;
    this.#countedAs = id;
    return undefined;
  }

  /** For an answer that is no refusal, where the configuration wants the caller to know what is left to it. */
  protected limitHeaders(): readonly string[] {
    if (this.snapshot?.config.limits.rateLimitHeaders !== true) return NONE;
    return this.#limiter?.headers(this.#countedAs, performance.now()) ?? NONE;
  }

  /** True where the same request would be let through to the same place under a newer snapshot. */
  isStillAllowed(snapshot: Snapshot, nowMs: number): boolean {
    return isStillAllowed(this, snapshot, nowMs);
  }

  /** It rests on more than its connection's credential. */
  protected get isBorrowing(): boolean {
    return this.token !== undefined || this.delegation !== undefined;
  }

  /**
   * Without a certificate nobody but the token says who is there: after one that is none, its connection carries nothing more.
   * With one it goes on: that of one user must not end what a gateway carries for others.
   */
  protected get isLastOfStranger(): boolean {
    const { reason, connection } = this;
    if (reason === undefined || connection.credential !== undefined) return false;
    return isTokenFault(reason) || reason === 'authorization_malformed';
  }

  /** It has begun to go out, and ends by itself. */
  protected get isUnderWay(): boolean {
    return false;
  }

  /**
   * What of it rests on something else than its connection, and holds no more. What says for whom it is lives for a minute or so:
   * the mere end of that ends no request that was sent while it was good.
   */
  judgeBorrowed(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    const endMs = this.isUnderWay ? (this.delegation?.notAfterMs ?? nowMs) : Number.POSITIVE_INFINITY;
    return this.#judgeWords(snapshot, nowMs, Math.min(nowMs, endMs - 1));
  }

  #judgeWords(snapshot: Snapshot, nowMs: number, delegatedMs = nowMs): Refusal | undefined {
    return this.token?.judge(snapshot, nowMs) ?? this.delegation?.judge(snapshot, delegatedMs);
  }

  /** What stands against it at this moment, when it is only now to be sent: what is true now decides. */
  protected judgeAgain(): Refusal | undefined {
    const { connection, listener } = this;
    const snapshot = listener.snapshots.current;
    if (snapshot === undefined) return { reason: 'not_ready', detail: '' };
    const nowMs = listener.clock.nowMs();
    const refusal = connection.judge(snapshot, nowMs) ?? this.#judgeWords(snapshot, nowMs);
    if (refusal !== undefined) return refusal;
    // A request may wait for its turn longer than what let it in lives.
    const isSameMoment = nowMs === this.permit?.request.nowMs || !snapshot.policy.isTimeBound;
    if (snapshot === this.snapshot && isSameMoment) return undefined;
    const isNew = snapshot !== this.snapshot && this.external === undefined;
    if (isNew && this.route !== undefined && isRouteAsked(snapshot, this.route))
      return { reason: 'external_unavailable', detail: 'to be asked about only since it began' };
    return this.isStillAllowed(snapshot, nowMs) ? undefined : this.#denialNow(snapshot, nowMs);
  }

  /** The record names what says no now, not what said yes before. */
  #denialNow({ policy }: Snapshot, nowMs: number): Refusal {
    const answer = this.permit && authorize(policy, { ...this.permit.request, nowMs });
    if (answer === undefined || answer.ok)
      return { reason: 'policy_denied', detail: 'what let it in has changed since' };
    this.decision = answer.error.decision;
    return answer.error;
  }

  /** Asks the external engine, for as long as the exchange lasts. */
  protected async ask(pending: Pending, isBackground: boolean): Promise<ExternalAnswer> {
    const sinceMs = performance.now();
    this.#asking = new AbortController();
    const answer = await askEngine(this, pending, this.#asking.signal, isBackground);
    this.#asking = undefined;
    const { id, result, cached } = answer;
    const durationMs = Math.round((performance.now() - sinceMs) * 1000) / 1000;
    this.external = { result, id, cached: cached ? true : undefined, durationMs };
    return answer;
  }

  protected stopAsking(): void {
    this.#asking?.abort();
  }

  /** What came of a request that had to wait for the engine: everything is judged again, as of now. */
  protected admitAnswered({ asks, route, snapshot }: Pending, answer: ExternalAnswer): Admitted | Refusal {
    const { listener, connection } = this;
    if (!listener.records.available) return { reason: 'audit_unavailable', detail: '' };
    // First of all, and by what is true now: conditions cannot read a credential that is none any more.
    const { current = snapshot } = listener.snapshots;
    const nowMs = listener.clock.nowMs();
    const ended = connection.judge(current, nowMs) ?? this.#judgeWords(current, nowMs);
    if (ended !== undefined) return ended;
    const mayAllow = snapshot.config.externalDecision?.mayAllow === true;
    const request = { ...asks, nowMs };
    const permit = authorizeExternally(snapshot.policy, request, { ...answer, mayAllow });
    this.decision = permit.ok ? permit.value.decision : permit.error.decision;
    if (!permit.ok) return permit.error;
    this.permit = permit.value;
    const refusal = this.judgeAgain();
    if (refusal === undefined) return { permit: permit.value, route, snapshot };
    this.permit = undefined;
    return refusal;
  }

  protected setRefusal(reason: Reason, detail: string): void {
    this.reason ??= reason;
    this.refusal ??= { reason: reason as Refusal['reason'], detail };
  }

  /** The answer's last byte waits for its record; not that of an answer which says that there can be none. */
  protected get isRecordedFirst(): boolean {
    return this.listener.records.confirms && this.reason !== 'audit_unavailable';
  }

  /**
   * The answer is whole, but for its last byte: the record of that, and `send` once it is kept. Where it is not, the answer must
   * not look whole. Neither is called for an exchange that has ended by then.
   */
  protected recordFirst(send: () => void, reset: () => void): void {
    if (this.#recordedFirst !== undefined) return;
    const record = accessRecord(this, this.#lastPhase, performance.now());
    this.#recordedFirst = record;
    this.listener.records.write(record, (isKept) => this.#confirmed(isKept, send, reset));
  }

  #confirmed(isKept: boolean, send: () => void, reset: () => void): void {
    if (this.#recorded) return;
    if (isKept) return send();
    this.setRefusal('audit_unavailable', 'its record could not be kept');
    this.outcome = 'record_failed';
    reset();
  }

  /** At the very end, aborts included: one record, one observation. */
  finish(): void {
    if (this.#recorded) return;
    this.#recorded = true;
    this.#limiter?.leave(this.#countedAs);
    const { connection } = this;
    connection.open.delete(this as never);
    if (this.isBorrowing) this.listener.borrowed.delete(this as never);
    const tickMs = performance.now();
    connection.lastActiveTickMs = tickMs;
    if (connection.terminatedBy !== undefined && connection.open.size === 0) connection.close();
    const record = this.#lastRecord(tickMs);
    if (this.phase === undefined) this.listener.signals.ended(this, record.principal);
    observe(this, record, (tickMs - this.startedMs) / 1000);
    connection.turns.next();
  }

  #lastRecord(tickMs: number): AccessRecord {
    const first = this.#recordedFirst;
    if (first?.response.outcome === this.outcome) return first;
    const record = accessRecord(this, this.#lastPhase, tickMs);
    // What was called whole did not go out whole: the evidence is set right.
    const last = first === undefined ? record : { ...record, event: 'access.corrected' as const };
    this.listener.records.write(last);
    return last;
  }

  get #lastPhase(): 'end' | undefined {
    return this.phase === undefined ? undefined : 'end';
  }

  /** Set by exchanges that also leave a record at their start. */
  protected phase: 'started' | undefined;

  /** @param begin called once the record is kept as the durability asks; `reset` where it is not. */
  protected recordStart(begin: () => void, reset: () => void): void {
    this.phase = 'started';
    const { records, signals } = this.listener;
    const record = accessRecord(this, 'start', performance.now());
    const waits = records.confirms;
    records.write(record, waits ? (isKept) => this.#confirmed(isKept, begin, reset) : undefined);
    signals.ended(this, record.principal); // an open tunnel may not end for days
    if (!waits) begin();
  }
}
