import { type PathPattern, splitPath } from './pattern.js';
import { SegmentTrie } from './segment-trie.js';

/** What route matching needs to know of a route. */
export interface RouteSpec {
  readonly name: string;
  readonly host: string | undefined;
  readonly path: PathPattern;
}

interface HostRoutes<R extends RouteSpec> {
  /** Position in `ranked` of the most specific route of a pattern. */
  readonly trie: SegmentTrie<number>;
  readonly ranked: readonly R[];
}

export interface RouteTable<R extends RouteSpec = RouteSpec> {
  readonly byHost: ReadonlyMap<string, HostRoutes<R>>;
  readonly anyHost: HostRoutes<R>;
}

/** Compiles routes once a configuration; the same table serves the listener and `explain`. */
export function compileRoutes<R extends RouteSpec>(routes: readonly R[]): RouteTable<R> {
  const hosts = new Set(routes.map((route) => route.host));
  const byHost = new Map<string, HostRoutes<R>>();
  for (const host of hosts) {
    if (host !== undefined) byHost.set(host, rank(routes.filter((route) => route.host === host)));
  }
  return { byHost, anyHost: rank(routes.filter((route) => route.host === undefined)) };
}

/**
 * The most specific route: one that names the host before one for any host, then, segment by segment, a literal before
 * `*` before `**`; the first in the file breaks a tie. `host` is lower-case without port, `path` canonical.
 */
export function matchRoute<R extends RouteSpec>(
  table: RouteTable<R>,
  host: string,
  path: string,
): R | undefined {
  const segments = splitPath(path);
  const named = table.byHost.get(host);
  return (named && best(named, segments)) ?? best(table.anyHost, segments);
}

function best<R extends RouteSpec>(routes: HostRoutes<R>, segments: readonly string[]): R | undefined {
  const hits: number[] = [];
  routes.trie.match(segments, hits);
  let first = routes.ranked.length;
  for (let i = 0; i < hits.length; i++) if (hits[i]! < first) first = hits[i]!;
  return routes.ranked[first];
}

function rank<R extends RouteSpec>(routes: readonly R[]): HostRoutes<R> {
  const ranked = [...routes].sort((a, b) => compareSpecificity(a.path, b.path)); // stable: file order breaks ties
  const trie = new SegmentTrie<number>();
  for (const [position, route] of ranked.entries()) trie.insert(route.path.segments).value ??= position;
  return { trie, ranked };
}

function compareSpecificity(a: PathPattern, b: PathPattern): number {
  const length = Math.max(a.segments.length, b.segments.length);
  for (let i = 0; i < length; i++) {
    const difference = looseness(a.segments[i]) - looseness(b.segments[i]);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The end of a pattern is as exact as a literal: `/a` before `/a/**`. */
const looseness = (segment: string | undefined): number => (segment === '**' ? 2 : segment === '*' ? 1 : 0);
