import { namespaceOf } from '../identity/principal-id.js';
import { err, ok, type Result } from '../reasons.js';
import { type PatternSegments, type PrincipalPattern, parsePrincipalPattern } from './pattern.js';

/** How identities are named: a principal pattern in which `{word}` stands for one segment. */
export interface NamingTemplate {
  readonly text: string;
  /** With `*` for each `{word}`. */
  readonly pattern: PrincipalPattern;
  /** Place of `{environment}` among the pattern's segments. */
  readonly environmentAt: number | undefined;
}

const WORD = /^\{[A-Za-z][A-Za-z0-9_-]{0,31}\}$/;
const ENVIRONMENT = '{environment}';

/** Reads `spiffe://example.org/ns/{environment}/sa/{name}`. The error says what is wrong, for `check`. */
export function parseNamingTemplate(text: string): Result<NamingTemplate, string> {
  const parts = text.split('/');
  const words = parts.filter((part) => WORD.test(part));
  const loose = parts.find((part) => !WORD.test(part) && /[{}]/.test(part));
  if (loose !== undefined)
    return err(`"${loose}": a placeholder is a word in braces, and stands for a whole segment`);
  if (new Set(words).size < words.length) return err('a placeholder is there twice');
  const pattern = parsePrincipalPattern(parts.map((part) => (WORD.test(part) ? '*' : part)).join('/'));
  if (!pattern.ok) return pattern;
  if (pattern.value.segments.length === 0)
    return err(`names the trust domain, not workloads; write ${text}/** for all of them`);
  const first = namespaceOf(text) === undefined ? FIRST_SEGMENT : 0;
  const at = parts.slice(first).filter(isKept).indexOf(ENVIRONMENT);
  return ok({ text, pattern: pattern.value, environmentAt: at < 0 ? undefined : at });
}

/** After `spiffe:`, nothing, and the trust domain; a name in another namespace begins with its first segment. */
const FIRST_SEGMENT = 3;
/** As patterns are read: `**` twice in a row says no more than once. */
const isKept = (part: string, i: number, parts: readonly string[]): boolean =>
  part !== '**' || parts[i - 1] !== '**';

/**
 * What an ID that fits `template` and that `pattern` matches may have as its environment: literal texts, and `*` where it
 * may be any. Undefined where there is no such ID; empty where the template says nothing of environments.
 */
export function environmentsOf(
  { pattern: template, environmentAt }: NamingTemplate,
  pattern: PrincipalPattern,
): ReadonlySet<string> | undefined {
  if (template.trustDomain !== pattern.trustDomain) return undefined;
  const steps = waysThrough(pattern.segments, template.segments);
  if (steps === undefined) return undefined;
  const found = new Set<string>();
  for (const [i, j] of steps) {
    if (j !== environmentAt) continue;
    const segment = pattern.segments[i]!;
    found.add(segment === '**' ? '*' : segment);
  }
  return found;
}

/** Pairs of segments, one of each pattern, that may stand for the same segment of an ID that both match. */
function waysThrough(a: PatternSegments, b: PatternSegments): [number, number][] | undefined {
  const width = b.length + 1;
  const ends = reachesEnd(a, b);
  if (ends[0] === 0) return undefined;
  const steps: [number, number][] = [];
  const reached = new Uint8Array(ends.length);
  reached[0] = 1;
  const reach = (i: number, j: number): void => {
    if (ends[i * width + j] === 1) reached[i * width + j] = 1;
  };
  for (let i = 0; i <= a.length; i++) {
    for (let j = 0; j <= b.length; j++) {
      if (reached[i * width + j] === 0) continue;
      if (a[i] === '**') reach(i + 1, j);
      if (b[j] === '**') reach(i, j + 1);
      const next = consume(a, b, i, j);
      if (next === undefined || ends[next[0] * width + next[1]] === 0) continue;
      steps.push([i, j]);
      reach(...next);
    }
  }
  return steps;
}

/** By place in each, 1 where what is left of both can match the same segments. */
function reachesEnd(a: PatternSegments, b: PatternSegments): Uint8Array {
  const width = b.length + 1;
  const ends = new Uint8Array((a.length + 1) * width);
  for (let i = a.length; i >= 0; i--) {
    for (let j = b.length; j >= 0; j--) {
      const next = consume(a, b, i, j);
      const can =
        (i === a.length && j === b.length) ||
        (a[i] === '**' && ends[(i + 1) * width + j] === 1) ||
        (b[j] === '**' && ends[i * width + j + 1] === 1) ||
        (next !== undefined && ends[next[0] * width + next[1]] === 1);
      if (can) ends[i * width + j] = 1;
    }
  }
  return ends;
}

/** Where both stand after one segment that both can take. */
function consume(a: PatternSegments, b: PatternSegments, i: number, j: number): [number, number] | undefined {
  const [left, right] = [a[i], b[j]];
  if (left === undefined || right === undefined) return undefined;
  const isFree = left === '*' || left === '**' || right === '*' || right === '**';
  if (!isFree && left !== right) return undefined;
  return [left === '**' ? i : i + 1, right === '**' ? j : j + 1];
}
