import { foldSegments, type PathPattern } from './pattern.js';
import type { Rule } from './policy.js';
import { SegmentTrie } from './segment-trie.js';

/** No rule; above every index, so that the first rule in the file is a plain minimum. */
export const NO_RULE = Number.MAX_SAFE_INTEGER;

const EVERY_PATH: readonly PathPattern[] = [{ text: '/**', segments: ['**'] }];

/** At one path pattern only the first rule of each method can ever be named: the others need not be kept. */
interface FirstRules {
  anyMethod: number;
  byMethod: Map<string, number> | undefined;
}

/** Rules of one effect for one principal pattern and destination: path and method -> the first rule that matches. */
export class PathIndex {
  readonly #trie = new SegmentTrie<FirstRules>();
  readonly #hits: FirstRules[] = [];
  readonly #folded: boolean;

  /** `folded`: deny rules, whose paths are compared in the reading of `foldSegments`. */
  constructor(rules: readonly Rule[], folded: boolean) {
    this.#folded = folded;
    for (const rule of rules) this.#add(rule);
  }

  find(segments: readonly string[], method: string): number {
    const hits = this.#hits;
    this.#trie.match(segments, hits);
    let first = NO_RULE;
    for (let hit = hits.pop(); hit !== undefined; hit = hits.pop()) {
      const { anyMethod, byMethod } = hit;
      if (anyMethod < first) first = anyMethod;
      if (byMethod !== undefined) {
        const index = byMethod.get(method);
        if (index !== undefined && index < first) first = index;
      }
    }
    return first;
  }

  #add(rule: Rule): void {
    for (const pattern of rule.paths ?? EVERY_PATH) {
      const node = this.#trie.insert(this.#folded ? foldSegments(pattern.segments) : pattern.segments);
      node.value ??= { anyMethod: NO_RULE, byMethod: undefined };
      const first = node.value;
      if (rule.methods === undefined) {
        first.anyMethod = Math.min(first.anyMethod, rule.index);
        continue;
      }
      first.byMethod ??= new Map();
      for (const method of rule.methods) {
        const known = first.byMethod.get(method);
        if (known === undefined || rule.index < known) first.byMethod.set(method, rule.index);
      }
    }
  }
}
