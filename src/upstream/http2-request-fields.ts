import type { OutgoingHttpHeaders } from 'node:http2';
import type { ForwardRequest } from '../listener/ports.js';
import { trimOws } from '../message/char-class.js';
import { hasWritableTarget, isWritableField } from './request-head.js';

/** What no request of HTTP/2 may hold (RFC 9113 8.2.2), and what is not a header's to say: Host and framing. */
const BARRED: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** Fields that node:http2 sends once only: copies are joined, as RFC 9110 5.3 allows. */
const SINGLE: ReadonlySet<string> = new Set([
  'access-control-allow-credentials',
  'access-control-max-age',
  'access-control-request-method',
  'age',
  'authorization',
  'content-encoding',
  'content-language',
  'content-location',
  'content-md5',
  'content-range',
  'content-type',
  'date',
  'dnt',
  'etag',
  'expires',
  'from',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'range',
  'referer',
  'retry-after',
  'tk',
  'upgrade-insecure-requests',
  'user-agent',
  'x-content-type-options',
]);

/**
 * A request's pseudo-header and header fields; undefined when a part of it could become other octets or another field, as of
 * `formatRequestHead` (node:http2 writes the lowest eight bits of each character, and NUL separates its fields).
 */
export function formatRequestFields(
  request: ForwardRequest,
  scheme: 'http' | 'https',
): OutgoingHttpHeaders | undefined {
  const { method, headers, body, bodyLength } = request;
  if (!hasWritableTarget(request) || method === 'CONNECT') return undefined;
  // Without a prototype: a header may be called `__proto__`.
  const fields: OutgoingHttpHeaders = Object.create(null);
  fields[':method'] = method;
  fields[':scheme'] = scheme;
  fields[':authority'] = request.authority;
  fields[':path'] = request.target;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!.toLowerCase();
    const value = headers[i + 1]!;
    if (!isWritableField(name, value) || BARRED.has(name)) return undefined;
    addField(fields, name, trimOws(value)); // RFC 9113 8.2.1: no white space around it
  }
  if (request.acceptsTrailers) fields.te = 'trailers';
  if (body !== undefined && bodyLength !== undefined) fields['content-length'] = String(bodyLength);
  return fields;
}

function addField(fields: OutgoingHttpHeaders, name: string, value: string): void {
  const before = fields[name];
  if (before === undefined) fields[name] = value;
  else if (SINGLE.has(name)) fields[name] = `${String(before)}, ${value}`;
  else if (Array.isArray(before)) before.push(value);
  else fields[name] = [String(before), value];
}
