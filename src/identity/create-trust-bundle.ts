import { createHash } from 'node:crypto';
import type { JWK } from 'jose';
import { err, type Result } from '../reasons.js';
import { type Certificate, parseCertificate } from './certificate.js';
import type { Crl } from './crl-reader.js';
import type { TrustDomain } from './spiffe-id.js';

/** The authorities of one trust domain. Its name comes from whoever configured it, never from a certificate (SPIFFE TD&B 3). */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  readonly authorities: readonly Certificate[];
  /** Public members only; by `kid`. */
  readonly jwtKeys: ReadonlyMap<string, JWK>;
  readonly sequence: bigint | undefined;
  /** As published; whoever polls by it clamps it at both ends. */
  readonly refreshHintSeconds: number | undefined;
  /** 16 hex characters, equal for equal content in any order. */
  readonly revision: string;
  readonly crls?: readonly Crl[];
}

/** By trust domain. One bundle each, never pooled: that is what keeps one domain from vouching for another. */
export type TrustBundleSet = ReadonlyMap<string, TrustBundle>;

/** A certificate that may stand in a bundle: readable, and a CA (X509-SVID 3.2). */
export function parseAuthority(der: Uint8Array): Result<Certificate, string> {
  const certificate = parseCertificate(der);
  if (!certificate.ok) return err(`the certificate cannot be read: ${certificate.error}`);
  const { isCa, subject } = certificate.value;
  return isCa ? certificate : err(`the certificate of ${subject || 'an empty subject'} is not a CA`);
}

export interface BundleParts {
  readonly trustDomain: TrustDomain;
  readonly authorities?: readonly Certificate[];
  readonly jwtKeys?: ReadonlyMap<string, JWK>;
  readonly sequence?: bigint | undefined;
  readonly refreshHintSeconds?: number | undefined;
  readonly crls?: readonly Crl[];
}

/** Puts a bundle together: one authority each, and the revision that names the whole. */
export function createTrustBundle(parts: BundleParts): TrustBundle {
  const unique = new Map((parts.authorities ?? []).map((authority) => [authority.sha256, authority]));
  const jwtKeys = parts.jwtKeys ?? new Map<string, JWK>();
  return {
    trustDomain: parts.trustDomain,
    authorities: [...unique.values()],
    jwtKeys,
    sequence: parts.sequence,
    refreshHintSeconds: parts.refreshHintSeconds,
    revision: revisionOf(parts, [...unique.keys()], jwtKeys),
    ...(parts.crls === undefined ? {} : { crls: parts.crls }),
  };
}

function revisionOf(parts: BundleParts, authorities: string[], jwtKeys: ReadonlyMap<string, JWK>): string {
  // A key that was replaced under its kid is other content, so the keys count whole.
  const keys = [...jwtKeys].map(([kid, { kty, crv, x, y, n, e }]) => [kid, kty, crv, x, y, n, e]);
  const content = [
    parts.trustDomain,
    authorities.sort(),
    keys.map((key) => JSON.stringify(key)).sort(),
    parts.sequence?.toString() ?? null,
    (parts.crls ?? []).map((crl) => crl.sha256).sort(),
  ];
  return createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16);
}
