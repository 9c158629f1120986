import { createHash } from 'node:crypto';
import type { PrincipalFields } from '../audit/record.js';
import { type Certificate, parseCertificate } from '../identity/certificate.js';
import { judgeSvid } from '../identity/revocation.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import {
  createSignatureCheck,
  type PeerChain,
  type PeerRole,
  parsePeerChain,
  type SignatureCheck,
  type VerifiedSvid,
  verifyX509Svid,
} from '../identity/x509-svid.js';
import type { ForwardPlan } from '../message/forward-policy.js';
import { buildIdentityHeaders, type IdentityHeaders } from '../message/identity-headers.js';
import type { Registry } from '../policy/registry.js';
import { type Refusal, type Result, refuse } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection } from './connection.js';
import type { PeerCertificates } from './ports.js';

/** One presented chain, however many connections show it: parsed once, verified once a bundle, judged cheaply at every request. */
export class Credential {
  /** Live connections that were opened with it. */
  readonly connections = new Set<Connection>();
  /** When a connection with it was last opened or closed, Unix milliseconds. */
  seenAtMs = 0;
  /** It was let in and lives longer than the configuration calls usual. */
  isLongLived = false;
  /** It has been told that little of its life was left. */
  isToldNearExpiry = false;
  #chain: Result<PeerChain>;
  #leaf: Buffer | undefined;
  readonly #checkSignature: SignatureCheck;
  #snapshot: Snapshot | undefined;
  #judgedAtMs = 0;
  #validUntilMs = 0;
  #refusal: Refusal | undefined;
  #bundle: TrustBundle | undefined;
  #verified: Result<VerifiedSvid> | undefined;
  #plan: ForwardPlan | undefined;
  #registry: Registry | undefined;
  #headers: IdentityHeaders | undefined;
  #fields: PrincipalFields | undefined;

  constructor(
    readonly fingerprint: string,
    presented: PeerCertificates,
    checkSignature: SignatureCheck,
    role: PeerRole,
  ) {
    this.#chain = parsePeerChain(presented.leaf, presented.intermediates, role);
    this.#leaf = presented.leaf;
    this.#checkSignature = checkSignature;
  }

  /** Keeps no more of a refused one than its record needs: what strangers present must not fill the memory. */
  shed(): void {
    this.principalFields();
    this.#leaf = undefined;
    this.#chain = refuse('chain_untrusted', 'refused before');
  }

  /** The SPIFFE ID it claims; a claim only, until `judge` finds nothing against it. */
  get chain(): PeerChain | undefined {
    return this.#chain.ok ? this.#chain.value : undefined;
  }

  get svid(): VerifiedSvid | undefined {
    return this.#verified?.ok ? this.#verified.value : undefined;
  }

  /** It was found not acceptable when it was last judged. */
  get isRefused(): boolean {
    return this.#refusal !== undefined;
  }

  /** Why it is not acceptable at this moment, or undefined. Cached until the snapshot, the clock or a date changes the answer. */
  judge(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (snapshot === this.#snapshot && nowMs < this.#validUntilMs && nowMs >= this.#judgedAtMs)
      return this.#refusal;
    this.#snapshot = snapshot;
    this.#judgedAtMs = nowMs;
    this.#fields = undefined;
    this.#validUntilMs = nowMs; // an exception below leaves nothing cached
    const verdict = this.#judgeNow(snapshot, nowMs);
    this.#refusal = verdict.ok ? undefined : verdict.error;
    this.#validUntilMs = verdict.ok ? verdict.value.validUntilMs : nowMs + 1000;
    return this.#refusal;
  }

  #judgeNow(snapshot: Snapshot, nowMs: number): Result<{ validUntilMs: number }> {
    if (!this.#chain.ok) return this.#chain;
    const chain = this.#chain.value;
    const domain = chain.id.trustDomain;
    const bundle = snapshot.bundles.get(domain);
    if (bundle === undefined) {
      this.#verified = undefined;
      return refuse('trust_domain_unknown', `no trust bundle for ${domain}`);
    }
    const { clockSkewMs, maxSvidLifetimeMs } = snapshot.config.identityOptions;
    if (bundle !== this.#bundle || !this.#holds(nowMs, clockSkewMs)) {
      const checkSignature = this.#checkSignature;
      this.#verified = verifyX509Svid(chain, snapshot.bundles, nowMs, { clockSkewMs, checkSignature });
      this.#bundle = bundle;
    }
    const verified = this.#verified;
    if (verified === undefined || !verified.ok) return verified ?? refuse('chain_untrusted');
    return judgeSvid(verified.value, nowMs, {
      revocations: snapshot.revocations,
      revocation: snapshot.revocationPolicies.get(domain),
      clockSkewMs,
      ...(maxSvidLifetimeMs === undefined ? {} : { maxLifetimeMs: maxSvidLifetimeMs }),
    });
  }

  /** Whether the verified path still holds by its dates; else another path may. */
  #holds(nowMs: number, clockSkewMs: number): boolean {
    const verified = this.#verified;
    return (
      verified?.ok === true &&
      nowMs <= verified.value.notAfterMs &&
      nowMs + clockSkewMs >= verified.value.notBeforeMs
    );
  }

  /** Identity headers under this plan and registry; made once. Only for a credential that `judge` found nothing against. */
  identityHeaders({
    forwardPlan: plan,
    policy: { registry },
  }: Pick<Snapshot, 'forwardPlan' | 'policy'>): IdentityHeaders {
    if (this.#headers !== undefined && this.#plan === plan && this.#registry === registry)
      return this.#headers;
    const svid = this.svid;
    if (svid === undefined) throw new Error('identity headers asked for an unverified credential');
    const { id, leaf } = svid;
    const entry = registry?.find(id);
    this.#headers = buildIdentityHeaders(plan, {
      id: id.uri,
      trustDomain: id.trustDomain,
      path: id.path,
      leafDer: leaf.der,
      chainDer: svid.issuers.slice(0, -1).map((issuer) => issuer.der),
      sha256: leaf.sha256,
      serial: leaf.serial,
      subject: leaf.subject,
      issuer: leaf.issuer,
      dnsSans: leaf.dnsSans,
      notAfterMs: leaf.notAfterMs,
      owner: entry?.owner,
      environment: entry?.environment,
    });
    this.#plan = plan;
    this.#registry = registry;
    return this.#headers;
  }

  /** The leaf of a chain that is no chain of an SVID, for the record alone. */
  #presentedLeaf(): Certificate | undefined {
    if (this.#leaf === undefined) return undefined;
    const read = parseCertificate(this.#leaf);
    return read.ok ? read.value : undefined;
  }

  /** What records say of it; for a refused one the claim, with kind `none`. */
  principalFields(): PrincipalFields | undefined {
    if (this.#fields !== undefined) return this.#fields;
    const chain = this.chain;
    const leaf = chain?.leaf ?? this.#presentedLeaf();
    if (leaf === undefined) return undefined;
    this.#fields = {
      id: chain?.id.uri ?? leaf.uriSans.join(' '), // as it stands there, acceptable or not
      kind: this.svid === undefined ? 'none' : 'workload',
      trustDomain: chain?.id.trustDomain ?? '',
      serial: leaf.serial,
      sha256: leaf.sha256,
      keySha256: leaf.keySha256,
      issuer: leaf.issuer,
      authority: this.svid?.authority.sha256,
      notBefore: new Date(leaf.notBeforeMs).toISOString(),
      notAfter: new Date(leaf.notAfterMs).toISOString(),
      ...ownership(chain?.id, this.#snapshot?.policy.registry),
    };
    return this.#fields;
  }
}

/** Of an ID that is none there is nothing to say. */
function ownership(
  id: SpiffeId | undefined,
  registry: Registry | undefined,
): Pick<PrincipalFields, 'owner' | 'registered'> {
  if (id === undefined || registry === undefined) return {};
  const entry = registry.find(id);
  return entry === undefined ? { registered: false } : { owner: entry.owner, registered: true };
}

/** Credentials by fingerprint: every live one, and the most recently seen others, so that a known certificate costs no parsing. */
export class CredentialIndex {
  readonly #byFingerprint = new Map<string, Credential>();
  /** By the ID that each claims. */
  readonly #byId = new Map<string, Set<Credential>>();
  readonly #checkSignature = createSignatureCheck();

  /** @param role what those who present them do in TLS. */
  constructor(
    readonly capacity = 4096,
    readonly role: PeerRole = 'client',
  ) {}

  get size(): number {
    return this.#byFingerprint.size;
  }

  find(presented: PeerCertificates): Credential {
    const fingerprint = fingerprintOf(presented);
    const known = this.#byFingerprint.get(fingerprint);
    if (known !== undefined) {
      this.#byFingerprint.delete(fingerprint); // most recent last
      this.#byFingerprint.set(fingerprint, known);
      return known;
    }
    const credential = new Credential(fingerprint, presented, this.#checkSignature, this.role);
    this.#byFingerprint.set(fingerprint, credential);
    const id = credential.chain?.id.uri;
    if (id !== undefined) {
      const same = this.#byId.get(id);
      if (same === undefined) this.#byId.set(id, new Set([credential]));
      else same.add(credential);
    }
    if (this.#byFingerprint.size > this.capacity) this.#evictAnyBut(credential);
    return credential;
  }

  /**
   * A credential that nobody vouches for is not kept: its one connection waits for its answer with what is left of it.
   * One that further connections were opened with while it was good stays until they are ended.
   */
  discardUnvouched(credential: Credential | undefined): void {
    if (credential === undefined || credential.svid !== undefined || credential.connections.size > 1) return;
    if (this.#byFingerprint.get(credential.fingerprint) === credential) this.#forget(credential);
    credential.shed();
  }

  [Symbol.iterator](): IterableIterator<Credential> {
    return this.#byFingerprint.values();
  }

  /** Credentials that claim this SPIFFE ID. */
  ofId(uri: string): readonly Credential[] {
    return [...(this.#byId.get(uri) ?? [])];
  }

  /** How many `ofId` would give. */
  countOfId(uri: string): number {
    return this.#byId.get(uri)?.size ?? 0;
  }

  /** Credentials with at least one open connection. */
  *live(): Generator<Credential> {
    for (const credential of this.#byFingerprint.values())
      if (credential.connections.size > 0) yield credential;
  }

  /** Live ones stay, however many there are, and so does the newest, whose connection is about to be added: all must be found when trust shrinks. */
  #evictAnyBut(newest: Credential): void {
    for (const credential of this.#byFingerprint.values()) {
      if (credential === newest || credential.connections.size > 0) continue;
      this.#forget(credential);
      return;
    }
  }

  #forget(credential: Credential): void {
    this.#byFingerprint.delete(credential.fingerprint);
    const id = credential.chain?.id.uri ?? '';
    const same = this.#byId.get(id);
    same?.delete(credential);
    if (same?.size === 0) this.#byId.delete(id);
  }
}

function fingerprintOf(presented: PeerCertificates): string {
  const hash = createHash('sha256').update(presented.leaf);
  for (const der of presented.intermediates) hash.update(der);
  return hash.digest('base64url');
}
