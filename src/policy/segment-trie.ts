import type { PatternSegments } from './pattern.js';

export interface TrieNode<V> {
  literals: Map<string, TrieNode<V>> | undefined;
  one: TrieNode<V> | undefined;
  many: TrieNode<V> | undefined;
  readonly isMany: boolean;
  value: V | undefined;
  /** The step in which this node was last made active: keeps a step's set free of duplicates. */
  seen: number;
}

const node = <V>(isMany: boolean): TrieNode<V> => ({
  literals: undefined,
  one: undefined,
  many: undefined,
  isMany,
  value: undefined,
  seen: 0,
});

/**
 * Patterns of whole segments in one tree. Matching walks the set of live nodes, each at most once a segment, so that no
 * pattern, however many `**` it holds, costs more than nodes x segments (no backtracking to blow up).
 */
export class SegmentTrie<V> {
  readonly #root = node<V>(false);
  #step = 0;
  #firstStep = 0;
  #active: TrieNode<V>[] = [];
  #next: TrieNode<V>[] = [];

  /** The node of this pattern, made if need be; the caller keeps its value there. */
  insert(pattern: PatternSegments): TrieNode<V> {
    let at = this.#root;
    for (const segment of pattern) {
      if (segment === '**') {
        at.many ??= node<V>(true);
        at = at.many;
      } else if (segment === '*') {
        at.one ??= node<V>(false);
        at = at.one;
      } else {
        at.literals ??= new Map();
        let child = at.literals.get(segment);
        if (child === undefined) {
          child = node<V>(false);
          at.literals.set(segment, child);
        }
        at = child;
      }
    }
    return at;
  }

  /** For whoever looks at the patterns themselves. */
  get root(): TrieNode<V> {
    return this.#root;
  }

  /** Appends the value of every pattern that matches to `hits`. */
  match(segments: readonly string[], hits: V[]): void {
    let active = this.#active;
    let next = this.#next;
    empty(active);
    this.#firstStep = ++this.#step;
    this.#enter(this.#root, active, hits);
    for (let i = 0; i < segments.length && active.length > 0; i++) {
      empty(next);
      this.#step++;
      this.#advance(active, segments[i]!, next, hits);
      const spare = active;
      active = next;
      next = spare;
    }
    for (let i = 0; i < active.length; i++) {
      const value = active[i]!.value;
      if (value !== undefined) hits.push(value);
    }
    this.#active = active;
    this.#next = next;
  }

  #advance(active: readonly TrieNode<V>[], segment: string, next: TrieNode<V>[], hits: V[]): void {
    for (let i = 0; i < active.length; i++) {
      const at = active[i]!;
      if (at.isMany) this.#enter(at, next, hits);
      const literal = at.literals?.get(segment);
      if (literal !== undefined) this.#enter(literal, next, hits);
      // `*` is one segment with something in it: `/a/*` is not `/a/`.
      if (at.one !== undefined && segment !== '') this.#enter(at.one, next, hits);
    }
  }

  /** A node, and the `**` below it, which may stand for no segment at all. */
  #enter(at: TrieNode<V>, set: TrieNode<V>[], hits: V[]): void {
    if (isOpenEnd(at)) {
      // A trailing `**` has matched, whatever follows. Kept alive it would let a path that names thousands of them
      // (`/x1/x2/x3/…`) make every further segment cost thousands of steps.
      if (at.seen >= this.#firstStep) return;
      at.seen = this.#step;
      if (at.value !== undefined) hits.push(at.value);
      return;
    }
    if (at.seen === this.#step) return;
    at.seen = this.#step;
    set.push(at);
    if (at.many !== undefined) this.#enter(at.many, set, hits);
  }
}

/** These arrays hold a few nodes, and are emptied for every request: setting their length would leave compiled code. */
const empty = (nodes: unknown[]): void => {
  while (nodes.length > 0) nodes.pop();
};

const isOpenEnd = <V>(at: TrieNode<V>): boolean =>
  at.isMany && at.literals === undefined && at.one === undefined;
