import { ALNUM, TOKEN } from './char-class.js';

/** What a request header is to us. Everything that is not listed crosses unchanged (RFC 9110 5.1). */
export type HeaderKind =
  | 'pass'
  /** Reserved or hop-by-hop: never crosses, whoever sent it. */
  | 'drop'
  /** Not an RFC 9110 token. */
  | 'malformed'
  | 'host'
  | 'content-length'
  | 'transfer-encoding'
  | 'connection'
  | 'upgrade'
  | 'expect'
  | 'max-forwards'
  | 'via'
  | 'x-forwarded-for'
  | 'x-forwarded-proto'
  | 'x-forwarded-host'
  | 'forwarded'
  | 'x-forwarded-client-cert'
  | 'x-identity-assertion'
  | 'x-request-id'
  | 'traceparent'
  | 'tracestate';

/** Identity headers of ours: request-only, so they are stripped from responses too (RFC 9440 2.2). */
export const IDENTITY_HEADERS: readonly string[] = [
  'x-spiffe-id',
  'x-forwarded-client-cert',
  'client-cert',
  'client-cert-chain',
  'x-identity-assertion',
];

/** RFC 9110 7.6.1 and the ones that old proxies invented; RFC 9113 8.2.2 bars the same in HTTP/2. */
export const HOP_BY_HOP: readonly string[] = [
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
];

/** Names that claim who the caller is, where it sits, or what it really asked for. */
const RESERVED: readonly string[] = [
  'x-real-ip',
  'true-client-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-client-dn',
  'x-client-cn',
  'x-client-verify',
  'x-client-subject',
  'x-client-issuer',
  'x-client-serial',
  'x-remote-ip',
  'x-remote-addr',
  'remote-addr',
  'x-originating-ip',
  'x-original-forwarded-for',
  'x-appengine-user-ip',
  'x-azure-clientip',
  'x-azure-socketip',
  'cf-connecting-ip',
  'cf-connecting-ipv6',
  'cf-pseudo-ipv4',
  'fastly-client-ip',
  'fly-client-ip',
  'x-forwarded',
  'forwarded-for',
  'forwarded-for-ip',
  'x-original-url',
  'x-original-uri',
  'x-original-host',
  'x-original-method',
  'x-original-path',
  'x-rewrite-url',
  'x-host',
  'x-http-host-override',
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  // httpoxy (CVE-2016-5385): CGI turns it into HTTP_PROXY
  'proxy',
  'x-scheme',
  'x-url-scheme',
  'front-end-https',
];

const RESERVED_PREFIXES: readonly string[] = [
  'x-forwarded-',
  'x-envoy-',
  'x-client-cert',
  'x-ssl-',
  'x-tls-',
  'ssl-client-',
  'proxy-',
];
const PREFIX_INITIALS: ReadonlySet<number> = new Set(RESERVED_PREFIXES.map((name) => name.charCodeAt(0)));

/** Headers that are read; what crosses of them is written anew. */
const HANDLED = [
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'expect',
  'max-forwards',
  'via',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'forwarded',
  'x-forwarded-client-cert',
  'x-identity-assertion',
  'x-request-id',
  'traceparent',
  'tracestate',
] as const satisfies readonly HeaderKind[];

const KINDS: ReadonlyMap<string, HeaderKind> = new Map<string, HeaderKind>([
  ...[...IDENTITY_HEADERS, ...HOP_BY_HOP, ...RESERVED].map((name) => [name, 'drop'] as const),
  ...HANDLED.map((name) => [name, name] as const),
]);

/** One look at a name as it came. An alias (`X_Spiffe_Id`, `Content.Length`) of a listed name is dropped, never taken for it. */
export function headerKindOf(name: string): HeaderKind {
  let isUpper = false;
  let isAlias = false;
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (TOKEN[code] !== 1) return 'malformed';
    if (code >= 65 && code <= 90) isUpper = true;
    else if (code !== 45 && ALNUM[code] !== 1) isAlias = true;
  }
  if (name.length === 0) return 'malformed';
  const lower = isUpper ? name.toLowerCase() : name;
  if (isAlias) return isListed(dashed(lower)) ? 'drop' : 'pass';
  const kind = KINDS.get(lower);
  if (kind !== undefined) return kind;
  return hasReservedPrefix(lower) ? 'drop' : 'pass';
}

/** Lower case with every other character as `-`: what CGI, WSGI and PHP servers make of a name before they look it up. */
export function normaliseHeaderName(name: string): string {
  return dashed(name.toLowerCase());
}

/** Is this normalised name one that a client can never set (so that nothing else may be made to rely on it)? */
const isListed = (normalised: string): boolean => KINDS.has(normalised) || hasReservedPrefix(normalised);

function hasReservedPrefix(lower: string): boolean {
  if (!PREFIX_INITIALS.has(lower.charCodeAt(0))) return false;
  for (const prefix of RESERVED_PREFIXES) {
    if (lower.startsWith(prefix)) return true;
  }
  return false;
}

function dashed(lower: string): string {
  let out = '';
  let copied = 0;
  for (let i = 0; i < lower.length; i++) {
    const code = lower.charCodeAt(i);
    if (code === 45 || ALNUM[code] === 1) continue;
    out += `${lower.slice(copied, i)}-`;
    copied = i + 1;
  }
  return copied === 0 ? lower : out + lower.slice(copied);
}

/** Values of these prove who somebody is: what reads them must not write them down. */
const CREDENTIAL_NAME =
  /authorization|cookie|token|secret|passw|credential|(api|auth|access|private|account|master|subscription|functions)-?key|signature|session|jwt|assertion|bearer/;

/** `code` is that of OAuth; `sig` and `X-Amz-…` are those of signed URLs. */
const CREDENTIAL_PARAMETER = new RegExp(
  `${CREDENTIAL_NAME.source}|^(code|key|sig|auth|pwd|pass|otp|pin|sid)$|^x-(amz|goog)-`,
);

/** What is wrong with a header that conditions are to read, and records to hold; undefined when they may. */
export function problemOfReadHeader(name: string): string | undefined {
  return problemOfHeader(name, 'so nothing may be decided by it', 'what conditions read is recorded');
}

/** What is wrong with a header that records are to hold; undefined when they may. */
export function problemOfRecordedHeader(name: string): string | undefined {
  return problemOfHeader(name, 'so it says nothing of what the service got', 'records must not hold one');
}

/** The same of a query parameter, whoever reads it. */
export const problemOfRecordedParameter = (name: string): string | undefined =>
  CREDENTIAL_PARAMETER.test(dashed(name.toLowerCase()))
    ? 'looks like a credential, and records must not hold one'
    : undefined;

function problemOfHeader(name: string, whyPass: string, whySecret: string): string | undefined {
  if (name !== name.toLowerCase()) return `is written in lower case: ${name.toLowerCase()}`;
  const kind = headerKindOf(name);
  if (kind === 'malformed') return 'is not a header name';
  if (normaliseHeaderName(name) !== name)
    return 'is written with letters, digits and -: servers take others for it';
  if (kind !== 'pass') return `never crosses as the client sent it, ${whyPass}`;
  if (CREDENTIAL_NAME.test(name)) return `looks like a credential, and ${whySecret}`;
  return undefined;
}
