import { err, ok, type Result } from '../reasons.js';
import { FIELD_VALUE, isAll, isOws, TOKEN } from './char-class.js';

/** One element of Forwarded (RFC 7239): parameter names in lower case, values without their quotes. */
export type ForwardedElement = Readonly<Record<string, string>>;

const QUOTE = 34;
const BACKSLASH = 92;
const MAX_ELEMENTS = 64;

/** Strict RFC 7239 4; a parameter may stand once in an element. Several lines are passed joined by commas. */
export function parseForwarded(text: string): Result<readonly ForwardedElement[], string> {
  const elements: ForwardedElement[] = [];
  let at = 0;
  for (;;) {
    at = skipOws(text, at);
    const element = readElement(text, at);
    if (!element.ok) return element;
    // RFC 9110 5.6.1: empty list members are skipped
    if (element.value.value.size > 0) elements.push(Object.fromEntries(element.value.value));
    if (elements.length > MAX_ELEMENTS) return err('too many elements');
    at = skipOws(text, element.value.end);
    if (at >= text.length) break;
    if (text.charCodeAt(at) !== 44) return err('expected a comma');
    at++;
  }
  return elements.length === 0 ? err('empty') : ok(elements);
}

interface Read<T> {
  readonly value: T;
  readonly end: number;
}

function readElement(text: string, start: number): Result<Read<Map<string, string>>, string> {
  const pairs = new Map<string, string>();
  let at = start;
  while (at < text.length && text.charCodeAt(at) !== 44 && !isOws(text.charCodeAt(at))) {
    if (text.charCodeAt(at) === 59) {
      at++;
      continue;
    }
    const equals = tokenEnd(text, at);
    if (equals === at || text.charCodeAt(equals) !== 61) return err('expected name=value');
    const value = readValue(text, equals + 1);
    if (value === undefined) return err('bad value');
    const name = text.slice(at, equals).toLowerCase();
    if (pairs.has(name)) return err('parameter twice in an element');
    if (isBadNode(name, value.value)) return err('IPv6 address without brackets');
    pairs.set(name, value.value);
    at = value.end;
    const next = text.charCodeAt(at);
    if (at < text.length && next !== 59 && next !== 44 && !isOws(next)) return err('text after a value');
  }
  return ok({ value: pairs, end: at });
}

function readValue(text: string, start: number): Read<string> | undefined {
  if (text.charCodeAt(start) === QUOTE) return readQuoted(text, start + 1);
  const end = tokenEnd(text, start);
  return end === start ? undefined : { value: text.slice(start, end), end };
}

/** RFC 9110 5.6.4 quoted-string. */
function readQuoted(text: string, start: number): Read<string> | undefined {
  let value = '';
  let copied = start;
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) return { value: value + text.slice(copied, i), end: i + 1 };
    if (code === BACKSLASH) {
      value += text.slice(copied, i);
      i++;
      copied = i;
    }
    if (FIELD_VALUE[text.charCodeAt(i)] !== 1) return undefined;
  }
  return undefined;
}

/** RFC 7239 6: an IPv6 address stands in brackets. */
function isBadNode(name: string, value: string): boolean {
  if (name !== 'for' && name !== 'by') return false;
  return value === '' || (value.charCodeAt(0) !== 91 && value.indexOf(':') !== value.lastIndexOf(':'));
}

/** Writes one element; values that are no tokens are quoted, `for` and `by` that are IPv6 addresses get brackets (RFC 7239 6). */
export function formatForwardedElement(element: {
  readonly for?: string;
  readonly by?: string;
  readonly host?: string;
  readonly proto?: string;
}): string {
  let out = '';
  if (element.for !== undefined) out = `for=${quoted(node(element.for))}`;
  if (element.by !== undefined) out = withPair(out, `by=${quoted(node(element.by))}`);
  if (element.host !== undefined) out = withPair(out, `host=${quoted(element.host)}`);
  if (element.proto !== undefined) out = withPair(out, `proto=${quoted(element.proto)}`);
  return out;
}

const withPair = (out: string, pair: string): string => (out === '' ? pair : `${out};${pair}`);

/** Two colons make an IPv6 address: `host:port` has one, and one that has brackets already stays. */
function node(address: string): string {
  if (address.charCodeAt(0) === 91) return address;
  const colon = address.indexOf(':');
  return colon >= 0 && address.indexOf(':', colon + 1) >= 0 ? `[${address}]` : address;
}

function quoted(value: string): string {
  if (isAll(value, TOKEN)) return value;
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

/** A socket's address as other parties write it: no IPv4-mapped form, no zone; `unknown` for a unix socket (RFC 7239 6.2). */
export function plainAddress(address: string): string {
  if (address === '') return 'unknown';
  const zone = address.indexOf('%');
  const bare = zone < 0 ? address : address.slice(0, zone);
  return bare.startsWith('::ffff:') && bare.includes('.') ? bare.slice(7) : bare;
}

function tokenEnd(text: string, start: number): number {
  let i = start;
  while (i < text.length && TOKEN[text.charCodeAt(i)] === 1) i++;
  return i;
}

function skipOws(text: string, start: number): number {
  let i = start;
  while (i < text.length && isOws(text.charCodeAt(i))) i++;
  return i;
}
