import { ok, type Result, refuse } from '../reasons.js';
import { HEX, UNRESERVED } from './char-class.js';

/** The readings of one canonical path. `raw` is what crosses; the others are what a server behind may make of it. */
export interface PathReadings {
  readonly raw: string;
  readonly decodedSlash: string | undefined;
  readonly decoded: string | undefined;
}

const ambiguous = (detail: string): ReturnType<typeof refuse> => refuse('path_ambiguous', detail);

/** Raw characters that some server reads as a separator, a cut or not at all; also everything outside visible ASCII. */
const FORBIDDEN_RAW: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) =>
  code <= 0x20 || code >= 0x7f || '\\;#?"<>^`{|}'.includes(String.fromCharCode(code)) ? 1 : 0,
);

const SLASH = 47;
const DOT = 46;
const PERCENT = 37;

/** Accepts only a path that every server reads alike; never repairs one (attack classes F of path confusion). */
export function parsePath(path: string): Result<PathReadings> {
  if (path.charCodeAt(0) !== SLASH) return ambiguous('does not start with a slash');
  let segmentStart = 1;
  let hasPercent = false;
  for (let i = 1; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === SLASH) {
      if (isBadSegment(path, segmentStart, i, false)) return ambiguous('empty or dot segment');
      segmentStart = i + 1;
    } else if (code === PERCENT) {
      hasPercent = true;
    } else if (FORBIDDEN_RAW[code] !== 0) {
      return ambiguous('forbidden character');
    }
  }
  if (isBadSegment(path, segmentStart, path.length, true)) return ambiguous('dot segment');
  return hasPercent ? parseEncodedPath(path) : ok({ raw: path, decodedSlash: undefined, decoded: undefined });
}

/** Empty (only the last may be), `.` or `..`. */
function isBadSegment(text: string, start: number, end: number, isLast: boolean): boolean {
  const length = end - start;
  if (length > 2) return false;
  if (length === 0) return !isLast;
  return text.charCodeAt(start) === DOT && (length === 1 || text.charCodeAt(start + 1) === DOT);
}

/** The slow way, only for paths with a `%`. */
function parseEncodedPath(path: string): Result<PathReadings> {
  let hasSlash = false;
  for (let i = path.indexOf('%'); i >= 0; i = path.indexOf('%', i + 3)) {
    const octet = octetAt(path, i);
    const problem = problemOfOctet(path, i, octet);
    if (problem !== undefined) return ambiguous(problem);
    if (octet === SLASH) hasSlash = true;
  }
  const decoded = decodeOnce(path);
  if (decoded === undefined) return ambiguous('not UTF-8');
  const decodedSlash = hasSlash ? path.replaceAll('%2F', '/').replaceAll('%2f', '/') : undefined;
  if (decodedSlash !== undefined && hasBadSegment(decodedSlash)) return ambiguous('encoded dot segment');
  if (hasLenientDotSegment(decoded)) return ambiguous('dot segment with trailing spaces');
  if (isSeparatorUnderNormalisation(decoded)) return ambiguous('character that normalises to a separator');
  return ok({ raw: path, decodedSlash, decoded });
}

const octetAt = (path: string, at: number): number => {
  const high = HEX[path.charCodeAt(at + 1)] ?? 255;
  const low = HEX[path.charCodeAt(at + 2)] ?? 255;
  return high > 15 || low > 15 ? -1 : high * 16 + low;
};

function problemOfOctet(path: string, at: number, octet: number): string | undefined {
  if (octet < 0) return 'malformed percent-encoding';
  // RFC 3986 6.2.2.2: an encoded unreserved character is a second spelling (%2e%2e, %61dmin)
  if (UNRESERVED[octet] === 1) return 'encoded unreserved character';
  if (octet < 0x20 || octet === 0x7f) return 'encoded control character';
  if (octet === 0x5c || octet === 0x3b) return 'encoded backslash or semicolon';
  return octet === PERCENT && startsEscape(path, at + 3) ? 'double encoding' : undefined;
}

/** Would a second decoding find an escape after this decoded `%`: two hex digits, or the old `%uXXXX`? Encoded digits are refused as unreserved anyway. */
function startsEscape(path: string, at: number): boolean {
  if ((path.charCodeAt(at) | 32) === 117) return true;
  const high = HEX[path.charCodeAt(at)] ?? 255;
  const low = HEX[path.charCodeAt(at + 1)] ?? 255;
  return high <= 15 && low <= 15;
}

/** Strict UTF-8: overlong forms, surrogates and stray octets are undefined. */
function decodeOnce(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function hasBadSegment(path: string): boolean {
  let start = 1;
  for (let end = path.indexOf('/', 1); end >= 0; end = path.indexOf('/', start)) {
    if (isBadSegment(path, start, end, false)) return true;
    start = end + 1;
  }
  return isBadSegment(path, start, path.length, true);
}

/** `..%20` and `.%20.`: some file systems drop trailing spaces and dots, which makes a dot segment of it. */
function hasLenientDotSegment(decoded: string): boolean {
  if (!decoded.includes(' ')) return false;
  for (const segment of decoded.split('/')) {
    const bare = segment.replaceAll(' ', '');
    if (bare !== segment && (bare === '' || bare === '.' || bare === '..')) return true;
  }
  return false;
}

/** Compatibility forms (U+FF0F, U+FF3C, U+FF0E, U+2024, U+2100 …) become `/`, `\` and dot segments in servers that normalise. */
function isSeparatorUnderNormalisation(decoded: string): boolean {
  const normalised = decoded.normalize('NFKC');
  if (normalised === decoded) return false;
  if (hasBadSegment(normalised)) return true;
  return countOf(normalised, '/') !== countOf(decoded, '/') || normalised.includes('\\');
}

function countOf(text: string, char: string): number {
  let count = 0;
  for (let i = text.indexOf(char); i >= 0; i = text.indexOf(char, i + 1)) count++;
  return count;
}
