import { type Result, refuse } from '../reasons.js';
import type { Body } from './framing.js';
import { parseFraming } from './framing.js';
import { collectHeader, HeaderFields } from './header-fields.js';
import { parseHost } from './host.js';
import { FORWARDED_METHODS, type RequestHead, readHead } from './request-head.js';

/** What of a stream its fields do not say. */
export interface Http2Form {
  /** What this listener is spoken to by. */
  readonly scheme: 'http' | 'https';
  /** Nothing follows the head. */
  readonly endsStream: boolean;
}

/** RFC 9113 8.2.2. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** A head as it came, sorted. */
class Http2Fields {
  method: string | undefined;
  scheme: string | undefined;
  authority: string | undefined;
  path: string | undefined;
  cookie: string | undefined;
  acceptsTrailers = false;
  /** Flat, as HTTP/1.1 would have them: Host first, one Cookie. */
  readonly lines: string[] = ['host', ''];
}

/** Reads one HTTP/2 request head into the value that HTTP/1.1 gives: one set of rules for target, host and fields (RFC 9113 8.3). */
export function parseHttp2Head(
  rawHeaders: readonly string[],
  form: Http2Form,
  pseudonym = '',
): Result<RequestHead> {
  const received = new Http2Fields();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const problem = sort(received, rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
    if (problem !== undefined) return refuse('header_malformed', problem);
  }
  const { method, path, scheme, authority, cookie, lines, acceptsTrailers } = received;
  if (method === undefined) return refuse('request_malformed', 'no :method');
  if (!FORWARDED_METHODS.has(method)) return refuse('method_not_allowed'); // CONNECT has neither :scheme nor :path
  if (path === undefined) return refuse('target_malformed', 'no :path');
  if (path !== '*' && path.charCodeAt(0) !== 47)
    return refuse('target_malformed', ':path is not origin-form');
  if (scheme !== form.scheme) return refuse('target_malformed', `:scheme is not ${form.scheme}`);
  if (authority === undefined) lines.splice(0, 2);
  else lines[1] = authority;
  if (cookie !== undefined) lines.push('cookie', cookie);
  const fields = new HeaderFields();
  for (let i = 0; i < lines.length; i += 2) {
    const problem = collectHeader(fields, method, lines[i]!, lines[i + 1]!);
    if (problem !== undefined) return refuse('header_malformed', problem);
  }
  if (!foldHost(fields)) return refuse('host_malformed', 'Host differs from :authority');
  const body = bodyOf(fields, form);
  if (!body.ok) return body;
  const start = { method, url: path, httpVersion: '2', rawHeaders: lines, acceptsTrailers } as const;
  return readHead(start, fields, body.value, pseudonym);
}

/** Puts one field into its place; the text of what is wrong with it, if anything. */
function sort(received: Http2Fields, name: string, value: string): string | undefined {
  if (name.charCodeAt(0) === 58) return sortPseudo(received, name, value);
  if (name !== name.toLowerCase()) return 'name is not lower-case'; // RFC 9113 8.2.1
  if (CONNECTION_SPECIFIC.has(name)) return `${name} in HTTP/2`;
  if (name === 'te') {
    if (value !== 'trailers') return 'TE is not trailers';
    received.acceptsTrailers = true;
    return undefined;
  }
  if (name === 'cookie') {
    received.cookie = received.cookie === undefined ? value : `${received.cookie}; ${value}`; // RFC 9113 8.2.3
    return undefined;
  }
  received.lines.push(name, value);
  return undefined;
}

function sortPseudo(received: Http2Fields, name: string, value: string): string | undefined {
  if (received.lines.length > 2 || received.cookie !== undefined) return `${name} behind other fields`;
  const key = PSEUDO.get(name);
  if (key === undefined) return 'unknown pseudo-header';
  if (received[key] !== undefined) return `several ${name}`;
  received[key] = value;
  return undefined;
}

const PSEUDO: ReadonlyMap<string, 'method' | 'scheme' | 'authority' | 'path'> = new Map([
  [':method', 'method'],
  [':scheme', 'scheme'],
  [':authority', 'authority'],
  [':path', 'path'],
]);

/** RFC 9113 8.3.1: Host beside :authority is one more word for the same thing, or a request of two minds. */
function foldHost(fields: HeaderFields): boolean {
  const [first, ...others] = fields.hosts;
  if (others.length === 0 || first === undefined) return true;
  const authority = parseHost(first);
  for (const other of others) {
    const host = parseHost(other);
    if (!authority.ok || !host.ok || host.value.authority !== authority.value.authority) return false;
  }
  fields.hosts = [first];
  return true;
}

/** RFC 9113 8.1.1: frames say where the content ends, and Content-Length must say the same. */
function bodyOf(fields: HeaderFields, form: Http2Form): Result<Body> {
  const body = parseFraming('1.1', fields.contentLengths, []);
  if (!body.ok) return body;
  if (body.value.kind === 'none') return form.endsStream ? body : { ok: true, value: { kind: 'chunked' } };
  const isShort = form.endsStream && body.value.kind === 'length' && body.value.length > 0;
  return isShort ? refuse('framing_ambiguous', 'Content-Length, and nothing follows') : body;
}
