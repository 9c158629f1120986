import { createHash } from 'node:crypto';
import { ok, type Result, refuse } from '../reasons.js';
import { type Certificate, parseCertificate } from './certificate.js';
import { findPath } from './chain-path.js';
import { Oid } from './extensions.js';
import type { SignatureCheck } from './signature-check.js';
import { parseSpiffeId, type SpiffeId } from './spiffe-id.js';
import type { TrustBundleSet } from './trust-bundle.js';

export { createSignatureCheck, type SignatureCheck } from './signature-check.js';

/** What the peer does in TLS: a client must be fit for client authentication, a server for server authentication. */
export type PeerRole = 'client' | 'server';

/** A presented chain that is sound in itself. Nothing in it is trusted yet. */
export interface PeerChain {
  readonly leaf: Certificate;
  readonly intermediates: readonly Certificate[];
  readonly id: SpiffeId;
  /** SHA-256 over what was presented, lower-case hex: names this chain in a cache. */
  readonly fingerprint: string;
  readonly role: PeerRole;
}

export interface VerifiedSvid {
  readonly id: SpiffeId;
  readonly leaf: Certificate;
  /** The leaf's issuer first, the authority last. */
  readonly issuers: readonly Certificate[];
  readonly authority: Certificate;
  /** The window in which this path holds: over the leaf and every issuer, the authority too. Both ends inclusive. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const MAX_PRESENTED = 16;
const MAX_PRESENTED_BYTES = 64 * 1024;

/**
 * Reads what a peer presented and checks all that does not change: X509-SVID 2 to 5, the leaf alone.
 * Further certificates that cannot be read are left out: they are not fatal and give no authority.
 */
export function parsePeerChain(
  leafDer: Uint8Array,
  intermediateDers: readonly Uint8Array[],
  role: PeerRole = 'client',
): Result<PeerChain> {
  if (intermediateDers.length >= MAX_PRESENTED)
    return refuse('chain_too_long', `${intermediateDers.length + 1} certificates were presented`);
  const presentedBytes = intermediateDers.reduce((sum, der) => sum + der.length, leafDer.length);
  if (presentedBytes > MAX_PRESENTED_BYTES)
    return refuse('chain_too_long', `${presentedBytes} bytes of certificates were presented`);
  const leaf = parseCertificate(leafDer);
  if (!leaf.ok) return refuse('svid_malformed', leaf.error);
  const id = judgeLeaf(leaf.value, role);
  if (!id.ok) return id;
  const hash = createHash('sha256').update(leaf.value.der);
  const intermediates: Certificate[] = [];
  for (const der of intermediateDers) {
    hash.update(der);
    const certificate = parseCertificate(der);
    if (certificate.ok) intermediates.push(certificate.value);
  }
  return ok({
    leaf: leaf.value,
    intermediates,
    id: id.value,
    fingerprint: hash.update(role).digest('hex'),
    role,
  });
}

function judgeLeaf(leaf: Certificate, role: PeerRole): Result<SpiffeId> {
  if (leaf.isCa) return refuse('svid_is_ca', 'the leaf is a CA'); // X509-SVID 3.2, 4.1
  // X509-SVID 2: entries count, not distinct values; the first of two is never picked.
  const [uri] = leaf.uriSans;
  if (uri === undefined || leaf.uriSans.length !== 1)
    return refuse('svid_uri_san_count', `${leaf.uriSans.length} URI names, one is needed`);
  const id = parseSpiffeId(uri);
  if (!id.ok) return refuse('svid_id_invalid', id.error);
  if (id.value.path === '') return refuse('svid_id_invalid', 'a trust domain is not a workload'); // X509-SVID 5.2
  const usage = leaf.keyUsage;
  if (usage === undefined) return refuse('svid_key_usage', 'key usage is missing'); // X509-SVID 4.3
  if (usage.has('keyCertSign') || usage.has('cRLSign'))
    return refuse('svid_key_usage', 'the leaf may sign certificates or revocation lists');
  if (!usage.has('digitalSignature')) return refuse('svid_key_usage', 'digitalSignature is missing');
  const purpose = role === 'client' ? Oid.clientAuth : Oid.serverAuth;
  if (leaf.extendedKeyUsage !== undefined && !leaf.extendedKeyUsage.includes(purpose))
    return refuse('svid_extended_key_usage', `the leaf is not for ${role} authentication`); // X509-SVID 4.4
  if (leaf.unknownCritical.length > 0)
    return refuse('svid_critical_extension', leaf.unknownCritical.join(', ')); // RFC 5280 4.2
  return id;
}

export interface VerifyOptions {
  /** Widens notBefore only; notAfter has no leeway. */
  readonly clockSkewMs: number;
  readonly checkSignature: SignatureCheck;
}

/**
 * Verifies a chain at a moment against the bundle of the ID's own trust domain, and no other (SPIFFE Federation 7.3):
 * another domain's authority, however well it signs, has no say. `nowMs` is Unix time.
 */
export function verifyX509Svid(
  chain: PeerChain,
  bundles: TrustBundleSet,
  nowMs: number,
  options: VerifyOptions,
): Result<VerifiedSvid> {
  const { leaf, id } = chain;
  const bundle = bundles.get(id.trustDomain);
  if (bundle === undefined) return refuse('trust_domain_unknown', id.trustDomain);
  if (bundle.authorities.length === 0) return refuse('trust_bundle_empty', id.trustDomain);
  const dates = judgeLeafDates(leaf, nowMs, options.clockSkewMs);
  if (dates !== undefined) return dates;
  const path = findPath(chain, bundle.authorities, nowMs, options);
  if (!path.ok) return path;
  const issuers = path.value;
  return ok({
    id,
    leaf,
    issuers,
    authority: issuers[issuers.length - 1] ?? leaf, // a path always ends in an authority
    notBeforeMs: issuers.reduce((latest, issuer) => Math.max(latest, issuer.notBeforeMs), leaf.notBeforeMs),
    notAfterMs: issuers.reduce((first, issuer) => Math.min(first, issuer.notAfterMs), leaf.notAfterMs),
  });
}

/** The refusal that the leaf's own dates ask for, if any. */
export function judgeLeafDates(
  leaf: Pick<Certificate, 'notBeforeMs' | 'notAfterMs'>,
  nowMs: number,
  clockSkewMs: number,
): ReturnType<typeof refuse> | undefined {
  if (nowMs > leaf.notAfterMs) return refuse('svid_expired', new Date(leaf.notAfterMs).toISOString());
  if (nowMs + clockSkewMs < leaf.notBeforeMs)
    return refuse('svid_not_yet_valid', new Date(leaf.notBeforeMs).toISOString());
  return undefined;
}
