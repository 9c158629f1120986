import { ok, type Refusal, type Result, refuse } from '../reasons.js';
import { parseDecimal } from './char-class.js';
import { type Body, parseFraming } from './framing.js';
import { collectHeader, HeaderFields, type ReceivedFields, receivedOf } from './header-fields.js';
import { type ConnectionOptions, NO_CONNECTION_OPTIONS, parseConnection } from './hop-by-hop.js';
import { parseTarget, type Target } from './target.js';
import { hasPassedThrough } from './via.js';

export type { Body } from './framing.js';
export type { ReceivedFields } from './header-fields.js';

export interface RequestHead {
  readonly method: string;
  readonly httpVersion: '1.0' | '1.1' | '2';
  readonly target: Target;
  /** As received, for conditions and evidence only: never forwarded. */
  readonly rawHeaders: readonly string[];
  /** Flat list of the lines that may cross: not hop-by-hop, not named by Connection, not reserved. */
  readonly endToEnd: readonly string[];
  readonly received: ReceivedFields;
  readonly body: Body;
  /** Lower-case Upgrade value, only when Connection says upgrade too and the version is 1.1. */
  readonly upgrade: string | undefined;
  readonly expectsContinue: boolean;
  /** Only on OPTIONS; 0 = answer as the final recipient (RFC 9110 7.6.2). */
  readonly maxForwards: number | undefined;
  /** It reads trailers behind the answer (RFC 9110 6.5.1); HTTP/2 alone, where nothing on the way must understand them. */
  readonly acceptsTrailers: boolean;
}

/** Registered methods without CONNECT (no tunnel), TRACE (it would echo what we add) and PRI; a closed set bounds labels too. */
export const FORWARDED_METHODS: ReadonlySet<string> = new Set(
  (
    'GET HEAD POST PUT PATCH DELETE OPTIONS QUERY PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH ' +
    'ACL BIND REBIND UNBIND LINK UNLINK MKACTIVITY MKCALENDAR CHECKOUT MERGE PURGE NOTIFY SUBSCRIBE UNSUBSCRIBE ' +
    'M-SEARCH SOURCE'
  ).split(' '),
);
const MAX_FORWARDS_LIMIT = 1_000;

/** Reads one HTTP/1 request head into the one value that policy, forwarding, audit and metrics share. `pseudonym`: ours in Via, for loops. */
export function parseRequestHead(
  method: string,
  url: string,
  httpVersion: string,
  rawHeaders: readonly string[],
  pseudonym = '',
): Result<RequestHead> {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return refuse('http_version_unsupported', httpVersion);
  if (!FORWARDED_METHODS.has(method)) return refuse('method_not_allowed');
  if (rawHeaders.length % 2 !== 0) return refuse('request_malformed', 'a header name without a value');
  const fields = new HeaderFields();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const problem = collectHeader(fields, method, rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
    if (problem !== undefined) return refuse('header_malformed', problem);
  }
  const body = parseFraming(httpVersion, fields.contentLengths, fields.transferEncodings);
  if (!body.ok) return body;
  return readHead(
    { method, url, httpVersion, rawHeaders, acceptsTrailers: false },
    fields,
    body.value,
    pseudonym,
  );
}

/** What every version's head holds besides its fields. */
export interface HeadStart {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: RequestHead['httpVersion'];
  readonly rawHeaders: readonly string[];
  readonly acceptsTrailers: boolean;
}

/** The rest of reading a head, the same for every version: host, target, hop-by-hop, expectations, loops. */
export function readHead(
  start: HeadStart,
  fields: HeaderFields,
  body: Body,
  pseudonym: string,
): Result<RequestHead> {
  const { method, url } = start;
  const host = fields.hosts[0];
  if (host === undefined) return refuse('host_missing');
  if (fields.hosts.length > 1) return refuse('host_malformed', 'several Host lines');
  const target = parseTarget(method, url, host);
  if (!target.ok) return target;
  const connection =
    fields.connections.length === 0 ? NO_CONNECTION_OPTIONS : parseConnection(fields.connections);
  if (connection === undefined) return refuse('header_malformed', 'Connection');
  const problem = problemOf(fields, pseudonym);
  if (problem !== undefined) return { ok: false, error: problem };
  return ok(headOf(start, target.value, body, fields, connection));
}

function problemOf(fields: HeaderFields, pseudonym: string): Refusal | undefined {
  if (fields.expect !== undefined && !isContinue(fields.expect)) {
    return { reason: 'expectation_unsupported', detail: '' };
  }
  if (fields.via !== undefined && pseudonym !== '' && hasPassedThrough(fields.via, pseudonym)) {
    return { reason: 'loop_detected', detail: '' };
  }
  return undefined;
}

/** RFC 9110 10.1.1: 100-continue is the only expectation there is. */
const isContinue = (expect: string): boolean =>
  expect.length === 12 && expect.toLowerCase() === '100-continue';

function headOf(
  { method, httpVersion, rawHeaders, acceptsTrailers }: HeadStart,
  target: Target,
  body: Body,
  fields: HeaderFields,
  connection: ConnectionOptions,
): RequestHead {
  const named = connection.named;
  // RFC 9110 7.8 and 10.1.1: a 1.0 client's Upgrade and Expect are to be ignored
  const isCurrent = httpVersion !== '1.0';
  return {
    method,
    httpVersion,
    target,
    rawHeaders,
    endToEnd: named === undefined ? fields.endToEnd : withoutNamed(fields.endToEnd, named),
    received: receivedOf(fields, named),
    body,
    upgrade: isCurrent && connection.upgrade ? fields.upgrade?.toLowerCase() : undefined,
    expectsContinue: isCurrent && fields.expect !== undefined,
    maxForwards:
      fields.maxForwards === undefined
        ? undefined
        : Math.min(parseDecimal(fields.maxForwards, 18) ?? MAX_FORWARDS_LIMIT, MAX_FORWARDS_LIMIT),
    acceptsTrailers,
  };
}

function withoutNamed(lines: readonly string[], named: ReadonlySet<string>): string[] {
  const out: string[] = [];
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] ?? '';
    if (!named.has(name.toLowerCase())) out.push(name, lines[i + 1] ?? '');
  }
  return out;
}
