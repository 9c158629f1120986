import { parseSpiffeId } from '../identity/spiffe-id.js';
import { ok, type Result, refuse } from '../reasons.js';
import { escapeDnText, HEX, isAll, isFieldValue, percentEncodeText, TOKEN, trimOws } from './char-class.js';

/** `[key, value]` with the key in its documented spelling and the value without quotes and escapes. */
export type XfccPair = readonly [key: string, value: string];
/** What one proxy said about one hop. */
export type XfccElement = readonly XfccPair[];

const KEYS: ReadonlyMap<string, string> = new Map(
  ['By', 'Hash', 'Cert', 'Chain', 'Subject', 'URI', 'DNS'].map((key) => [key.toLowerCase(), key]),
);
/** By, URI and DNS may repeat (one for each SAN); two of these would let a reader choose. */
const SINGLE: ReadonlySet<string> = new Set(['Hash', 'Cert', 'Chain', 'Subject']);
const ALWAYS_QUOTED: ReadonlySet<string> = new Set(['Subject', 'Cert', 'Chain']);
const MAX_LENGTH = 64 * 1024;
const QUOTE = 34;
const BACKSLASH = 92;

/** Reads x-forwarded-client-cert (Envoy's grammar); several lines are one list. One flaw anywhere voids it all: header_malformed. */
export function parseXfcc(lines: readonly string[]): Result<readonly XfccElement[]> {
  const elements: XfccElement[] = [];
  for (const line of lines) {
    if (line.length > MAX_LENGTH) return refuse('header_malformed', 'XFCC is too long');
    if (!isFieldValue(line)) return refuse('header_malformed', 'XFCC holds a control character');
    const texts = splitOutsideQuotes(line, 44);
    if (texts === undefined) return refuse('header_malformed', 'XFCC has an unclosed quote');
    for (const text of texts) {
      const element = parseElement(text);
      if (!element.ok) return element;
      if (element.value.length > 0) elements.push(element.value);
    }
  }
  return elements.length === 0 ? refuse('header_malformed', 'XFCC is empty') : ok(elements);
}

/** The identity that a reader which trusts its nearest proxy may take: the last element's one URI, if it is a SPIFFE ID (XF-7). */
export function lastSpiffeId(elements: readonly XfccElement[]): string | undefined {
  const uris = (elements.at(-1) ?? []).filter(([key]) => key === 'URI');
  const id = uris.length === 1 ? parseSpiffeId(uris[0]?.[1]) : undefined;
  return id?.ok === true ? id.value.uri : undefined;
}

/** Percent-decoding of Cert and Chain. Not form decoding: a `+` of base64 stays a `+`. Undefined when an escape is broken. */
export function decodeXfccCert(value: string): string | undefined {
  if (!isPercentEncoded(value)) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

function parseElement(text: string): Result<XfccElement> {
  const pairs: XfccPair[] = [];
  const seen = new Set<string>();
  for (const part of splitOutsideQuotes(text, 59) ?? []) {
    if (trimOws(part) === '') continue;
    const pair = parsePair(part);
    if (!pair.ok) return pair;
    const [key] = pair.value;
    if (SINGLE.has(key) && seen.has(key)) return refuse('header_malformed', `XFCC has ${key} twice`);
    seen.add(key);
    pairs.push(pair.value);
  }
  return ok(pairs);
}

function parsePair(part: string): Result<XfccPair> {
  const equals = part.indexOf('=');
  if (equals < 0) return refuse('header_malformed', 'XFCC has a key without a value');
  const name = trimOws(part.slice(0, equals));
  if (!isAll(name, TOKEN)) return refuse('header_malformed', 'XFCC has a key that is no token');
  const value = unquote(trimOws(part.slice(equals + 1)));
  if (value === undefined) return refuse('header_malformed', 'XFCC has a quote inside a value');
  const key = KEYS.get(name.toLowerCase()) ?? name;
  if ((key === 'Cert' || key === 'Chain') && decodeXfccCert(value) === undefined) {
    return refuse('header_malformed', `XFCC ${key} is not percent-encoded`);
  }
  return ok([key, value]);
}

/** Cuts at a separator outside quotes; undefined when a quote stays open. A quote closes after an even run of backslashes only (XF-3). */
function splitOutsideQuotes(text: string, separator: number): string[] | undefined {
  const parts: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) isQuoted = !isQuoted;
    else if (code === BACKSLASH && isQuoted) i++;
    else if (code === separator && !isQuoted) {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  if (isQuoted) return undefined;
  parts.push(text.slice(start));
  return parts;
}

/** A value is quoted as a whole or not at all; quotes in its middle are read differently by different readers. */
function unquote(value: string): string | undefined {
  if (value.charCodeAt(0) !== QUOTE) return value.includes('"') ? undefined : value;
  let out = '';
  for (let i = 1; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === QUOTE) return i === value.length - 1 ? out : undefined;
    const next = value.charCodeAt(i + 1);
    // only \" and \\ are escapes: the backslashes of an RFC 2253 name stay
    if (code === BACKSLASH && (next === QUOTE || next === BACKSLASH)) i++;
    out += value.charAt(i);
  }
  return undefined;
}

/** Writes elements so that parseXfcc reads the same back; octets outside printable ASCII come out escaped, never raw. */
export function formatXfcc(elements: readonly XfccElement[]): string {
  return elements.map((element) => element.map(formatPair).join(';')).join(',');
}

function formatPair([key, raw]: XfccPair): string {
  const value = key === 'Subject' ? escapeDnText(raw) : percentEncodeText(raw);
  if (!ALWAYS_QUOTED.has(key) && !needsQuotes(value)) return `${key}=${value}`;
  // XF-4: a backslash is doubled, else a name that ends in one would eat the closing quote
  return `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

function needsQuotes(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    // , ; = " \ and white space, which an unquoted value would lose at its ends
    if (code === 44 || code === 59 || code === 61 || code === QUOTE || code === BACKSLASH || code === 32) {
      return true;
    }
  }
  return false;
}

function isPercentEncoded(value: string): boolean {
  for (let i = value.indexOf('%'); i >= 0; i = value.indexOf('%', i + 3)) {
    if ((HEX[value.charCodeAt(i + 1)] ?? 255) > 15 || (HEX[value.charCodeAt(i + 2)] ?? 255) > 15)
      return false;
  }
  return true;
}
