import { createHash } from 'node:crypto';
import { err, ok, type Result, refuse } from '../reasons.js';
import { toClaims } from './json-claims.js';
import { parseStrictJson } from './strict-json.js';
import { parseTokenHeader, type TokenHeader } from './token-header.js';
import type { Claims } from './token-template.js';
import type { TokenTrust, TrustedIssuer } from './token-trust.js';

export { judgeBinding, judgeToken, reviseToken, type TokenContext } from './token-judgement.js';
export { type VerifiedToken, verifyToken } from './token-verification.js';

/** What a token says. */
export interface TokenContent {
  readonly header: TokenHeader;
  readonly claims: Claims;
  readonly iss: string | undefined;
  /** SHA-256 of its text, hex: names it in records and revocations. */
  readonly sha256: string;
}

/** A token that is sound in itself. Nothing that it says is true yet. */
export interface UnverifiedToken extends TokenContent {
  readonly text: string;
}

const MAX_LENGTH = 16 * 1024;
/** Records hold no more of what anybody may write into a token. */
const MAX_SHOWN = 200;

/**
 * Reads a compact JWS (RFC 7515 7.1): three parts in canonical base64url, JSON objects without a member twice. The algorithm is
 * looked at before anything else (RFC 8725 3.1).
 */
export function parseToken(text: string): Result<UnverifiedToken> {
  if (text.length > MAX_LENGTH)
    return refuse('token_malformed', `the token is longer than ${MAX_LENGTH} characters`);
  const parts = text.split('.', 4);
  const [head, payload, signature] = parts;
  if (parts.length !== 3 || head === undefined || payload === undefined || signature === undefined)
    return refuse('token_malformed', 'the token is not of three parts: only compact JWS is taken');
  const headBytes = decodePart(head);
  if (!headBytes.ok) return refuse('token_malformed', `the header of the token ${headBytes.error}`);
  const members = objectIn(headBytes.value);
  if (!members.ok) return refuse('token_malformed', `the header of the token ${members.error}`);
  const header = parseTokenHeader(members.value);
  if (!header.ok) return header;
  if (signature === '') return refuse('token_signature', 'the token is not signed');
  const signed = decodePart(signature);
  if (!signed.ok) return refuse('token_malformed', `the signature of the token ${signed.error}`);
  const bytes = decodePart(payload);
  if (!bytes.ok) return refuse('token_malformed', `the payload of the token ${bytes.error}`);
  const claims = objectIn(bytes.value);
  if (!claims.ok) return refuse('token_malformed', `the payload of the token ${claims.error}`);
  const { iss } = claims.value;
  if (iss !== undefined && typeof iss !== 'string') return refuse('token_claims', '`iss` is not text');
  const sha256 = createHash('sha256').update(text).digest('hex');
  return ok({ text, sha256, header: header.value, claims: claims.value, iss });
}

/**
 * Whose token it says it is, in the order of the configuration: the entries of its `iss`, byte for byte; else, of a token for a
 * SPIFFE ID, those for JWT-SVIDs. Whose `iss` is an OpenID provider's is never taken for a JWT-SVID: one token, one reading.
 */
export function findIssuers(token: UnverifiedToken, { issuers }: TokenTrust): readonly TrustedIssuer[] {
  const named = issuers.filter(({ issuer }) => issuer.kind === 'oidc' && issuer.issuer === token.iss);
  if (named.length > 0) return named;
  const { sub } = token.claims;
  if (typeof sub !== 'string' || !sub.startsWith('spiffe://')) return [];
  return issuers.filter(({ issuer }) => issuer.kind === 'jwt-svid');
}

/** Padding, another alphabet and stray bits are refused: one token has one text, and so one fingerprint. */
function decodePart(part: string): Result<Buffer, string> {
  const bytes = Buffer.from(part, 'base64url');
  return bytes.length > 0 && bytes.toString('base64url') === part ? ok(bytes) : err('is not base64url');
}

function objectIn(bytes: Buffer): Result<Claims, string> {
  const json = parseStrictJson(bytes);
  if (!json.ok) return err(`is not sound JSON: ${json.error.slice(0, MAX_SHOWN)}`);
  return json.value instanceof Map ? ok(toClaims(json.value)) : err('is not a JSON object');
}
