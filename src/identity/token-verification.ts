import { compactVerify } from 'jose/jws/compact/verify';
import { ok, type Result, refuse } from '../reasons.js';
import { fitsAlgorithm, type KeySet, keySetOf, type VerifyingKey } from './key-set.js';
import type { PrincipalId } from './principal-id.js';
import { findTokenTwin } from './signature-twin.js';
import type { TokenContent, UnverifiedToken } from './token.js';
import { readMeaning, type TokenMeaning } from './token-claims.js';
import type { TokenIssuer } from './token-issuer.js';
import type { TrustedIssuer } from './token-trust.js';
import type { TrustBundleSet } from './trust-bundle.js';

/** A token that somebody we trust signed. It may have expired or been revoked since: `judgeToken`. It may not be the caller's: `judgeBinding`. */
export interface VerifiedToken extends TokenContent {
  /** Name of its entry in the configuration. */
  readonly entry: string;
  readonly kind: TokenIssuer['kind'];
  readonly issuer: TokenIssuer;
  /** `iss`; of a JWT-SVID that has none, the trust domain's own ID. */
  readonly iss: string;
  readonly principal: PrincipalId;
  /** Who acts for the principal (RFC 8693 `act`), as the issuer's namespace has it; its `sub`, byte for byte. */
  readonly actor: PrincipalId | undefined;
  readonly actorSub: string | undefined;
  /** Actors before it, the first acted for the subject itself. History: nothing may be decided by it (RFC 8693 4.1). */
  readonly through: readonly string[];
  readonly jti: string | undefined;
  /** Hex SHA-256 of the only certificate that it may come with. */
  readonly boundTo: string | undefined;
  /** nbf; else iat, though never later than when it was verified; else 0. Unix ms. */
  readonly notBeforeMs: number;
  /** exp. From here on it must be judged again; the clock skew of its issuer may let it live on for so long. */
  readonly notAfterMs: number;
  readonly issuedMs: number | undefined;
  readonly key: VerifyingKey;
  /** SHA-256 of the one other text that the holder of an ECDSA token can make of it; it is revoked with this one. */
  readonly twinSha256: string | undefined;
}

/**
 * Verifies a token as one of this issuer's: what is cheap first, the signature last. `token_key_unknown`: newer keys might know it.
 * `token_unverifiable`: there are no keys.
 */
export async function verifyToken(
  token: UnverifiedToken,
  trusted: TrustedIssuer,
  bundles: TrustBundleSet,
  nowMs: number,
): Promise<Result<VerifiedToken>> {
  const meaning = readMeaning(token, trusted.issuer, nowMs);
  if (!meaning.ok) return meaning;
  const keys = keysFor(trusted, meaning.value.principal, bundles);
  if (!keys.ok) return keys;
  const key = findKey(keys.value, token, trusted.issuer);
  if (!key.ok) return key;
  try {
    await compactVerify(token.text, key.value.key, { algorithms: [token.header.alg] });
  } catch {
    return refuse('token_signature', 'the signature is not that of the key');
  }
  const twinSha256 = findTokenTwin(token.text, token.header.alg);
  return ok(verified(token, trusted.issuer, meaning.value, { key: key.value, twinSha256 }));
}

/** Puts together what is known of a token whose signature is good. Its text is left behind: nothing of ours can show it. */
export function verified(
  { header, claims, sha256, iss }: TokenContent,
  issuer: TokenIssuer,
  { actors, ...meaning }: TokenMeaning,
  { key, twinSha256 }: Pick<VerifiedToken, 'key' | 'twinSha256'>,
): VerifiedToken {
  return {
    header,
    claims,
    sha256,
    entry: issuer.name,
    kind: issuer.kind,
    issuer,
    iss: iss ?? `spiffe://${meaning.principal.trustDomain}`,
    ...meaning,
    actor: actors?.actor,
    actorSub: actors?.actorSub,
    through: actors?.through ?? [],
    key,
    twinSha256,
  };
}

/** The keys that count for a token of this principal: of JWT-SVIDs those of the subject's own trust domain (Workload API 6.3). */
export function keysFor(
  { issuer, keys, stale }: TrustedIssuer,
  principal: PrincipalId,
  bundles: TrustBundleSet,
): Result<KeySet> {
  if (issuer.kind === 'jwt-svid') {
    const bundle = bundles.get(principal.trustDomain);
    return bundle === undefined
      ? refuse('token_issuer_unknown', `${principal.trustDomain} is not a trust domain that is known`)
      : ok(keySetOf(bundle));
  }
  if (stale !== undefined) return refuse('token_unverifiable', stale);
  return keys === undefined ? refuse('token_unverifiable', `${issuer.name} has no keys yet`) : ok(keys);
}

/** The key that the token names, for its algorithm. Without a name only where there is one key, and never for JWT-SVIDs. */
function findKey({ keys }: KeySet, { header }: TokenContent, issuer: TokenIssuer): Result<VerifyingKey> {
  const { kid, alg } = header;
  const only = issuer.kind === 'oidc' && keys.length === 1 ? keys[0] : undefined;
  const key = kid === undefined ? only : keys.find((other) => other.kid === kid);
  if (key === undefined)
    return refuse('token_key_unknown', kid === undefined ? 'it names no key' : 'no key has its kid');
  // Kind, curve and the publisher's word on it: a key is for one algorithm alone (RFC 8725 3.1).
  return (key.alg === undefined || key.alg === alg) && fitsAlgorithm(key.key, alg)
    ? ok(key)
    : refuse('token_signature', `its key is not one for ${alg}`);
}
