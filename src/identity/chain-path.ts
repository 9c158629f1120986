import { ok, type Refusal, type RefusalReason, type Result, refuse } from '../reasons.js';
import type { Certificate } from './certificate.js';
import { isSameName } from './distinguished-name.js';
import { Oid } from './extensions.js';
import { findConstraintViolation } from './name-constraints.js';
import type { PeerChain, VerifyOptions } from './x509-svid.js';

/** Certificates above the leaf, the authority included. */
const MAX_ISSUERS = 8;
/** Over one whole search. Presented certificates are the peer's to choose, and so would be the work. */
const MAX_SIGNATURE_CHECKS = 64;

/**
 * How much each refusal tells when several paths fail. A name that fits says little, a signature that fits says more, and
 * what is wrong with an issuer whose signature fits says most.
 */
const telling: Partial<Record<RefusalReason, number>> = {
  chain_untrusted: 0,
  chain_too_long: 1,
  chain_signature: 2,
  issuer_not_ca: 3,
  issuer_key_usage: 3,
  issuer_critical_extension: 3,
  path_length_exceeded: 4,
  name_constraints: 4,
  issuer_not_yet_valid: 5,
  issuer_expired: 5,
};

/**
 * Finds issuers from the leaf up to an authority (RFC 5280 6.1). Presented certificates may come in any order and be of no
 * use; names and key identifiers only propose, a signature decides. Bounded, so that cycles and long chains end.
 */
export function findPath(
  chain: PeerChain,
  authorities: readonly Certificate[],
  nowMs: number,
  options: VerifyOptions,
): Result<readonly Certificate[]> {
  const search = new PathSearch(chain, authorities, nowMs, options);
  return search.extend([]) ? ok([...search.path]) : { ok: false, error: search.refusal };
}

class PathSearch {
  readonly path: Certificate[] = [];
  refusal: Refusal = { reason: 'chain_untrusted', detail: 'no authority of the trust domain signed it' };
  private checksLeft = MAX_SIGNATURE_CHECKS;
  private readonly authorityDigests: ReadonlySet<string>;
  private readonly intermediates: readonly Certificate[];

  constructor(
    private readonly chain: PeerChain,
    private readonly authorities: readonly Certificate[],
    private readonly nowMs: number,
    private readonly options: VerifyOptions,
  ) {
    this.authorityDigests = new Set(authorities.map((authority) => authority.sha256));
    // The root in the presented chain is harmless: it is taken as the authority that it is, or as nothing.
    this.intermediates = chain.intermediates.filter((c) => !this.authorityDigests.has(c.sha256));
  }

  /** Extends the path by every fitting issuer in turn; true when an authority is reached, which leaves the path in place. */
  extend(below: readonly Certificate[]): boolean {
    const child = below[below.length - 1] ?? this.chain.leaf;
    for (const issuer of this.candidates(child)) {
      if (this.checksLeft === 0) return this.note('chain_too_long', 'too many certificates to try');
      if (below.includes(issuer) || issuer.sha256 === this.chain.leaf.sha256) continue; // RFC 5280 6.1: never twice
      this.checksLeft--;
      if (!this.options.checkSignature(child, issuer)) {
        this.note('chain_signature', `${quote(issuer.subject)} has the issuer's name and did not sign`);
        continue;
      }
      if (!this.mayIssue(issuer, below)) continue;
      const path = [...below, issuer];
      if (this.authorityDigests.has(issuer.sha256)) {
        this.path.push(...path);
        return true;
      }
      if (path.length >= MAX_ISSUERS) this.note('chain_too_long', `more than ${MAX_ISSUERS} issuers`);
      else if (this.extend(path)) return true;
    }
    return false;
  }

  /** Authorities before intermediates, so that the shortest path wins; within each, those whose key identifier fits first. */
  private candidates(child: Certificate): Certificate[] {
    const fitting: Certificate[] = [];
    for (const pool of [this.authorities, this.intermediates]) {
      const named = pool.filter((issuer) => isSameName(issuer.subjectName, child.issuerName));
      fitting.push(...named.filter((issuer) => hasKeyId(child, issuer)));
      fitting.push(...named.filter((issuer) => !hasKeyId(child, issuer)));
    }
    return fitting;
  }

  /** Whether this certificate, whose signature fits, was allowed to give it (RFC 5280 6.1.3, 6.1.4). */
  private mayIssue(issuer: Certificate, below: readonly Certificate[]): boolean {
    const name = quote(issuer.subject);
    if (!issuer.isCa) return this.note('issuer_not_ca', `${name} is not a CA`);
    // RFC 5280 lets key usage be absent; SPIFFE asks for it on every certificate (X509-SVID 4.3).
    if (!issuer.keyUsage?.has('keyCertSign'))
      return this.note('issuer_key_usage', `${name} has no keyCertSign`);
    if (issuer.unknownCritical.length > 0)
      return this.note('issuer_critical_extension', `${name}: ${issuer.unknownCritical.join(', ')}`);
    if (!allowsPurpose(issuer, this.chain.role))
      return this.note('issuer_key_usage', `${name} is not for ${this.chain.role} authentication`);
    if (this.nowMs > issuer.notAfterMs) return this.note('issuer_expired', name);
    if (this.nowMs + this.options.clockSkewMs < issuer.notBeforeMs)
      return this.note('issuer_not_yet_valid', name);
    // RFC 5280 4.2.1.9 would not count self-issued ones; as Go does, they count here: a CA that may have no CA below it
    // must not get one by giving it its own name.
    if (issuer.pathLength !== undefined && below.length > issuer.pathLength)
      return this.note('path_length_exceeded', `${name} allows ${issuer.pathLength} below it`);
    return this.keepsToConstraints(issuer, below);
  }

  private keepsToConstraints(issuer: Certificate, below: readonly Certificate[]): boolean {
    const { nameConstraints } = issuer;
    if (nameConstraints === undefined) return true;
    for (const certificate of [this.chain.leaf, ...below]) {
      // RFC 5280 6.1.3 (b): a CA's new key under its old name is not bound by its name, the leaf always is.
      if (certificate !== this.chain.leaf && isSelfIssued(certificate)) continue;
      const why = findConstraintViolation(nameConstraints, {
        alternativeNames: certificate.alternativeNames,
        subject: certificate.subjectName,
        subjectEmails: certificate.subjectEmails,
      });
      if (why !== undefined) return this.note('name_constraints', why);
    }
    return true;
  }

  private note(reason: RefusalReason, detail: string): false {
    if ((telling[reason] ?? 0) > (telling[this.refusal.reason] ?? 0))
      this.refusal = refuse(reason, detail).error;
    return false;
  }
}

const hasKeyId = (child: Certificate, issuer: Certificate): boolean =>
  child.authorityKeyId !== undefined && child.authorityKeyId === issuer.subjectKeyId;

const isSelfIssued = (certificate: Certificate): boolean =>
  isSameName(certificate.subjectName, certificate.issuerName);

/** An extended key usage in an issuer limits what it may issue for, as OpenSSL and Go read it. */
function allowsPurpose(issuer: Certificate, role: PeerChain['role']): boolean {
  const purposes = issuer.extendedKeyUsage;
  return (
    purposes === undefined ||
    purposes.includes(role === 'client' ? Oid.clientAuth : Oid.serverAuth) ||
    purposes.includes(Oid.anyExtendedKeyUsage)
  );
}

const quote = (name: string): string => (name === '' ? 'an issuer without a name' : name);
