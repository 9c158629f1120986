import type { PrincipalId } from '../identity/principal-id.js';
import type { ConditionRun } from './condition-run.js';
import type { AccessRequest } from './decision.js';
import { isLive } from './exception.js';
import { NO_RULE, PathIndex } from './path-index.js';
import { foldSegments, splitPath } from './pattern.js';
import type { Effect, Rule } from './policy.js';
import { SegmentTrie } from './segment-trie.js';

/** Compiled at the first request that asks for it, then kept: together no larger than the policy itself. */
class Bucket {
  #deny: PathIndex | undefined;
  #allow: PathIndex | undefined;
  #compiled = false;
  constructor(readonly rules: readonly Rule[]) {}

  get deny(): PathIndex | undefined {
    if (!this.#compiled) this.#compile();
    return this.#deny;
  }

  get allow(): PathIndex | undefined {
    if (!this.#compiled) this.#compile();
    return this.#allow;
  }

  #compile(): void {
    const deny = this.rules.filter((rule) => rule.effect === 'deny');
    const allow = this.rules.filter((rule) => rule.effect === 'allow');
    if (deny.length > 0) this.#deny = new PathIndex(deny, true);
    if (allow.length > 0) this.#allow = new PathIndex(allow, false);
    this.#compiled = true;
  }
}

/** All rules that name one principal pattern, by destination. */
interface PatternEntry {
  readonly id: number;
  readonly rules: Map<string, Rule[]>;
  readonly buckets: Map<string, Bucket>;
}

/** What the index knows of one set of matching patterns; shared by every principal that matches the same ones. */
interface View {
  readonly entries: readonly PatternEntry[];
  readonly byDestination: Map<string, readonly Bucket[]>;
  anyAllow: boolean | undefined;
}

const MAX_PRINCIPALS = 10_000;
const MERGE_ABOVE = 4;
const MAX_MERGED_RULES = 200_000;
const NO_BUCKETS: readonly Bucket[] = [];
const NO_VIEW: View = { entries: [], byDestination: new Map(), anyAllow: false };

/**
 * Finds the deciding rule without reading the others: principals in a trie, then destination, then path and method.
 * Time depends on what the caller matches, not on how many rules there are. What it remembers is bounded.
 */
export class PolicyIndex {
  readonly #domains = new Map<string, SegmentTrie<PatternEntry>>();
  readonly #principals = new Map<string, View>();
  readonly #views = new Map<string, View>();
  readonly #search = new Search();
  #mergedRules = 0;
  #nextId = 0;

  constructor(rules: readonly Rule[] = []) {
    for (const rule of rules) this.add(rule);
  }

  /** In the order of their index, and before anything is asked. */
  add(rule: Rule): void {
    for (const pattern of rule.principals) {
      let trie = this.#domains.get(pattern.trustDomain);
      if (trie === undefined) {
        trie = new SegmentTrie();
        this.#domains.set(pattern.trustDomain, trie);
      }
      const node = trie.insert(pattern.segments);
      node.value ??= { id: this.#nextId++, rules: new Map(), buckets: new Map() };
      addByDestination(node.value, rule);
    }
  }

  /**
   * Index of the deciding rule, or NO_RULE: the first deny in file order, else the first allow.
   * @param run judges conditions and subjects; needed where a rule has one.
   */
  find(request: AccessRequest, run: ConditionRun | undefined): number {
    const view = this.#viewOf(request.principal);
    const byUpstream = this.#bucketsOf(view, request.destination);
    const byRoute = request.route === request.destination ? NO_BUCKETS : this.#bucketsOf(view, request.route);
    if (byUpstream.length === 0 && byRoute.length === 0) return NO_RULE;

    const { method, path, decodedSlashPath } = request;
    const raw = splitPath(path);
    const decoded = decodedSlashPath === undefined ? undefined : splitPath(decodedSlashPath);
    const search = this.#search;
    let denied = search.find('deny', byUpstream, byRoute, raw, method, path, run);
    if (decoded !== undefined) {
      denied = Math.min(
        denied,
        search.find('deny', byUpstream, byRoute, decoded, method, decodedSlashPath!, run),
      );
    }
    if (denied !== NO_RULE) return denied;
    const allowed = search.find('allow', byUpstream, byRoute, raw, method, path, run);
    if (allowed === NO_RULE || decoded === undefined) return allowed;
    // The upstream may decode %2F: what it would then see must be allowed as well.
    const other = search.find('allow', byUpstream, byRoute, decoded, method, decodedSlashPath!, run);
    return other === NO_RULE ? NO_RULE : allowed;
  }

  /** True when some rule still lets this principal reach something; one with a condition may. */
  hasAnyAllow(principal: PrincipalId): boolean {
    const view = this.#viewOf(principal);
    view.anyAllow ??= someAllow(view.entries);
    return view.anyAllow;
  }

  /** True when some rule that names this principal is of use at this moment. */
  hasAnyLive(principal: PrincipalId, nowMs: number): boolean {
    for (const { rules } of this.#viewOf(principal).entries) {
      for (const list of rules.values())
        if (list.some(({ term }) => term === undefined || isLive(term, nowMs))) return true;
    }
    return false;
  }

  #viewOf(principal: PrincipalId): View {
    const known = this.#principals.get(principal.uri);
    if (known !== undefined) return known;
    const trie = this.#domains.get(principal.trustDomain);
    if (trie === undefined) return NO_VIEW;
    const entries: PatternEntry[] = [];
    trie.match(principal.segments, entries);
    if (entries.length === 0) return NO_VIEW;
    entries.sort((a, b) => a.id - b.id);
    const key = entries.map((entry) => entry.id).join(',');
    const view = this.#views.get(key) ?? { entries, byDestination: new Map(), anyAllow: undefined };
    if (this.#principals.size >= MAX_PRINCIPALS) this.#forget();
    this.#principals.set(principal.uri, view);
    this.#views.set(key, view);
    return view;
  }

  #forget(): void {
    this.#principals.clear();
    this.#views.clear();
    this.#mergedRules = 0;
  }

  #bucketsOf(view: View, destination: string): readonly Bucket[] {
    const known = view.byDestination.get(destination);
    if (known !== undefined) return known;
    const having = view.entries.filter((entry) => entry.rules.has(destination));
    if (having.length === 0) return NO_BUCKETS;
    const buckets = this.#merge(having, destination) ?? having.map((entry) => bucketOf(entry, destination));
    view.byDestination.set(destination, buckets);
    return buckets;
  }

  /** A principal that many patterns match gets one index of its own, as long as all of those stay within bounds. */
  #merge(having: readonly PatternEntry[], destination: string): readonly Bucket[] | undefined {
    if (having.length <= MERGE_ABOVE) return undefined;
    const rules = [...new Set(having.flatMap((entry) => entry.rules.get(destination) ?? []))];
    if (this.#mergedRules + rules.length > MAX_MERGED_RULES) return undefined;
    this.#mergedRules += rules.length;
    return [new Bucket(rules)];
  }
}

function addByDestination(entry: PatternEntry, rule: Rule): void {
  for (const destination of rule.destinations) {
    const rules = entry.rules.get(destination);
    if (rules === undefined) entry.rules.set(destination, [rule]);
    else if (rules[rules.length - 1] !== rule) rules.push(rule);
  }
}

function bucketOf(entry: PatternEntry, destination: string): Bucket {
  let bucket = entry.buckets.get(destination);
  if (bucket === undefined) {
    bucket = new Bucket(entry.rules.get(destination) ?? []);
    entry.buckets.set(destination, bucket);
  }
  return bucket;
}

/** One search after another: what it needs for each is made once. */
class Search {
  readonly #candidates: Rule[] = [];

  find(
    effect: Effect,
    byUpstream: readonly Bucket[],
    byRoute: readonly Bucket[],
    segments: readonly string[],
    method: string,
    path: string,
    run: ConditionRun | undefined,
  ): number {
    let first = NO_RULE;
    let read: readonly string[] | undefined;
    for (let i = 0; i < byUpstream.length + byRoute.length; i++) {
      const bucket = i < byUpstream.length ? byUpstream[i]! : byRoute[i - byUpstream.length]!;
      const paths = effect === 'deny' ? bucket.deny : bucket.allow;
      if (paths === undefined) continue;
      read ??= effect === 'deny' ? foldSegments(segments) : segments;
      const index = paths.find(read, method, this.#candidates);
      if (index < first) first = index;
    }
    return this.#firstOf(first, path, run);
  }

  /** The first in file order that counts: `first` always does, the candidates only where their conditions hold. */
  #firstOf(first: number, path: string, run: ConditionRun | undefined): number {
    const candidates = this.#candidates;
    if (candidates.length === 0) return first;
    const ordered = candidates.splice(0).sort((a, b) => a.index - b.index);
    for (const [i, rule] of ordered.entries()) {
      if (rule.index >= first) return first;
      if (rule === ordered[i - 1]) continue; // by upstream and by route, or by two of its paths
      if (run!.holds(rule, path)) return rule.index;
    }
    return first;
  }
}

/** An allow counts unless a deny takes away the whole of its destination. */
function someAllow(entries: readonly PatternEntry[]): boolean {
  const closed = new Set<string>();
  for (const { rules } of entries) {
    for (const [destination, list] of rules) {
      if (list.some((rule) => rule.effect === 'deny' && isUnconditional(rule))) closed.add(destination);
    }
  }
  for (const { rules } of entries) {
    for (const [destination, list] of rules) {
      if (!closed.has(destination) && list.some((rule) => rule.effect === 'allow')) return true;
    }
  }
  return false;
}

const isUnconditional = (rule: Rule): boolean =>
  !rule.isConditional &&
  rule.methods === undefined &&
  (rule.paths === undefined || rule.paths.some((path) => path.text === '/**'));
