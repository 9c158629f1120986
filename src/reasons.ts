/** Why Countersign said no (a refusal) or could not go on (a failure): two closed lists, the same in answers, records and metrics. */

interface Meaning {
  /** HTTP status of the answer; 0 = there is no answer to give (TLS not finished, or the client has gone). */
  readonly status: number;
  readonly title: string;
  /** True when the credential itself is the cause: the connection is closed with the answer (PRODUCT §8). */
  readonly credential?: true;
}

const CERTIFICATE = 'Certificate not acceptable';
const credential = (title = CERTIFICATE): Meaning => ({ status: 403, title, credential: true });
const bad = (title: string, status = 400): Meaning => ({ status, title });
const token = (title = 'Token not acceptable'): Meaning => ({ status: 401, title });

const refusals = {
  // the handshake did not finish
  tls_handshake_failed: { status: 0, title: 'TLS handshake failed' },
  tls_handshake_timeout: { status: 0, title: 'TLS handshake took too long' },
  peer_not_local: { status: 0, title: 'Not from this machine' },
  /** From a load balancer that is to send one. */
  proxy_header_malformed: { status: 0, title: 'No sound PROXY header' },
  /** What came where a protocol's own way to ask for TLS was to come. */
  tls_required: { status: 0, title: 'TLS is required' },
  // the peer's certificate (X509-SVID)
  certificate_missing: credential('A client certificate is needed'),
  svid_malformed: credential(),
  svid_uri_san_count: credential(),
  svid_id_invalid: credential(),
  svid_is_ca: credential(),
  svid_key_usage: credential(),
  svid_extended_key_usage: credential(),
  svid_critical_extension: credential(),
  svid_expired: credential(),
  svid_not_yet_valid: credential(),
  svid_lifetime_too_long: credential(),
  svid_revoked: credential(),
  trust_domain_unknown: credential(),
  trust_bundle_empty: credential(),
  chain_untrusted: credential(),
  chain_signature: credential(),
  chain_too_long: credential(),
  issuer_expired: credential(),
  issuer_not_yet_valid: credential(),
  issuer_not_ca: credential(),
  issuer_key_usage: credential(),
  issuer_critical_extension: credential(),
  path_length_exceeded: credential(),
  name_constraints: credential(),
  revocation_unknown: credential(),
  // a token (JWT): in the answer all but the first are `token_invalid`
  token_missing: token('A token is needed'),
  token_invalid: token(),
  /** Not one Authorization with one token (RFC 6750 2.1). */
  authorization_malformed: bad('Malformed Authorization'),
  token_malformed: token(),
  token_algorithm: token(),
  token_type: token(),
  token_header: token(),
  token_issuer_unknown: token(),
  token_key_unknown: token(),
  token_signature: token(),
  token_claims: token(),
  token_audience: token(),
  token_subject: token(),
  token_expired: token(),
  token_not_yet_valid: token(),
  token_lifetime_too_long: token(),
  token_binding: token(),
  token_replayed: token(),
  token_revoked: token(),
  /** The keys of its issuer, or whoever validates it, cannot be asked. */
  token_unverifiable: bad('Token cannot be verified', 503),
  // on whose behalf
  delegation_missing: { status: 403, title: 'It must be said on whose behalf' },
  delegation_untrusted: { status: 403, title: 'On whose behalf cannot be verified' },
  delegation_too_deep: { status: 403, title: 'Too many actors' },
  delegation_denied: { status: 403, title: 'Forbidden' },
  // policy
  policy_denied: { status: 403, title: 'Forbidden' },
  no_rule_matched: { status: 403, title: 'Forbidden' },
  identity_unregistered: { status: 403, title: 'Forbidden' },
  external_denied: { status: 403, title: 'Forbidden' },
  // the request
  route_not_found: bad('No route', 404),
  misdirected_request: bad('Misdirected request', 421),
  path_ambiguous: bad('Ambiguous path'),
  target_malformed: bad('Malformed request target'),
  host_missing: bad('Host is missing'),
  host_malformed: bad('Host is malformed or ambiguous'),
  header_malformed: bad('Malformed header'),
  request_malformed: bad('Malformed request'),
  framing_ambiguous: bad('Ambiguous message framing'),
  transfer_coding_unsupported: bad('Transfer coding not supported', 501),
  http_version_unsupported: bad('HTTP version not supported', 505),
  method_not_allowed: bad('Method not allowed', 405),
  expectation_unsupported: bad('Expectation failed', 417),
  upgrade_refused: bad('Upgrade refused'),
  uri_too_long: bad('URI too long', 414),
  headers_too_large: bad('Request header fields too large', 431),
  body_too_large: bad('Content too large', 413),
  request_timeout: bad('Request timeout', 408),
  loop_detected: bad('Loop detected', 508),
  // overload and lifecycle
  rate_limited: bad('Too many requests', 429),
  concurrency_limited: bad('Too many requests at once', 429),
  connection_limit: bad('Too many connections', 503),
  stream_limit: bad('Too many streams', 503),
  protocol_error: { status: 0, title: 'The client broke the protocol' },
  draining: bad('Shutting down', 503),
  not_ready: bad('Not ready', 503),
  audit_unavailable: bad('Records cannot be written', 503),
  external_unavailable: bad('Decision cannot be taken', 503),
} as const satisfies Record<string, Meaning>;

const failures = {
  upstream_unreachable: bad('Upstream unreachable', 502),
  upstream_connect_timeout: bad('Upstream did not accept in time', 504),
  upstream_timeout: bad('Upstream did not answer in time', 504),
  upstream_malformed: bad('Upstream answered malformed HTTP', 502),
  upstream_overloaded: bad('Upstream overloaded', 503),
  upstream_reset: bad('Upstream broke off', 502),
  /** What it presented is not the identity that is configured, or not trusted now. */
  upstream_untrusted: bad('Upstream identity not acceptable', 502),
  client_aborted: { status: 0, title: 'Client went away' },
  access_ended: { status: 0, title: 'Access ended while the exchange was open' },
  deadline_exceeded: { status: 0, title: 'A deadline ended the exchange' },
  internal_error: bad('Internal error', 500),
} as const satisfies Record<string, Meaning>;

export type RefusalReason = keyof typeof refusals;
export type FailureCode = keyof typeof failures;
export type Reason = RefusalReason | FailureCode;

/** An expected no, as a value. `detail` is for the log and for `explain`, never for the client. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly detail: string;
}

export type Result<T, E = Refusal> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: E };

export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });
export const err = <E>(error: E): { readonly ok: false; readonly error: E } => ({ ok: false, error });
export const refuse = (
  reason: RefusalReason,
  detail = '',
): { readonly ok: false; readonly error: Refusal } => ({
  ok: false,
  error: { reason, detail },
});

/** Something broke: thrown, with its cause; logged once, where it is handled. */
export class Failure extends Error {
  constructor(
    readonly code: FailureCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'Failure';
  }
}

const meanings: Readonly<Record<Reason, Meaning>> = { ...refusals, ...failures };

export const meaningOf = (reason: Reason): Meaning => meanings[reason];
const POLICY_NOES: ReadonlySet<Reason> = new Set<Reason>([
  'no_rule_matched',
  'identity_unregistered',
  'external_denied',
  'delegation_denied',
]);
/** A caller must not learn from the answer how far a forged token got. */
export const isTokenFault = (reason: Reason): boolean => meaningOf(reason).status === 401;
/** The reason an answer may show: every policy no reads the same, so that a caller cannot probe the rules (PRODUCT §8). */
export const publicReason = (reason: Reason): Reason => {
  if (POLICY_NOES.has(reason)) return 'policy_denied';
  return isTokenFault(reason) && reason !== 'token_missing' ? 'token_invalid' : reason;
};
export const allReasons = Object.keys(meanings) as readonly Reason[];
