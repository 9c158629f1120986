import { err, ok, type Refusal, type Result, refuse } from '../reasons.js';
import type { TokenIssuer } from './token-issuer.js';
import type { Claims } from './token-template.js';

/** Unix ms. */
export interface TokenDates {
  /** nbf; else iat, though never later than the moment at which it was read; else 0. */
  readonly notBeforeMs: number;
  /** exp: at this moment it has expired (RFC 7519 4.1.4), but for the clock skew of its issuer. */
  readonly notAfterMs: number;
  /** iat. */
  readonly issuedMs: number | undefined;
}

/** `iat` says when, not from when: clocks differ, and go-jose takes as much. Later than that, it is no honest date. */
const ISSUED_AHEAD_MS = 60_000;
const MAX_SECONDS = 8_640_000_000_000; // the last moment of a Date

type Rules = Pick<TokenIssuer, 'clockSkewMs' | 'maxLifetimeMs'>;

/** Reads exp, nbf and iat (RFC 7519 4.1), and judges them. exp must be there. */
export function readDates(claims: Claims, issuer: Rules, nowMs: number): Result<TokenDates> {
  const { exp, nbf, iat } = claims;
  if (!isDate(exp))
    return refuse('token_claims', exp === undefined ? '`exp` is missing' : '`exp` is no date');
  if (nbf !== undefined && !isDate(nbf)) return refuse('token_claims', '`nbf` is no date');
  if (iat !== undefined && !isDate(iat)) return refuse('token_claims', '`iat` is no date');
  const issuedMs = iat === undefined ? undefined : Math.floor(iat * 1000);
  const dates: TokenDates = {
    notBeforeMs: nbf === undefined ? Math.min(issuedMs ?? 0, nowMs) : Math.ceil(nbf * 1000),
    notAfterMs: Math.floor(exp * 1000),
    issuedMs,
  };
  const refusal = judgeDates(dates, issuer, nowMs);
  if (refusal !== undefined) return err(refusal);
  if (issuedMs !== undefined && issuedMs > nowMs + issuer.clockSkewMs + ISSUED_AHEAD_MS)
    return refuse('token_not_yet_valid', `it was issued in the future: ${iso(issuedMs)}`);
  const lifeMs = dates.notAfterMs - (issuedMs ?? (nbf === undefined ? nowMs : dates.notBeforeMs));
  if (lifeMs > issuer.maxLifetimeMs)
    return refuse('token_lifetime_too_long', `${Math.round(lifeMs / 1000)} seconds`);
  return ok(dates);
}

/** Whether the dates hold now. Both ends are those of RFC 7519: `exp` itself is too late, `nbf` itself is not too early. */
export function judgeDates(
  { notBeforeMs, notAfterMs }: Pick<TokenDates, 'notBeforeMs' | 'notAfterMs'>,
  { clockSkewMs }: Pick<Rules, 'clockSkewMs'>,
  nowMs: number,
): Refusal | undefined {
  if (nowMs >= notAfterMs + clockSkewMs) return { reason: 'token_expired', detail: iso(notAfterMs) };
  if (nowMs + clockSkewMs < notBeforeMs) return { reason: 'token_not_yet_valid', detail: iso(notBeforeMs) };
  return undefined;
}

/** NumericDate (RFC 7519 2): seconds, perhaps with a fraction. Never text. */
const isDate = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= MAX_SECONDS;

const iso = (ms: number): string => new Date(ms).toISOString();
