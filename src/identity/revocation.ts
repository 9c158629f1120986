import { ok, type Result, refuse } from '../reasons.js';
import type { Certificate } from './certificate.js';
import { type Crl, describeExpiredList } from './crl.js';
import { isSameName } from './distinguished-name.js';
import type { RevocationList } from './revocation-list.js';
import { judgeLeafDates, type VerifiedSvid } from './x509-svid.js';

export { createRevocationList, type RevocationEntry, type RevocationList } from './revocation-list.js';

/** How one trust domain uses revocation lists. `crls` come from `bindCrls`; one that was never bound decides nothing. */
export interface RevocationPolicy {
  readonly crls: readonly Crl[];
  /** Whose status must be known: nobody's, the leaf's, or that of every certificate below the authority. */
  readonly require: 'none' | 'leaf' | 'chain';
  /** What a list past its nextUpdate and the grace is worth: nothing, so that its domain is refused, or what it still says. */
  readonly stale: 'deny' | 'use';
  readonly staleGraceMs: number;
  /** A list that was asked for and is not there yet: until it is, nobody of this domain is known not to be revoked. */
  readonly missing?: string | undefined;
}

export interface JudgeContext {
  readonly revocations: RevocationList;
  /** Of the SVID's own trust domain. */
  readonly revocation: RevocationPolicy | undefined;
  readonly clockSkewMs: number;
  readonly maxLifetimeMs?: number;
}

/**
 * Judges a verified SVID at a moment, without cryptography: dates, the operator's list, revocation lists.
 * The yes holds while `nowMs < validUntilMs` and the snapshot stays; then judge again.
 */
export function judgeSvid(
  svid: VerifiedSvid,
  nowMs: number,
  context: JudgeContext,
): Result<{ validUntilMs: number }> {
  const dates = judgeDates(svid, nowMs, context);
  if (dates !== undefined) return dates;
  const entry = context.revocations.find(svid, nowMs);
  if (entry !== undefined) return refuse('svid_revoked', entry.reason);
  let validUntilMs = Math.min(svid.notAfterMs + 1, context.revocations.nextChangeMs(nowMs));
  if (context.revocation !== undefined) {
    const lists = judgeByLists(svid, nowMs, context.revocation, context.clockSkewMs);
    if (!lists.ok) return lists;
    validUntilMs = Math.min(validUntilMs, lists.value);
  }
  return ok({ validUntilMs });
}

function judgeDates(
  svid: VerifiedSvid,
  nowMs: number,
  { clockSkewMs, maxLifetimeMs }: JudgeContext,
): ReturnType<typeof refuse> | undefined {
  const { leaf } = svid;
  const dates = judgeLeafDates(leaf, nowMs, clockSkewMs);
  if (dates !== undefined) return dates;
  if (maxLifetimeMs !== undefined && leaf.notAfterMs - leaf.notBeforeMs > maxLifetimeMs)
    return refuse(
      'svid_lifetime_too_long',
      `${Math.round((leaf.notAfterMs - leaf.notBeforeMs) / 1000)} seconds`,
    );
  if (nowMs > svid.notAfterMs) return refuse('issuer_expired', new Date(svid.notAfterMs).toISOString());
  if (nowMs + clockSkewMs < svid.notBeforeMs)
    return refuse('issuer_not_yet_valid', new Date(svid.notBeforeMs).toISOString());
  return undefined;
}

/** The moment until which the lists say so, or the refusal. Every certificate below the authority is looked up. */
function judgeByLists(
  svid: VerifiedSvid,
  nowMs: number,
  policy: RevocationPolicy,
  clockSkewMs: number,
): Result<number> {
  if (policy.missing !== undefined) return refuse('revocation_unknown', policy.missing);
  let untilMs = Number.POSITIVE_INFINITY;
  let subject = svid.leaf;
  for (const issuer of svid.issuers) {
    const isNeeded = policy.require === 'chain' || (policy.require === 'leaf' && subject === svid.leaf);
    const status = judgeCertificate(subject, issuer, nowMs, policy, clockSkewMs, isNeeded);
    if (!status.ok) return status;
    untilMs = Math.min(untilMs, status.value);
    subject = issuer;
  }
  return ok(untilMs);
}

function judgeCertificate(
  subject: Certificate,
  issuer: Certificate,
  nowMs: number,
  policy: RevocationPolicy,
  clockSkewMs: number,
  isNeeded: boolean,
): Result<number> {
  let untilMs = Number.POSITIVE_INFINITY;
  let isKnown = false;
  for (const crl of policy.crls) {
    // A list speaks for its own issuer alone: serials are unique for one issuer only (RFC 5280 6.3.3 (b)).
    if (!isSameName(crl.issuerName, subject.issuerName)) continue;
    if (crl.unusable !== undefined || crl.signerKeySha256 === undefined)
      return refuse('revocation_unknown', crl.unusable ?? `the list of ${crl.issuer} was not verified`);
    // An entry binds whatever the list's age, and whichever of the issuer's keys signed it.
    if (crl.has(subject.serial))
      return refuse('svid_revoked', `serial ${subject.serial} is on the list of ${crl.issuer}`);
    // To say that a certificate is good, it must be the list of the very key that issued it.
    if (crl.signerKeySha256 !== issuer.keySha256) continue;
    if (nowMs + clockSkewMs < crl.thisUpdateMs)
      return refuse('revocation_unknown', `the list of ${crl.issuer} is from the future`);
    if (policy.stale === 'deny') {
      const freshUntilMs = crl.nextUpdateMs + policy.staleGraceMs;
      if (nowMs > freshUntilMs) return refuse('revocation_unknown', describeExpiredList(crl));
      untilMs = Math.min(untilMs, freshUntilMs + 1);
    }
    isKnown = true;
  }
  if (isNeeded && !isKnown) return refuse('revocation_unknown', `no list of ${subject.issuer}`);
  return ok(untilMs);
}
