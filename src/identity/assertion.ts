import { ok, type Result, refuse } from '../reasons.js';
import { readConfirmation } from './confirmation.js';
import type { PrincipalId } from './principal-id.js';
import { parseToken, type VerifiedToken, verifyToken } from './token.js';
import type { TrustedIssuer } from './token-trust.js';
import type { TrustBundleSet } from './trust-bundle.js';

/** What a forwarded assertion (`x-identity-assertion`) says: whom the call was for when it came to whoever shows it now. */
export interface VerifiedAssertion {
  readonly token: VerifiedToken;
  readonly subject: PrincipalId;
  /** Who acted between the subject and the presenter, the first for the subject itself; the last called the presenter. */
  readonly actors: readonly string[];
  /** Hex SHA-256 of the certificate that the last of them showed there, the subject where nobody else acted. */
  readonly shownSha256: string | undefined;
}

/**
 * Verifies an assertion that a peer shows (Unix milliseconds): by the keys of the sidecar that the configuration names for this
 * peer, and for no other. Its `cnf` is that of the caller before it, not of the presenter: it says who called, and binds nothing.
 */
export async function verifyAssertion(
  text: string,
  trusted: TrustedIssuer,
  presenter: PrincipalId,
  bundles: TrustBundleSet,
  nowMs: number,
): Promise<Result<VerifiedAssertion>> {
  const { issuer } = trusted;
  if (issuer.kind !== 'assertion' || issuer.presenter !== presenter.uri)
    return refuse('token_issuer_unknown', 'it is not for this peer to show');
  const parsed = parseToken(text);
  if (!parsed.ok) return parsed;
  const verified = await verifyToken(parsed.value, trusted, bundles, nowMs);
  if (!verified.ok) return verified;
  const { principal: subject, actor, through } = verified.value;
  // The outermost actor called whoever was given the assertion (RFC 8693 4.1).
  const actors = actor === undefined ? through : [...through, actor.uri];
  const shown = readConfirmation(verified.value.claims);
  return ok({
    token: verified.value,
    subject,
    actors,
    shownSha256: shown.ok ? shown.value : undefined,
  });
}
