import type { PrincipalFields, SharedFields } from '../audit/record.js';
import type { SignalSettings } from '../config/config.js';
import { withoutBearer } from './bearer.js';
import type { Connection } from './connection.js';
import type { CredentialIndex } from './credential.js';
import type { Exchange } from './exchange.js';
import type { Clock, ListenerMetrics, RecordSink, SnapshotHolder } from './ports.js';
import { CertificateCount } from './signal-certificates.js';
import { type Finding, Findings } from './signal-findings.js';
import { type KeyUse, KeyUses } from './signal-keys.js';
import { ToldOnce } from './signal-once.js';
import {
  edgeFirstSeenRecord,
  identityFirstSeenRecord,
  nearExpiryRecord,
  type Seen,
  secretRecord,
  sharedRecord,
} from './signal-records.js';
import { type FoundSecret, SecretFinder } from './signal-secrets.js';

/** Identities, edges, and secrets by kind, caller and route: no more are remembered than this of each. */
const MAX_REMEMBERED = 10_000;
/** A static secret that still arrives is told again. */
const SECRET_AGAIN_MS = 86_400_000;
/** Of a list in a record. */
const MAX_LISTED = 20;

export interface SignalParts {
  readonly snapshots: SnapshotHolder;
  readonly credentials: CredentialIndex;
  readonly records: RecordSink;
  readonly metrics: ListenerMetrics;
  readonly clock: Clock;
}

/**
 * What is worth a look though nothing refuses it. Most is computed where a connection opens; a request costs a look at the
 * first and last character of each of its header names, and a few comparisons. Only who was let in is looked at: strangers
 * can neither raise a signal nor fill its memory.
 */
export class Signals {
  readonly #keys = new KeyUses();
  readonly #findings = new Findings();
  readonly #certificates: CertificateCount;
  readonly #identities = new ToldOnce(MAX_REMEMBERED);
  readonly #edges = new ToldOnce(MAX_REMEMBERED);
  readonly #secrets = new ToldOnce(MAX_REMEMBERED, SECRET_AGAIN_MS);
  #finder: SecretFinder | undefined;
  #finderOf: SignalSettings | undefined;

  constructor(readonly parts: SignalParts) {
    this.#certificates = new CertificateCount(parts.credentials);
  }

  /** A connection of a verified identity was let in. */
  opened(listener: string, connection: Connection): void {
    const { credential, peerAddress } = connection;
    const settings = this.#settings;
    if (settings === undefined || credential?.svid === undefined) return;
    const nowMs = this.parts.clock.nowMs();
    const { id, leaf } = credential.svid;
    const seen = this.#seenBy(listener, credential.principalFields(), nowMs);
    const use = this.#keys.of(leaf.keySha256);
    use.opened(id.uri, peerAddress, settings.privatePrefix, nowMs);
    connection.keyUse = use;
    if (settings.firstSeen && this.#identities.isNew(id.uri, nowMs))
      this.parts.records.write(identityFirstSeenRecord(seen, connection.id));
    this.#lookAtKey(use, settings, seen);
    if (credential.connections.size === 1) this.#lookAtId(id.uri, settings, seen);
    const { nearExpiry } = settings;
    const leftMs = leaf.notAfterMs - nowMs;
    connection.isNearExpiry =
      nearExpiry !== false &&
      !credential.isToldNearExpiry &&
      leftMs < (leaf.notAfterMs - leaf.notBeforeMs) * nearExpiry;
  }

  /** It is gone. Whether it was ever let in it knows itself. */
  closed(connection: Connection): void {
    const { keyUse, sharedBy, peerAddress } = connection;
    if (keyUse === undefined || sharedBy === undefined) return;
    connection.keyUse = undefined;
    const nowMs = this.parts.clock.nowMs();
    this.#findings.touch('addresses', keyUse.sha256, nowMs);
    this.#findings.touch('ids', keyUse.sha256, nowMs);
    this.#findings.touch('certificates', sharedBy, nowMs);
    keyUse.closed(sharedBy, peerAddress, nowMs);
  }

  /** Static secrets that came with a request; undefined where there is none. */
  secretsIn({ head, snapshot, startedAtMs, token }: Exchange): readonly FoundSecret[] | undefined {
    const settings = snapshot?.config.audit.signals;
    if (settings === undefined || !settings.staticSecrets || head === undefined) return undefined;
    if (settings !== this.#finderOf || this.#finder === undefined) {
      this.#finder = new SecretFinder(settings);
      this.#finderOf = settings;
    }
    // What was verified as a token here is what we ask for, and no secret of a service.
    const lines = token === undefined ? head.rawHeaders : withoutBearer(head.rawHeaders);
    return this.#finder.find(lines, head.target.query, startedAtMs);
  }

  /** A request has its record: at its end, or where a tunnel opened. */
  ended(exchange: Exchange, principal: PrincipalFields | undefined): void {
    if (principal === undefined || principal.kind === 'none') return;
    const { connection, permit, snapshot, secrets, token, isNamedByToken } = exchange;
    if (connection.isNearExpiry && !isNamedByToken) this.#tellNearExpiry(exchange, principal);
    const caller = isNamedByToken && token !== undefined ? token : connection;
    if (permit !== undefined && permit.request.destination !== caller.lastDestination) {
      if (caller === token) this.#lookAtBearer(exchange, principal);
      this.#lookAtEdge(exchange, principal, caller, permit.request.destination);
    }
    if (secrets !== undefined) for (const secret of secrets) this.#tellSecret(exchange, principal, secret);
    const most = snapshot?.config.metrics.principals ?? 0;
    if (most > 0) {
      const effect = permit === undefined ? 'deny' : 'allow';
      this.parts.metrics.countPrincipal(principal.id, exchange.route?.upstream ?? '', effect, most);
    }
  }

  /** What lasts at this moment. */
  get shared(): readonly Finding[] {
    return this.#findings.current(this.parts.clock.nowMs(), this.#settings?.overMs ?? 0);
  }

  /** How much is remembered, and what had to be forgotten before its time. */
  get memory(): object {
    const of = ({ size, forgotten }: ToldOnce): object => ({ known: size, forgotten });
    return {
      keys: { known: this.#keys.size },
      findings: { forgotten: this.#findings.forgotten },
      identities: of(this.#identities),
      edges: of(this.#edges),
      secrets: of(this.#secrets),
    };
  }

  get #settings(): SignalSettings | undefined {
    return this.parts.snapshots.current?.config.audit.signals;
  }

  #seenBy(listener: string, principal: PrincipalFields | undefined, nowMs: number): Seen {
    return { listener, principal, snapshot: this.parts.snapshots.current, nowMs };
  }

  #lookAtKey(use: KeyUse, settings: SignalSettings, seen: Seen): void {
    const { sharedAddresses, sharedIds } = settings;
    if (sharedAddresses !== false && use.places >= sharedAddresses) {
      const { addressCount: total, places: networks } = use;
      const shared = { kind: 'addresses', total, networks, addresses: use.addresses(MAX_LISTED) } as const;
      this.#tellShared(use.sha256, shared, seen, () => use.places >= sharedAddresses);
    }
    if (!sharedIds || !use.hasSeveralIds) return;
    const ids = use.idsAt(seen.nowMs);
    if (ids.length < 2) return;
    const shared = { kind: 'ids', total: ids.length, ids: ids.slice(-MAX_LISTED) } as const;
    this.#tellShared(use.sha256, shared, seen, (nowMs) => use.open > 0 && use.idsAt(nowMs).length > 1);
  }

  #lookAtId(id: string, { liveCertificates, overMs }: SignalSettings, seen: Seen): void {
    if (liveCertificates === false) return;
    const total = this.#certificates.of(id, liveCertificates, overMs, seen.nowMs);
    if (total < liveCertificates) return;
    const holds = (nowMs: number): boolean =>
      this.#certificates.of(id, liveCertificates, overMs, nowMs) >= liveCertificates;
    this.#tellShared(id, { kind: 'certificates', total }, seen, holds);
  }

  #tellShared(subject: string, shared: SharedFields, seen: Seen, holds: Finding['holds']): void {
    const { principal, nowMs } = seen;
    if (!this.#findings.note(subject, { principal, shared, holds }, nowMs, this.#settings?.overMs ?? 0))
      return;
    this.parts.records.write(sharedRecord(seen, shared));
  }

  #tellNearExpiry({ connection, listener, id }: Exchange, principal: PrincipalFields): void {
    connection.isNearExpiry = false;
    const { credential } = connection;
    if (credential === undefined || credential.isToldNearExpiry) return;
    credential.isToldNearExpiry = true;
    const seen = this.#seenBy(listener.name, principal, this.parts.clock.nowMs());
    this.parts.records.write(nearExpiryRecord(seen, id));
  }

  /** Of a token no connection tells who is new. */
  #lookAtBearer({ connection, listener }: Exchange, principal: PrincipalFields): void {
    const nowMs = this.parts.clock.nowMs();
    if (this.#settings?.firstSeen !== true || !this.#identities.isNew(principal.id, nowMs)) return;
    const seen = this.#seenBy(listener.name, principal, nowMs);
    this.parts.records.write(identityFirstSeenRecord(seen, connection.id));
  }

  #lookAtEdge(
    { listener, id, route }: Exchange,
    principal: PrincipalFields,
    caller: { lastDestination: string | undefined },
    to: string,
  ): void {
    caller.lastDestination = to;
    const nowMs = this.parts.clock.nowMs();
    if (this.#settings?.firstSeen !== true || !this.#edges.isNew(`${principal.id} ${to}`, nowMs)) return;
    const seen = this.#seenBy(listener.name, principal, nowMs);
    this.parts.records.write(edgeFirstSeenRecord(seen, route?.name ?? '', to, id));
  }

  #tellSecret({ listener, id, route }: Exchange, principal: PrincipalFields, secret: FoundSecret): void {
    const name = route?.name ?? '';
    this.parts.metrics.countStaticSecret(name, secret.kind);
    const nowMs = this.parts.clock.nowMs();
    if (!this.#secrets.isNew(`${secret.kind} ${principal.id} ${name}`, nowMs)) return;
    const seen = this.#seenBy(listener.name, principal, nowMs);
    this.parts.records.write(secretRecord(seen, secret, route?.name, route?.upstream, id));
  }
}
