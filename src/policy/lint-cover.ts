import type { Reach } from './lint-reach.js';
import { type LintSubject, pathsOf } from './lint-subject.js';
import type { PatternSegments, PrincipalPattern } from './pattern.js';
import { covers } from './pattern-cover.js';
import type { Budget } from './pattern-overlap.js';
import { SegmentTrie } from './segment-trie.js';

type ByPath = SegmentTrie<LintSubject[]>;
type ByPrincipal = SegmentTrie<ByPath>;

/**
 * Rules of one effect by destination, principal and path, to ask for one that takes in another whole, without looking at
 * all. A pattern's wildcards are asked for as if they were segments: what takes a wildcard in is among what that finds.
 */
export class CoverIndex {
  readonly #byDestination = new Map<string, Map<string, ByPrincipal>>();

  /** `folded`: deny rules, and what they are asked about in their reading. */
  constructor(
    readonly reach: Reach,
    readonly folded: boolean,
    readonly budget: Budget,
  ) {}

  add(subject: LintSubject): void {
    const paths = pathsOf(subject, this.folded);
    for (const destination of subject.destinations) {
      for (const { trustDomain, segments } of subject.principals) {
        const byPrincipal = this.#domainOf(destination, trustDomain);
        const node = byPrincipal.insert(segments);
        node.value ??= new SegmentTrie();
        for (const path of paths) {
          this.budget.left -= segments.length + path.length;
          if (this.budget.left <= 0) return;
          const at = node.value.insert(path);
          at.value ??= [];
          at.value.push(subject);
        }
      }
    }
  }

  /** A rule other than this one that counts whenever this one does; `accept` may want more of it. */
  find(subject: LintSubject, accept: (candidate: LintSubject) => boolean): LintSubject | undefined {
    const [path] = pathsOf(subject, this.folded);
    if (path === undefined) return undefined;
    for (const candidates of this.#near(subject, path)) {
      for (const candidate of candidates) {
        if (this.budget.left <= 0) return undefined;
        this.budget.left--;
        if (candidate !== subject && accept(candidate) && this.#takesIn(candidate, subject)) return candidate;
      }
    }
    return undefined;
  }

  /** All that may take in its first principal, destination and path. */
  #near(subject: LintSubject, path: PatternSegments): LintSubject[][] {
    const principal = subject.principals[0];
    const destination = subject.destinations[0];
    if (principal === undefined || destination === undefined) return [];
    const byPrincipal: ByPath[] = [];
    for (const name of this.#namesOf(destination))
      this.#byDestination.get(name)?.get(principal.trustDomain)?.match(principal.segments, byPrincipal);
    const hits: LintSubject[][] = [];
    for (const byPath of byPrincipal) byPath.match(path, hits);
    this.budget.left -= 1 + byPrincipal.length;
    return hits;
  }

  /** Names under which a rule takes in a destination's first route. */
  #namesOf(destination: string): ReadonlySet<string> {
    const [route] = this.reach.routesTo(destination);
    return new Set(route === undefined ? [destination] : [destination, route.name, route.upstream]);
  }

  #takesIn(all: LintSubject, some: LintSubject): boolean {
    const { methods } = all;
    if (methods !== undefined && !some.methods?.every((method) => methods.includes(method))) return false;
    if (!some.destinations.every((name) => this.#leadsTo(all, name))) return false;
    if (!this.#takesInDelegations(all, some)) return false;
    return this.#takesInPatterns(all.principals, some.principals) && this.#takesInPaths(all, some);
  }

  #leadsTo({ destinations }: LintSubject, name: string): boolean {
    if (destinations.includes(name)) return true;
    const routes = this.reach.routesTo(name);
    this.budget.left -= routes.length;
    return routes.every(
      (route) => destinations.includes(route.name) || destinations.includes(route.upstream),
    );
  }

  /** Without `behalfOf` a deny is for all calls, an allow only for those of the caller's own. */
  #takesInDelegations(all: LintSubject, some: LintSubject): boolean {
    if (all.behalfOf === undefined) return some.behalfOf === undefined || all.effect === 'deny';
    return some.behalfOf !== undefined && this.#takesInPatterns(all.behalfOf, some.behalfOf);
  }

  #takesInPatterns(all: readonly PrincipalPattern[], some: readonly PrincipalPattern[]): boolean {
    this.budget.left -= all.length * some.length;
    return some.every((one) =>
      all.some((other) => other.trustDomain === one.trustDomain && covers(other.segments, one.segments)),
    );
  }

  #takesInPaths(all: LintSubject, some: LintSubject): boolean {
    const wide = pathsOf(all, this.folded);
    const narrow = pathsOf(some, this.folded);
    this.budget.left -= wide.length * narrow.length;
    return narrow.every((one) => wide.some((other) => covers(other, one)));
  }

  #domainOf(destination: string, trustDomain: string): ByPrincipal {
    let domains = this.#byDestination.get(destination);
    if (domains === undefined) {
      domains = new Map();
      this.#byDestination.set(destination, domains);
    }
    let byPrincipal = domains.get(trustDomain);
    if (byPrincipal === undefined) {
      byPrincipal = new SegmentTrie();
      domains.set(trustDomain, byPrincipal);
    }
    return byPrincipal;
  }
}
