import { meaningOf, publicReason, type Reason } from '../reasons.js';

/** An answer of our own (RFC 9457). */
export interface Problem {
  /** 0 = there is nobody to answer. */
  readonly status: number;
  /** Flat [name, value, …] without connection and framing. */
  readonly headers: readonly string[];
  readonly body: string;
  /** The connection must not carry another request: its credential or its framing is the cause. */
  readonly close: boolean;
}

/** After these nobody knows where the next request begins, or the client must be made to start over. */
const CLOSING: ReadonlySet<Reason> = new Set<Reason>([
  'framing_ambiguous',
  'transfer_coding_unsupported',
  'header_malformed',
  'request_malformed',
  'host_missing',
  'host_malformed',
  'target_malformed',
  'http_version_unsupported',
  'headers_too_large',
  'uri_too_long',
  'body_too_large',
  'request_timeout',
  'method_not_allowed',
  'connection_limit',
  'draining',
  'internal_error',
]);

/** RFC 6750 3: what is asked for, and as little as can be said of what was wrong with what came. */
export function challengeOf(reason: Reason): readonly string[] {
  const shown = publicReason(reason);
  if (shown === 'token_missing') return ASKED;
  if (shown === 'token_invalid') return NOT_GOOD;
  return shown === 'authorization_malformed' ? NOT_READABLE : NONE;
}

const NONE: readonly string[] = [];
const ASKED: readonly string[] = ['www-authenticate', 'Bearer'];
const NOT_GOOD: readonly string[] = ['www-authenticate', 'Bearer error="invalid_token"'];
const NOT_READABLE: readonly string[] = ['www-authenticate', 'Bearer error="invalid_request"'];

/** RFC 9110 15.5.6: a 405 says what is allowed. */
const ALLOWED_METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';

/**
 * The body tells the public reason and where to look; nothing of the policy, the rule or the certificate.
 * @param more header fields that this one answer has besides, flat.
 */
export function formatProblem(reason: Reason, requestId: string, more: readonly string[] = []): Problem {
  const shown = publicReason(reason);
  const meaning = meaningOf(shown);
  const body = `${JSON.stringify({
    type: `urn:countersign:reason:${shown}`,
    title: meaning.title,
    status: meaning.status,
    reason: shown,
    requestId,
  })}\n`;
  const headers = [
    'content-type',
    'application/problem+json',
    'cache-control',
    'no-store',
    'x-request-id',
    requestId,
    ...challengeOf(reason),
    ...more,
  ];
  if (meaning.status === 405) headers.push('allow', ALLOWED_METHODS);
  return { status: meaning.status, headers, body, close: meaning.credential === true || CLOSING.has(reason) };
}
