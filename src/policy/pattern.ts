import { namespaceOf, type PrincipalId, whyNoSegment } from '../identity/principal-id.js';
import { parseSpiffeId, parseTrustDomain, type TrustDomain } from '../identity/spiffe-id.js';
import { err, ok, type Result } from '../reasons.js';

/** Segments of a pattern: a literal, `*` (exactly one, not empty) or `**` (any number). A literal never holds `*`. */
export type PatternSegments = readonly string[];

export interface PrincipalPattern {
  readonly text: string;
  /** As of a PrincipalId: a trust domain, or another namespace (`ci:`). */
  readonly trustDomain: string;
  readonly segments: PatternSegments;
}

/** One that only SPIFFE IDs match. */
export interface SpiffePattern extends PrincipalPattern {
  readonly trustDomain: TrustDomain;
}

export interface PathPattern {
  readonly text: string;
  readonly segments: PatternSegments;
}

const MAX_SEGMENTS = 128;
const MAX_BYTES = 2048;
const SCHEME = 'spiffe://';

// Reads `spiffe://td/ns/*/sa/**`, and `ci:octo/*` of principals that tokens name.
export function parsePrincipalPattern(text: string): Result<PrincipalPattern, string> {
  const namespace = namespaceOf(text);
  if (namespace === undefined) return parseSpiffePattern(text);
  if (text.length > MAX_BYTES) return err('longer than 2048 bytes');
  if (text.startsWith('//', namespace.length))
    return err('must begin with spiffe:// in lower case, or with a namespace of `tokens` as in ci:octo/*');
  const segments = text.slice(namespace.length).split('/');
  const wild = checkWildcards(segments);
  if (wild !== undefined) return err(wild);
  for (const segment of segments) {
    const wrong = isWildcard(segment) ? undefined : whyNoSegment(segment);
    if (wrong !== undefined) return err(wrong);
  }
  return ok({ text, trustDomain: namespace, segments: collapse(segments) });
}

// All but its whole-segment wildcards must be a valid SPIFFE ID as it stands.
export function parseSpiffePattern(text: string): Result<SpiffePattern, string> {
  if (text.length > MAX_BYTES) return err('longer than 2048 bytes');
  if (!text.startsWith(SCHEME)) return err('must begin with spiffe:// in lower case');
  const slash = text.indexOf('/', SCHEME.length);
  const domainText = slash === -1 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash);
  // One trust domain, one line of authority: a wildcard here would pool authorities that do not trust each other (SPIFFE-ID 2.1).
  if (domainText.includes('*')) return err('a wildcard may not stand in the trust domain');
  const domain = parseTrustDomain(domainText);
  if (!domain.ok) return err(domain.error);
  const segments = slash === -1 ? [] : text.slice(slash + 1).split('/');
  const wild = checkWildcards(segments);
  if (wild !== undefined) return err(wild);
  // What is left after each wildcard stands for a plain segment must be an ID by the same parser that reads certificates.
  const literal = segments.map((segment) => (isWildcard(segment) ? 'x' : segment)).join('/');
  const id = parseSpiffeId(slash === -1 ? text : `${SCHEME}${domainText}/${literal}`);
  if (!id.ok) return err(id.error);
  return ok({ text, trustDomain: domain.value, segments: collapse(segments) });
}

// Reads `/a/*/b/**`: a path as a request may have it, else it could never match.
export function parsePathPattern(text: string): Result<PathPattern, string> {
  if (text.length > MAX_BYTES) return err('longer than 2048 bytes');
  if (!text.startsWith('/')) return err('must begin with /');
  const segments = text.slice(1).split('/');
  const wild = checkWildcards(segments);
  if (wild !== undefined) return err(wild);
  for (const [index, segment] of segments.entries()) {
    const wrong = checkPathSegment(segment, index === segments.length - 1);
    if (wrong !== undefined) return err(wrong);
  }
  return ok({ text, segments: collapse(segments) });
}

export function matchPrincipal(pattern: PrincipalPattern, id: PrincipalId): boolean {
  return pattern.trustDomain === id.trustDomain && matchSegments(pattern.segments, id.segments);
}

/** Exact reading, as allow rules and routes use it. */
export function matchPath(pattern: PathPattern, path: string): boolean {
  return matchSegments(pattern.segments, splitPath(path));
}

/** The reading of deny rules: see `foldSegments`. */
export function matchPathFolded(pattern: PathPattern, path: string): boolean {
  return matchSegments(foldSegments(pattern.segments), foldSegments(splitPath(path)));
}

/** Segments of a canonical path; a trailing slash is one empty segment at the end. */
export function splitPath(path: string): string[] {
  const segments: string[] = [];
  let from = 1;
  // not split(): that takes 170 ns of every request's path, twice
  for (let at = path.indexOf('/', from); at >= 0; at = path.indexOf('/', from)) {
    segments.push(path.slice(from, at));
    from = at + 1;
  }
  segments.push(path.slice(from));
  return segments;
}

/**
 * The reading in which deny rules compare: percent-decoded, caseless, compatibility forms of characters taken for the
 * characters, without dots and spaces at a segment's end and without one trailing slash. An upstream that is lax about
 * any of these must not be a way round a deny; an allow stays byte-exact.
 */
export function foldSegments(segments: readonly string[]): readonly string[] {
  const end = segments[segments.length - 1] === '' ? segments.length - 1 : segments.length;
  const folded: string[] = [];
  for (let i = 0; i < end; i++) {
    const segment = segments[i]!;
    folded.push(
      withoutTail(segment.includes('%') ? foldText(decodeSegment(segment)) : segment.toLowerCase()),
    );
  }
  return folded;
}

/** Through upper case, so that letters of one upper case are one: `ſ` is an `s` to a caseless upstream. */
const foldText = (text: string): string => text.normalize('NFKC').toUpperCase().toLowerCase();

/** Windows, and some frameworks, drop these. A segment of nothing else stays one: `*` of a deny must go on matching it. */
function withoutTail(segment: string): string {
  let end = segment.length;
  while (end > 0 && (segment[end - 1] === '.' || segment[end - 1] === ' ')) end--;
  if (end === segment.length) return segment;
  return end === 0 ? '.' : segment.slice(0, end);
}

/** Greedy with one point of return: at most pattern x path steps, however many `**` there are. */
export function matchSegments(pattern: PatternSegments, segments: readonly string[]): boolean {
  let p = 0;
  let s = 0;
  let manyAt = -1;
  let resumeAt = 0;
  while (s < segments.length) {
    const want = pattern[p];
    if (want === '**') {
      manyAt = p++;
      resumeAt = s;
    } else if (want !== undefined && (want === '*' ? segments[s] !== '' : want === segments[s])) {
      p++;
      s++;
    } else if (manyAt !== -1) {
      p = manyAt + 1;
      s = ++resumeAt;
    } else {
      return false;
    }
  }
  while (pattern[p] === '**') p++;
  return p === pattern.length;
}

const isWildcard = (segment: string): boolean => segment === '*' || segment === '**';

function checkWildcards(segments: readonly string[]): string | undefined {
  if (segments.length > MAX_SEGMENTS) return `more than ${MAX_SEGMENTS} segments`;
  for (const segment of segments) {
    if (segment.includes('*') && !isWildcard(segment)) {
      return `"${segment}": a wildcard stands for whole segments (* one, ** any number), never for part of one`;
    }
  }
  return undefined;
}

/** `**` twice in a row says no more than once. */
const collapse = (segments: readonly string[]): readonly string[] =>
  segments.filter((segment, i) => segment !== '**' || segments[i - 1] !== '**');

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** What parseTarget refuses in a request can never match: written in a pattern it is a mistake, often a dangerous one. */
function checkPathSegment(segment: string, last: boolean): string | undefined {
  if (segment === '')
    return last ? undefined : 'an empty segment (//) never reaches policy: such paths are refused';
  if (segment === '.' || segment === '..')
    return `a "${segment}" segment never reaches policy: such paths are refused`;
  for (const char of segment) {
    if (char === '?') return 'a path pattern has no query: policy judges the path alone';
    if (char <= ' ' || char > '~' || FORBIDDEN.includes(char)) {
      return `${JSON.stringify(char)} cannot stand in a canonical path`;
    }
  }
  return segment.includes('%') ? checkEscapes(segment) : undefined;
}

const FORBIDDEN = '\\;#"<>^`{|}';
const HEX = /^[0-9A-Fa-f]{2}$/;
const NEVER_ENCODED = /[A-Za-z0-9\-._~]/;
const NEVER_ALLOWED = /[\\;\u0000-\u001f\u007f]/;

function checkEscapes(segment: string): string | undefined {
  for (let i = segment.indexOf('%'); i !== -1; i = segment.indexOf('%', i + 3)) {
    const hex = segment.slice(i + 1, i + 3);
    if (!HEX.test(hex)) return `"${segment.slice(i, i + 3)}" is not a percent-encoded octet`;
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    if (NEVER_ENCODED.test(char))
      return `%${hex} must be written "${char}": requests that encode it are refused`;
    if (NEVER_ALLOWED.test(char)) return `%${hex} never reaches policy: such paths are refused`;
    if (char === '%' && HEX.test(segment.slice(i + 3, i + 5)))
      return `"${segment.slice(i, i + 5)}" is encoded twice`;
  }
  try {
    decodeURIComponent(segment);
    return undefined;
  } catch {
    return 'percent-encoded octets that are not UTF-8';
  }
}
