import type { PatternSegments } from './pattern.js';
import type { TrieNode } from './segment-trie.js';

/** Steps that may still be taken, over all questions of one check: what a file can make us do is bounded. */
export interface Budget {
  left: number;
}

type Visit<V> = (node: TrieNode<V>, at: number) => void;

/**
 * Is there anything that both `pattern` and some pattern of the tree match? Walks both at once, each pair of places at most
 * once. True also where the budget ends first: whoever asks complains of a no.
 */
export function overlaps<V>(root: TrieNode<V>, pattern: PatternSegments, budget: Budget): boolean {
  const seen = new Map<TrieNode<V>, Set<number>>();
  const open: [TrieNode<V>, number][] = [];
  const visit: Visit<V> = (node, at) => {
    const places = seen.get(node);
    if (places?.has(at)) return;
    if (places === undefined) seen.set(node, new Set([at]));
    else places.add(at);
    open.push([node, at]);
    budget.left--;
  };
  visit(root, 0);
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [node, at] = next;
    if (budget.left <= 0 || (at === pattern.length && node.value !== undefined)) return true;
    advance(node, pattern, at, visit);
  }
  return false;
}

function advance<V>(node: TrieNode<V>, pattern: PatternSegments, at: number, visit: Visit<V>): void {
  if (node.many !== undefined) visit(node.many, at); // `**` of the tree stands for nothing
  const segment = pattern[at];
  if (segment === undefined) return;
  if (segment === '**') visit(node, at + 1);
  const after = segment === '**' ? at : at + 1;
  if (node.isMany) visit(node, after);
  if (node.one !== undefined) visit(node.one, after);
  if (segment === '*' || segment === '**')
    for (const child of node.literals?.values() ?? []) visit(child, after);
  else {
    const child = node.literals?.get(segment);
    if (child !== undefined) visit(child, after);
  }
}
