import { err, ok, type Result } from '../reasons.js';
import { isAll, isFieldValue, TOKEN, trimOws } from './char-class.js';
import type { ForwardPlan } from './forward-policy.js';
import { parseContentLength } from './framing.js';
import { HOP_BY_HOP, normaliseHeaderName } from './header-names.js';
import { parseConnection } from './hop-by-hop.js';
import { ownVia } from './via.js';

export interface ResponseOptions {
  readonly plan: ForwardPlan;
  /** The version that the upstream answered with; 1.1 when left out. */
  readonly httpVersion?: '1.0' | '1.1' | '2';
}

export interface RewrittenResponse {
  /** Flat [name, value, …] without connection and framing: the listener writes those anew. */
  readonly headers: string[];
  /** As the upstream declared it; for HEAD and 304 it tells of a body that does not come. */
  readonly contentLength: number | undefined;
}

type RawFields = readonly string[];

type ResponseKind = 'drop' | 'connection' | 'content-length' | 'transfer-encoding' | 'vary' | 'via';
const KINDS: ReadonlyMap<string, ResponseKind> = new Map<string, ResponseKind>([
  ...HOP_BY_HOP.map((name) => [name, 'drop'] as const),
  ['proxy-connection', 'drop'],
  ['proxy-authenticate', 'drop'],
  ['proxy-authentication-info', 'drop'],
  ['connection', 'connection'],
  ['content-length', 'content-length'],
  ['transfer-encoding', 'transfer-encoding'],
  ['vary', 'vary'],
  ['via', 'via'],
]);

/** RFC 9110 6.5.1: what a recipient needs before the content, or what would let the end of a message change its beginning. */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  'host',
  'authorization',
  'set-cookie',
  'location',
  'www-authenticate',
  'content-encoding',
  'content-type',
  'content-range',
  'cache-control',
  'age',
  'expires',
  'date',
  'retry-after',
  'x-request-id',
]);

class ResponseFields {
  readonly headers: string[] = [];
  readonly connections: string[] = [];
  contentLength: number | undefined;
  isChunked = false;
  via = '';
}

/** What the client gets of the upstream's fields. An error (always the upstream's fault) is answered with 502. */
export function rewriteResponseHeaders(
  raw: RawFields,
  options: ResponseOptions,
): Result<RewrittenResponse, string> {
  if (raw.length % 2 !== 0) return err('a field name without a value');
  const fields = new ResponseFields();
  for (let i = 0; i < raw.length; i += 2) {
    const problem = collect(fields, options.plan, raw[i]!, raw[i + 1]!);
    if (problem !== undefined) return err(problem);
  }
  // RFC 9112 6.3: two framings in a response are a response-splitting attempt or a broken server
  if (fields.isChunked && fields.contentLength !== undefined)
    return err('Content-Length and Transfer-Encoding');
  const headers = withoutNamed(fields);
  if (headers === undefined) return err('malformed Connection');
  const own = ownVia(options.plan, options.httpVersion);
  headers.push('via', fields.via === '' ? own : `${fields.via}, ${own}`);
  return ok({ headers, contentLength: fields.contentLength });
}

/**
 * Which of the upstream's trailers the client gets: lower-case, nothing that frames, routes, is ours or is of one hop alone
 * (RFC 9110 6.5.1). Undefined where one is malformed.
 */
export function rewriteResponseTrailers(raw: RawFields, plan: ForwardPlan): string[] | undefined {
  const trailers: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    if (!isAll(name, TOKEN) || !isFieldValue(raw[i + 1]!)) return undefined;
    const normalised = normaliseHeaderName(name);
    if (plan.requestOnly.has(normalised) || KINDS.has(normalised) || NOT_IN_TRAILERS.has(normalised))
      continue;
    trailers.push(name, raw[i + 1]!);
  }
  return trailers;
}

/** Sorts one field into its place; the text of what is wrong with it, if anything. */
function collect(fields: ResponseFields, plan: ForwardPlan, name: string, value: string): string | undefined {
  if (!isAll(name, TOKEN)) return 'a field name is not a token';
  if (!isFieldValue(value)) return 'control character in a field value';
  const lower = name.toLowerCase();
  const normalised = normaliseHeaderName(lower);
  if (plan.requestOnly.has(normalised)) return undefined;
  const kind = KINDS.get(normalised);
  if (kind === undefined) {
    fields.headers.push(name, value);
    return undefined;
  }
  // an alias such as Content_Length frames nothing here, but may further on: it goes no further
  if (kind === 'drop' || normalised !== lower) return undefined;
  return collectKnown(fields, kind, plan, name, trimOws(value));
}

function collectKnown(
  fields: ResponseFields,
  kind: Exclude<ResponseKind, 'drop'>,
  plan: ForwardPlan,
  name: string,
  value: string,
): string | undefined {
  switch (kind) {
    case 'connection':
      fields.connections.push(value);
      return undefined;
    case 'vary':
      // RFC 9440 2.4: the client cannot vary what only we can see
      fields.headers.push(name, variesOnIdentity(plan, value) ? '*' : value);
      return undefined;
    case 'via':
      fields.via = fields.via === '' ? value : `${fields.via}, ${value}`;
      return undefined;
    case 'transfer-encoding':
      if (fields.isChunked || value.toLowerCase() !== 'chunked')
        return 'Transfer-Encoding is not exactly chunked';
      fields.isChunked = true;
      return undefined;
    case 'content-length': {
      const length = parseContentLength(value);
      const before = fields.contentLength;
      // equal copies are folded (RFC 9112 6.3)
      if (length === undefined || (before !== undefined && before !== length))
        return 'malformed Content-Length';
      fields.contentLength = length;
      return undefined;
    }
    default:
      return unreachable(kind);
  }
}

function withoutNamed(fields: ResponseFields): string[] | undefined {
  if (fields.connections.length === 0) return fields.headers;
  const connection = parseConnection(fields.connections);
  if (connection === undefined) return undefined;
  const named = connection.named;
  if (named === undefined) return fields.headers;
  const out: string[] = [];
  for (let i = 0; i < fields.headers.length; i += 2) {
    const name = fields.headers[i] ?? '';
    if (!named.has(name.toLowerCase())) out.push(name, fields.headers[i + 1] ?? '');
  }
  return out;
}

const variesOnIdentity = (plan: ForwardPlan, value: string): boolean =>
  value.split(',').some((name) => plan.requestOnly.has(normaliseHeaderName(trimOws(name))));

function unreachable(kind: never): never {
  throw new TypeError(`unknown field kind ${String(kind)}`);
}
