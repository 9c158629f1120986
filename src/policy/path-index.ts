import { foldSegments, type PathPattern } from './pattern.js';
import type { Rule } from './policy.js';
import { SegmentTrie } from './segment-trie.js';

/** No rule; above every index, so that the first rule in the file is a plain minimum. */
export const NO_RULE = Number.MAX_SAFE_INTEGER;

const EVERY_PATH: readonly PathPattern[] = [{ text: '/**', segments: ['**'] }];

/**
 * At one path pattern only the first rule of each method can ever be named; the others need not be kept. Of those that count
 * only under a condition any may be.
 */
interface RulesHere {
  anyMethod: number;
  byMethod: Map<string, number> | undefined;
  conditional: Rule[] | undefined;
}

/** Rules of one effect for one principal pattern and destination: path and method -> the first rule that matches. */
export class PathIndex {
  readonly #trie = new SegmentTrie<RulesHere>();
  readonly #hits: RulesHere[] = [];
  readonly #folded: boolean;

  /** `folded`: deny rules, whose paths are compared in the reading of `foldSegments`. */
  constructor(rules: readonly Rule[], folded: boolean) {
    this.#folded = folded;
    for (const rule of rules) this.#add(rule);
  }

  /** @returns the first rule that counts always; those before it that count under a condition are appended to `candidates`. */
  find(segments: readonly string[], method: string, candidates: Rule[]): number {
    const hits = this.#hits;
    this.#trie.match(segments, hits);
    let first = NO_RULE;
    for (let hit = hits.pop(); hit !== undefined; hit = hits.pop()) {
      const { anyMethod, byMethod, conditional } = hit;
      if (anyMethod < first) first = anyMethod;
      if (byMethod !== undefined) {
        const index = byMethod.get(method);
        if (index !== undefined && index < first) first = index;
      }
      if (conditional !== undefined) pushOf(conditional, method, candidates);
    }
    return first;
  }

  #add(rule: Rule): void {
    for (const pattern of rule.paths ?? EVERY_PATH) {
      const node = this.#trie.insert(this.#folded ? foldSegments(pattern.segments) : pattern.segments);
      node.value ??= { anyMethod: NO_RULE, byMethod: undefined, conditional: undefined };
      addTo(node.value, rule);
    }
  }
}

function addTo(here: RulesHere, rule: Rule): void {
  if (rule.isConditional) {
    here.conditional ??= [];
    if (here.conditional.at(-1) !== rule) here.conditional.push(rule);
    return;
  }
  if (rule.methods === undefined) {
    here.anyMethod = Math.min(here.anyMethod, rule.index);
    return;
  }
  here.byMethod ??= new Map();
  for (const method of rule.methods) {
    const known = here.byMethod.get(method);
    if (known === undefined || rule.index < known) here.byMethod.set(method, rule.index);
  }
}

function pushOf(rules: readonly Rule[], method: string, candidates: Rule[]): void {
  for (let i = 0; i < rules.length; i++) {
    const rule = rules[i]!;
    if (rule.methods === undefined || rule.methods.has(method)) candidates.push(rule);
  }
}
