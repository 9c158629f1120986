import { ok, type Result, refuse } from '../reasons.js';
import type { Claims } from './token-template.js';

/** 32 octets in base64url without padding (RFC 8705 3.1). */
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

/**
 * The certificate that a token is bound to (RFC 8705 3.1): hex SHA-256 of its DER, or undefined for a bearer token. A
 * confirmation that we do not understand is refused: the token is not a bearer token (RFC 7800 3.1).
 */
export function readConfirmation(claims: Claims): Result<string | undefined> {
  const { cnf } = claims;
  if (cnf === undefined) return ok(undefined);
  if (typeof cnf !== 'object' || cnf === null || Array.isArray(cnf))
    return refuse('token_binding', '`cnf` is not an object');
  const members = Object.entries(cnf);
  const [name, value] = members[0] ?? [];
  if (members.length !== 1 || name !== 'x5t#S256')
    return refuse('token_binding', 'only a `cnf` of x5t#S256 alone is understood');
  if (typeof value !== 'string' || !THUMBPRINT.test(value))
    return refuse('token_binding', 'x5t#S256 is not base64url of a SHA-256');
  const digest = Buffer.from(value, 'base64url');
  // The last character holds four bits: one digest has one spelling.
  if (digest.toString('base64url') !== value)
    return refuse('token_binding', 'x5t#S256 is not canonical base64url');
  return ok(digest.toString('hex'));
}
