import { err, ok, type Result } from '../reasons.js';

/** A trust domain's name. Parsing is the only way in, so two spellings of one name never meet (SPIFFE-ID 2.1). */
export type TrustDomain = string & { readonly __trustDomain: unique symbol };

export interface SpiffeId {
  /** The whole ID, byte for byte as presented; nothing is ever decoded, folded or resolved. */
  readonly uri: string;
  readonly trustDomain: TrustDomain;
  /** Empty, or `/` and the segments. */
  readonly path: string;
  readonly segments: readonly string[];
}

const SCHEME = 'spiffe://';
const MAX_ID_BYTES = 2048; // SPIFFE-ID 2.3
const MAX_TRUST_DOMAIN_BYTES = 255; // SPIFFE-ID 2.3

const IN_TRUST_DOMAIN = 1;
const IN_SEGMENT = 2;

/** What each ASCII character may be part of. A table, not a regex: IDs are parsed on the handshake path. */
const charTable = (() => {
  const table = new Uint8Array(128);
  const mark = (characters: string, bits: number): void => {
    for (const character of characters) table[character.charCodeAt(0)] = bits;
  };
  mark('abcdefghijklmnopqrstuvwxyz0123456789.-_', IN_TRUST_DOMAIN | IN_SEGMENT);
  mark('ABCDEFGHIJKLMNOPQRSTUVWXYZ', IN_SEGMENT);
  return table;
})();

// Beyond 127 the table has no entry: non-ASCII is refused before anything could fold it (U+212A lower-cases to k).
const allows = (code: number, bits: number): boolean => ((charTable[code] ?? 0) & bits) !== 0;

/**
 * Parses a trust domain's bare name (`example.org`, not `spiffe://example.org`).
 * Capitals are refused rather than folded: policy, headers and audit see one spelling only.
 */
export function parseTrustDomain(input: unknown): Result<TrustDomain, string> {
  if (typeof input !== 'string') return err('a trust domain must be text');
  if (input.length === 0) return err('the trust domain is empty');
  if (input.length > MAX_TRUST_DOMAIN_BYTES)
    return err(`the trust domain is longer than ${MAX_TRUST_DOMAIN_BYTES} bytes`);
  for (let i = 0; i < input.length; i++) {
    const code = input.charCodeAt(i);
    if (!allows(code, IN_TRUST_DOMAIN)) return err(`the trust domain ${whyNot(code)}`);
  }
  return ok(input as TrustDomain);
}

/**
 * Parses a SPIFFE ID (SPIFFE-ID 2). The path may be empty here; whoever needs a workload asks for one.
 * Never `new URL()`: it resolves `..`, drops tabs and hides an empty port, query or fragment.
 */
export function parseSpiffeId(input: unknown): Result<SpiffeId, string> {
  if (typeof input !== 'string') return err('a SPIFFE ID must be text');
  // Only ASCII can pass, so characters count as bytes.
  if (input.length > MAX_ID_BYTES) return err(`the SPIFFE ID is longer than ${MAX_ID_BYTES} bytes`);
  if (!input.startsWith(SCHEME)) return err('the scheme is not spiffe://');
  const slash = input.indexOf('/', SCHEME.length);
  const end = slash === -1 ? input.length : slash;
  const trustDomain = parseTrustDomain(input.slice(SCHEME.length, end));
  if (!trustDomain.ok) return trustDomain;
  if (slash === -1) return ok({ uri: input, trustDomain: trustDomain.value, path: '', segments: [] });
  const segments = parseSegments(input, slash);
  if (!segments.ok) return segments;
  return ok({
    uri: input,
    trustDomain: trustDomain.value,
    path: input.slice(slash),
    segments: segments.value,
  });
}

function parseSegments(uri: string, firstSlash: number): Result<string[], string> {
  const segments: string[] = [];
  let start = firstSlash + 1;
  for (let i = start; i <= uri.length; i++) {
    const code = i === uri.length ? SLASH : uri.charCodeAt(i);
    if (code !== SLASH) {
      if (!allows(code, IN_SEGMENT)) return err(`the path ${whyNot(code)}`);
      continue;
    }
    const segment = uri.slice(start, i);
    // SPIFFE-ID 2.2: refused, never trimmed or resolved, or one workload could be read as another.
    if (segment === '')
      return err(i === uri.length ? 'the path ends with a slash' : 'the path has an empty segment');
    if (segment === '.' || segment === '..') return err('the path has a dot segment');
    segments.push(segment);
    start = i + 1;
  }
  return ok(segments);
}

const SLASH = 0x2f;

function whyNot(code: number): string {
  switch (code) {
    case 0x25:
      return 'is percent-encoded';
    case 0x40:
      return 'holds a userinfo part';
    case 0x3a:
      return 'holds a port or scheme';
    case 0x3f:
      return 'is followed by a query';
    case 0x23:
      return 'is followed by a fragment';
  }
  if (code > 0x7e) return 'has a character outside ASCII';
  if (code < 0x20) return 'has a control character';
  if (code >= 0x41 && code <= 0x5a) return 'has capital letters';
  return `has the character ${JSON.stringify(String.fromCharCode(code))}`;
}
