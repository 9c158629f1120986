import { type PathPattern, splitPath } from './pattern.js';
import { RankedPatterns } from './ranked-patterns.js';

/** What route matching needs to know of a route. */
export interface RouteSpec {
  readonly name: string;
  readonly host: string | undefined;
  readonly path: PathPattern;
}

export interface RouteTable<R extends RouteSpec = RouteSpec> {
  readonly byHost: ReadonlyMap<string, RankedPatterns<R>>;
  readonly anyHost: RankedPatterns<R>;
}

/** Compiles routes once a configuration; the same table serves the listener and `explain`. */
export function compileRoutes<R extends RouteSpec>(routes: readonly R[]): RouteTable<R> {
  const hosts = new Set(routes.map((route) => route.host));
  const byHost = new Map<string, RankedPatterns<R>>();
  for (const host of hosts) {
    if (host !== undefined) byHost.set(host, rank(routes.filter((route) => route.host === host)));
  }
  return { byHost, anyHost: rank(routes.filter((route) => route.host === undefined)) };
}

/**
 * The most specific route: one that names the host before one for any host, then by `compareSpecificity`; the first in the
 * file breaks a tie. `host` is lower-case without port, `path` canonical.
 */
export function matchRoute<R extends RouteSpec>(
  table: RouteTable<R>,
  host: string,
  path: string,
): R | undefined {
  const segments = splitPath(path);
  const named = table.byHost.get(host);
  return named?.best(segments) ?? table.anyHost.best(segments);
}

const rank = <R extends RouteSpec>(routes: readonly R[]): RankedPatterns<R> =>
  RankedPatterns.of(routes, (route) => route.path.segments);
