import type { PatternSegments, PrincipalPattern } from './pattern.js';
import { type Budget, overlaps } from './pattern-overlap.js';
import { RankedPatterns } from './ranked-patterns.js';
import { compareEntries, isExact, type RegistryEntry } from './registry.js';
import { SegmentTrie } from './segment-trie.js';

interface Domain {
  readonly ranked: RankedPatterns<RegistryEntry>;
  /** Segments of its longest pattern with a wildcard. */
  readonly longest: number;
}

const MAX_OVERLAP_STEPS = 5_000_000;
const MAX_SHADOW_QUESTIONS = 1_000_000;
/** A pattern of several `**` is asked about in every combination of lengths. */
const MAX_COMBINATIONS = 2_000;
/** A segment that no pattern names. */
const FRESH = ' ';

/** What is odd about the entries of a registry, in time that grows with their number and no faster. */
export class RegistryLint {
  readonly #domains = new Map<string, Domain>();
  /** For whom somebody may act, by domain. */
  readonly #subjects = new Map<string, SegmentTrie<true>>();
  readonly #overlapSteps: Budget = { left: MAX_OVERLAP_STEPS };
  readonly #shadowQuestions: Budget = { left: MAX_SHADOW_QUESTIONS };

  constructor(readonly entries: readonly RegistryEntry[]) {
    const byDomain = new Map<string, RegistryEntry[]>();
    for (const entry of entries) {
      const { trustDomain, segments } = entry.pattern;
      if (segments.length === 0) continue; // names no workload
      const list = byDomain.get(trustDomain);
      if (list === undefined) byDomain.set(trustDomain, [entry]);
      else list.push(entry);
    }
    for (const [domain, list] of byDomain) {
      const lengths = list.map(({ pattern: { segments } }) => (isExact(segments) ? 0 : segments.length));
      const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
      this.#domains.set(domain, { ranked: rank(list), longest });
    }
    for (const { delegations = [] } of entries)
      for (const { for: patterns } of delegations) for (const pattern of patterns) this.#addSubject(pattern);
  }

  /** Can any identity be both of this pattern and registered? True where that takes too long to tell. */
  touches({ trustDomain, segments }: PrincipalPattern): boolean {
    const domain = this.#domains.get(trustDomain);
    return domain !== undefined && overlaps(domain.ranked.trie.root, segments, this.#overlapSteps);
  }

  /** Does any entry let anybody act for somebody of this pattern? True where that takes too long to tell. */
  letsActFor({ trustDomain, segments }: PrincipalPattern): boolean {
    const subjects = this.#subjects.get(trustDomain);
    return subjects !== undefined && overlaps(subjects.root, segments, this.#overlapSteps);
  }

  #addSubject({ trustDomain, segments }: PrincipalPattern): void {
    const trie = this.#subjects.get(trustDomain) ?? new SegmentTrie<true>();
    this.#subjects.set(trustDomain, trie);
    trie.insert(segments).value = true;
  }

  /** An entry whose identities all belong to others, and one of those; undefined where it is of use. */
  shadowOf(entry: RegistryEntry): RegistryEntry | undefined {
    const { trustDomain, segments } = entry.pattern;
    const domain = this.#domains.get(trustDomain);
    const runs = segments.filter((segment) => segment === '**').length;
    // Without `**` nothing that is more specific matches all that it does.
    if (domain === undefined || runs === 0) return undefined;
    // Beyond the longest pattern one more segment makes no difference, and one that no pattern names stands for all others.
    const lengths = domain.longest + 2;
    if (lengths ** runs > MAX_COMBINATIONS) return undefined;
    let by: RegistryEntry | undefined;
    for (let which = lengths ** runs - 1; which >= 0; which--) {
      const id = instance(segments, lengths, which);
      if (id.length === 0) continue; // the trust domain itself, which is no workload
      if (this.#shadowQuestions.left-- <= 0) return undefined;
      by = domain.ranked.best(id);
      if (by === entry) return undefined;
    }
    return by;
  }
}

const rank = (entries: readonly RegistryEntry[]): RankedPatterns<RegistryEntry> =>
  RankedPatterns.of([...entries].sort(compareEntries), ({ pattern }) => pattern.segments);

/** An ID of this pattern: `which` says, as digits to the base `lengths`, how many segments each `**` stands for. */
function instance(segments: PatternSegments, lengths: number, which: number): string[] {
  const id: string[] = [];
  let rest = which;
  for (const segment of segments) {
    if (segment === '**') {
      for (let i = rest % lengths; i > 0; i--) id.push(FRESH);
      rest = Math.floor(rest / lengths);
    } else {
      id.push(segment === '*' ? FRESH : segment);
    }
  }
  return id;
}

/**
 * Entries that are as specific as another and may match the same ID, by the key that both have: they begin alike, end alike
 * and have two `**` or more, so that what lies between can always be put one behind the other. Others of the same shape
 * never meet, or are the same.
 */
export function conflictKey({ pattern: { trustDomain, segments } }: RegistryEntry): string | undefined {
  const first = segments.indexOf('**');
  const last = segments.lastIndexOf('**');
  if (first === last) return undefined;
  const shape = segments.map((segment, i) => {
    const isBetween = i > first && i < last;
    return isBetween && segment !== '*' && segment !== '**' ? FRESH : segment;
  });
  return `${trustDomain}/${shape.join('/')}`;
}
