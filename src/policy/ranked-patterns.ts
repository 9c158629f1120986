import type { PatternSegments } from './pattern.js';
import { SegmentTrie } from './segment-trie.js';

/** Things with a pattern each, of which the most specific that matches is taken. */
export class RankedPatterns<T> {
  readonly #ranked: T[] = [];
  readonly #trie = new SegmentTrie<number>();
  readonly #hits: number[] = [];

  /** Ranks them; the first given breaks a tie. */
  static of<T>(items: readonly T[], segmentsOf: (item: T) => PatternSegments): RankedPatterns<T> {
    const patterns = new RankedPatterns<T>();
    const sorted = [...items].sort((a, b) => compareSpecificity(segmentsOf(a), segmentsOf(b))); // stable
    for (const item of sorted) patterns.append(item, segmentsOf(item));
    return patterns;
  }

  /** Adds one that is no more specific than any before it. */
  append(item: T, segments: PatternSegments): void {
    this.#trie.insert(segments).value ??= this.#ranked.length;
    this.#ranked.push(item);
  }

  /** The tree of all patterns, for whoever looks at the patterns themselves. */
  get trie(): SegmentTrie<number> {
    return this.#trie;
  }

  best(segments: readonly string[]): T | undefined {
    const hits = this.#hits;
    this.#trie.match(segments, hits);
    let first = this.#ranked.length;
    for (let hit = hits.pop(); hit !== undefined; hit = hits.pop()) if (hit < first) first = hit;
    return this.#ranked[first];
  }
}

/** Segment by segment, a literal before `*` before `**`; where all are alike, the longer one before the shorter. */
export function compareSpecificity(a: PatternSegments, b: PatternSegments): number {
  const length = Math.max(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = looseness(a[i]) - looseness(b[i]);
    if (difference !== 0) return difference;
  }
  return b.length - a.length;
}

/** The end of a pattern is as exact as a literal: `/a` before `/a/**`. */
const looseness = (segment: string | undefined): number => (segment === '**' ? 2 : segment === '*' ? 1 : 0);
