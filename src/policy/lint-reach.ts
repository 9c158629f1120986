import type { LintFinding, LintSubject } from './lint-subject.js';
import { foldSegments, type PathPattern } from './pattern.js';
import { type Budget, overlaps } from './pattern-overlap.js';
import { SegmentTrie } from './segment-trie.js';

/** What the configuration lets through to policy. */
export interface Surroundings {
  readonly routes: readonly LintRoute[];
  /** Methods that are ever forwarded. */
  readonly methods: ReadonlySet<string>;
}

export interface LintRoute {
  readonly name: string;
  readonly upstream: string;
  readonly path: PathPattern;
  readonly encodedSlash: boolean;
}

/** Says of a rule what of it no request can ever meet. */
export class Reach {
  readonly #byDestination = new Map<string, LintRoute[]>();
  readonly #tries = new Map<string, SegmentTrie<true>>();

  constructor(
    readonly around: Surroundings,
    readonly budget: Budget,
  ) {
    for (const route of around.routes)
      for (const name of new Set([route.name, route.upstream])) {
        const known = this.#byDestination.get(name);
        if (known === undefined) this.#byDestination.set(name, [route]);
        else known.push(route);
      }
  }

  /** Routes that lead to a destination, by its own name or that of its upstream. */
  routesTo(destination: string): readonly LintRoute[] {
    return this.#byDestination.get(destination) ?? [];
  }

  /** Empty where all of it may match. */
  findingsOf(subject: LintSubject): readonly LintFinding[] {
    const { destinations, methods, paths } = subject;
    const leading = destinations.map((name) => this.routesTo(name).length > 0);
    const routes = judge(subject, 'destinations', leading, 'no route leads to it');
    if (routes.isDead) return routes.findings;
    const forwarded = (methods ?? []).map((method) => this.around.methods.has(method));
    const known = judge(subject, 'methods', forwarded, 'requests with this method are never forwarded');
    const meeting = (paths ?? []).map((path) =>
      destinations.some((name) => this.#meets(subject, name, path)),
    );
    const met = judge(subject, 'paths', meeting, `no route to ${destinations.join(', ')} has such a path`);
    return [...routes.findings, ...known.findings, ...met.findings];
  }

  #meets({ effect }: LintSubject, destination: string, { segments }: PathPattern): boolean {
    const folded = effect === 'deny';
    const needsSlash = segments.some((segment) => /%2f/i.test(segment));
    const trie = this.#trieOf(destination, folded, needsSlash);
    this.budget.left -= segments.length;
    return overlaps(trie.root, folded ? foldSegments(segments) : segments, this.budget);
  }

  #trieOf(destination: string, folded: boolean, needsSlash: boolean): SegmentTrie<true> {
    const key = `${folded} ${needsSlash} ${destination}`;
    const known = this.#tries.get(key);
    if (known !== undefined) return known;
    const trie = new SegmentTrie<true>();
    for (const { path, encodedSlash } of this.routesTo(destination)) {
      if (needsSlash && !encodedSlash) continue;
      trie.insert(folded ? foldSegments(path.segments) : path.segments).value = true;
    }
    this.#tries.set(key, trie);
    return trie;
  }
}

/** One finding for all of a list where nothing of it is of use, else one for each part that is of none. */
function judge(
  { within, at }: LintSubject,
  key: 'destinations' | 'methods' | 'paths',
  isOfUse: readonly boolean[],
  why: string,
): { readonly isDead: boolean; readonly findings: readonly LintFinding[] } {
  const isDead = isOfUse.length > 0 && !isOfUse.includes(true);
  if (isDead) return { isDead, findings: [{ path: at, message: `can never match: ${key}: ${why}` }] };
  const findings = isOfUse.flatMap((useful, i) =>
    useful ? [] : [{ path: [...within, key, i], message: `can never match: ${why}` }],
  );
  return { isDead, findings };
}
