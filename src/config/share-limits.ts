import type { Config, RequestRate, RouteLimits } from './config.js';
import type { KeyPath } from './yaml-text.js';

/**
 * The part of every limit that one of several workers has. Connections are rounded up, so that each has one at least; what
 * is promised of requests is rounded down, so that all together never let more through than is written.
 */
export function shareLimits(config: Config, workers: number): Config {
  if (workers === 1) return config;
  const share = (limit: number): number => Math.ceil(limit / workers);
  const { limits, upstreams, externalDecision: external } = config;
  return {
    ...config,
    limits: {
      ...limits,
      connections: share(limits.connections),
      connectionsPerPrincipal: share(limits.connectionsPerPrincipal),
      ...shareRequests(limits, workers),
    },
    ...(external === undefined
      ? {}
      : { externalDecision: { ...external, maxConcurrent: share(external.maxConcurrent) } }),
    listeners: config.listeners.map((listener) => ({
      ...listener,
      routes: listener.routes.map((route) =>
        route.limits === undefined ? route : { ...route, limits: shareRequests(route.limits, workers) },
      ),
    })),
    upstreams: new Map(
      [...upstreams].map(([name, upstream]) => [
        name,
        upstream.maxConnections === undefined
          ? upstream
          : { ...upstream, maxConnections: share(upstream.maxConnections) },
      ]),
    ),
  };
}

function shareRequests(limits: RouteLimits, workers: number): RouteLimits {
  const { requests, requestsPerPrincipal, concurrent, concurrentPerPrincipal } = limits;
  const part = (limit: number): number => Math.floor(limit / workers);
  const rate = ({ count, perMs, burst }: RequestRate): RequestRate => ({
    count,
    perMs: perMs * workers,
    burst: part(burst),
  });
  return {
    ...(requests === undefined ? {} : { requests: rate(requests) }),
    ...(requestsPerPrincipal === undefined ? {} : { requestsPerPrincipal: rate(requestsPerPrincipal) }),
    ...(concurrent === undefined ? {} : { concurrent: part(concurrent) }),
    ...(concurrentPerPrincipal === undefined ? {} : { concurrentPerPrincipal: part(concurrentPerPrincipal) }),
  };
}

/** A limit of which some worker would have no part, and every request that it is dealt would be refused. */
export interface TooSmall {
  readonly path: KeyPath;
  readonly message: string;
}

/** Limits on requests that so many workers cannot share. */
export function tooSmallToShare(config: Config, workers: number): TooSmall[] {
  return [
    ...tooSmallOf(config.limits, ['limits'], workers),
    ...config.listeners.flatMap(({ routes }, i) =>
      routes.flatMap(({ limits = {} }, j) =>
        tooSmallOf(limits, ['listeners', i, 'routes', j, 'limits'], workers),
      ),
    ),
  ];
}

function tooSmallOf(limits: RouteLimits, path: KeyPath, workers: number): TooSmall[] {
  const { requests, requestsPerPrincipal, concurrent, concurrentPerPrincipal } = limits;
  const parts: readonly (readonly [KeyPath, number | undefined])[] = [
    [['requests', 'burst'], requests?.burst],
    [['requestsPerPrincipal', 'burst'], requestsPerPrincipal?.burst],
    [['concurrent'], concurrent],
    [['concurrentPerPrincipal'], concurrentPerPrincipal],
  ];
  return parts.flatMap(([key, limit]) =>
    limit === undefined || limit >= workers
      ? []
      : [
          {
            path: [...path, ...key],
            message: `${limit} cannot be shared by ${workers} workers: write at least ${workers}, or have fewer workers`,
          },
        ],
  );
}
