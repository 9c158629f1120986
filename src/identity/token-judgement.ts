import { ok, type Refusal, type Result, refuse } from '../reasons.js';
import type { KeySet, VerifyingKey } from './key-set.js';
import type { RevocationList } from './revocation-list.js';
import { readMeaning } from './token-claims.js';
import { judgeDates } from './token-dates.js';
import type { TokenIssuer } from './token-issuer.js';
import type { TokenTrust, TrustedIssuer } from './token-trust.js';
import { keysFor, type VerifiedToken, verified } from './token-verification.js';
import type { TrustBundleSet } from './trust-bundle.js';

export interface TokenContext {
  readonly tokens: TokenTrust;
  readonly bundles: TrustBundleSet;
  readonly revocations: RevocationList;
  readonly nowMs: number;
}

/**
 * Judges a verified token at a moment, without cryptography: dates, its entry, its key, the revocations. The answer holds until
 * `notAfterMs`, the next change of a revocation, or the next snapshot. 'verify again': the rules of its entry are others now.
 */
export function judgeToken(
  token: VerifiedToken,
  context: TokenContext,
): Refusal | undefined | 'verify again' {
  const trusted = trustedNow(token, context.tokens);
  if (trusted === undefined) return { reason: 'token_issuer_unknown', detail: `${token.entry} is gone` };
  if (!isSameRules(trusted.issuer, token.issuer)) return 'verify again';
  return (
    judgeDates(token, token.issuer, context.nowMs) ??
    judgeKey(token, trusted, context.bundles) ??
    judgeRevocations(token, context)
  );
}

/** The token by the rules that its entry has now. Its signature was good and stays so; the key must still count. */
export function reviseToken(token: VerifiedToken, context: TokenContext): Result<VerifiedToken> {
  const trusted = trustedNow(token, context.tokens);
  if (trusted === undefined) return refuse('token_issuer_unknown', `${token.entry} is gone`);
  const { issuer } = trusted;
  const meaning = readMeaning(token, issuer, context.nowMs);
  if (!meaning.ok) return meaning;
  const revised = verified(token, issuer, meaning.value, token);
  const refusal = judgeKey(revised, trusted, context.bundles) ?? judgeRevocations(revised, context);
  return refusal === undefined ? ok(revised) : { ok: false, error: refusal };
}

/**
 * Whether a token may come with this client certificate: hex SHA-256 of its DER as TLS has it, never as a header says
 * (RFC 8705 3). For each request anew: the next one may come on another connection.
 */
export function judgeBinding(token: VerifiedToken, leafSha256: string | undefined): Refusal | undefined {
  const { boundTo, issuer } = token;
  if (boundTo === undefined)
    return issuer.requiresBinding
      ? { reason: 'token_binding', detail: `${issuer.name} demands a token that is bound to a certificate` }
      : undefined;
  if (boundTo === leafSha256) return undefined;
  const detail =
    leafSha256 === undefined
      ? 'it is bound to a certificate, and none is there'
      : 'it is bound to another certificate';
  return { reason: 'token_binding', detail };
}

function trustedNow(
  { issuer }: VerifiedToken,
  { issuers, delegates }: TokenTrust,
): TrustedIssuer | undefined {
  if (issuer.kind === 'assertion') return delegates.get(issuer.presenter);
  for (const trusted of issuers) if (trusted.issuer.name === issuer.name) return trusted;
  return undefined;
}

/** Usually the same object: what did not change keeps it. */
const isSameRules = (a: TokenIssuer, b: TokenIssuer): boolean => a === b || rulesOf(a) === rulesOf(b);

const ruleTexts = new WeakMap<TokenIssuer, string>();

function rulesOf(issuer: TokenIssuer): string {
  let text = ruleTexts.get(issuer);
  if (text === undefined) {
    text = JSON.stringify(Object.entries(issuer).sort(([a], [b]) => (a < b ? -1 : 1)));
    ruleTexts.set(issuer, text);
  }
  return text;
}

function judgeKey(
  token: VerifiedToken,
  trusted: TrustedIssuer,
  bundles: TrustBundleSet,
): Refusal | undefined {
  const keys = keysFor(trusted, token.principal, bundles);
  if (!keys.ok) return keys.error;
  if (hasKey(keys.value, token)) return undefined;
  return { reason: 'token_key_unknown', detail: 'the key that verified it is gone' };
}

/** By the key itself: a publisher may call it by another name, or say anew what it is for. */
function hasKey({ keys }: KeySet, { key, header }: VerifiedToken): boolean {
  for (const other of keys) {
    if (other === key) return true;
    if (other.thumbprint === key.thumbprint && isFor(other, header.alg)) return true;
  }
  return false;
}

const isFor = (key: VerifyingKey, alg: string): boolean => key.alg === undefined || key.alg === alg;

function judgeRevocations(token: VerifiedToken, { revocations, nowMs }: TokenContext): Refusal | undefined {
  const { principal, actor, sha256, twinSha256, issuedMs, notBeforeMs } = token;
  const at = { sha256, twinSha256, issuedMs: issuedMs ?? notBeforeMs };
  const entry =
    revocations.findPrincipal(principal, at, nowMs) ??
    (actor === undefined ? undefined : revocations.findPrincipal(actor, at, nowMs));
  return entry === undefined ? undefined : { reason: 'token_revoked', detail: entry.reason };
}
