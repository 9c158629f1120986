import type { PatternSegments } from './pattern.js';
import { SegmentTrie } from './segment-trie.js';

/** Things with a pattern each, of which the most specific that matches is taken; the first given breaks a tie. */
export class RankedPatterns<T> {
  /** The most specific first. */
  readonly ranked: readonly T[];
  /** Position in `ranked` of the first thing with a pattern. */
  readonly trie = new SegmentTrie<number>();
  readonly #hits: number[] = [];

  constructor(items: readonly T[], segmentsOf: (item: T) => PatternSegments) {
    this.ranked = [...items].sort((a, b) => compareSpecificity(segmentsOf(a), segmentsOf(b))); // stable
    for (const [position, item] of this.ranked.entries()) {
      this.trie.insert(segmentsOf(item)).value ??= position;
    }
  }

  best(segments: readonly string[]): T | undefined {
    return this.ranked[this.rankOf(segments)];
  }

  /** Position in `ranked` of the most specific that matches; its length where none does. */
  rankOf(segments: readonly string[]): number {
    const hits = this.#hits;
    this.trie.match(segments, hits);
    let first = this.ranked.length;
    for (let hit = hits.pop(); hit !== undefined; hit = hits.pop()) if (hit < first) first = hit;
    return first;
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
