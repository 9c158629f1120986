import { ok, type Result, refuse } from '../reasons.js';
import { parseDecimal } from './char-class.js';

/** How the request's content is delimited; the only framing knowledge that leaves this proxy. */
export type Body =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' };

const NONE: Body = { kind: 'none' };
const CHUNKED: Body = { kind: 'chunked' };

/** Transfer codings of RFC 9112 7 that exist but that we do not undo. */
const KNOWN_CODINGS: ReadonlySet<string> = new Set([
  'gzip',
  'x-gzip',
  'deflate',
  'compress',
  'x-compress',
  'identity',
]);

/** RFC 9112 6.1-6.3, without any of the leeways: two recipients that use different leeways are a smuggled request. */
export function parseFraming(
  httpVersion: '1.0' | '1.1',
  contentLengths: readonly string[],
  transferEncodings: readonly string[],
): Result<Body> {
  if (transferEncodings.length > 0) {
    if (contentLengths.length > 0) {
      return refuse('framing_ambiguous', 'both Content-Length and Transfer-Encoding');
    }
    return parseTransferEncoding(httpVersion, transferEncodings);
  }
  if (contentLengths.length === 0) return ok(NONE);
  // equal copies may be folded (RFC 9112 6.3); no honest client sends them
  if (contentLengths.length > 1) return refuse('framing_ambiguous', 'several Content-Length lines');
  const length = parseContentLength(contentLengths[0] ?? '');
  return length === undefined
    ? refuse('framing_ambiguous', 'Content-Length is not a number')
    : ok({ kind: 'length', length });
}

/** Digits only, exact in a double; undefined for signs, lists, spaces, hex, exponents and overflow. */
export function parseContentLength(text: string): number | undefined {
  const length = parseDecimal(text, 16);
  return length !== undefined && length <= Number.MAX_SAFE_INTEGER ? length : undefined;
}

function parseTransferEncoding(httpVersion: '1.0' | '1.1', lines: readonly string[]): Result<Body> {
  // RFC 9112 6.1: a 1.0 message with Transfer-Encoding has faulty framing
  if (httpVersion === '1.0') return refuse('framing_ambiguous', 'Transfer-Encoding in HTTP/1.0');
  if (lines.length > 1) return refuse('framing_ambiguous', 'several Transfer-Encoding lines');
  const value = lines[0] ?? '';
  if (value.length === 7 && value.toLowerCase() === 'chunked') return ok(CHUNKED);
  const codings = value.toLowerCase().split(',');
  const last = codings.pop()?.trim() ?? '';
  if (codings.length === 0 && KNOWN_CODINGS.has(last)) return refuse('transfer_coding_unsupported', last);
  const isStack = last === 'chunked' && codings.every((coding) => KNOWN_CODINGS.has(coding.trim()));
  return isStack && codings.length > 0
    ? refuse('transfer_coding_unsupported', value)
    : refuse('framing_ambiguous', 'Transfer-Encoding is not exactly chunked');
}
