import type { Config } from './config.js';

/** The part of every limit that one of several workers has; rounded up, so that each has one at least. */
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
    },
    ...(external === undefined
      ? {}
      : { externalDecision: { ...external, maxConcurrent: share(external.maxConcurrent) } }),
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
