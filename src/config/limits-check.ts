import type { Config, RequestRate, RouteConfig } from './config.js';
import type { Problem } from './problem.js';
import { tooSmallToShare } from './share-limits.js';
import type { KeyPath } from './yaml-text.js';

type ProblemAt = (path: KeyPath, message: string) => Problem;

/** Limits that the configured workers could not share. How many `auto` is shows only where it runs. */
export function checkLimits(config: Config, at: ProblemAt): Problem[] {
  const { workers } = config;
  if (workers === 'auto') return [];
  return tooSmallToShare(config, workers).map(({ path, message }) => at(path, message));
}

/** A limit that all callers of a route share protects the service, but lets one caller use up what the others would need. */
export function warnLimits(config: Config, at: ProblemAt): Problem[] {
  return config.listeners.flatMap(({ routes }, i) =>
    routes.flatMap((route, j) => warnRoute(config, route, ['listeners', i, 'routes', j, 'limits'], at)),
  );
}

function warnRoute(
  { limits: general }: Config,
  { limits }: RouteConfig,
  path: KeyPath,
  at: ProblemAt,
): Problem[] {
  if (limits === undefined) return [];
  const warnings: Problem[] = [];
  const rate = limits.requestsPerPrincipal ?? general.requestsPerPrincipal;
  if (limits.requests !== undefined && (rate === undefined || !isBelow(rate, limits.requests))) {
    const message = 'one workload can use all of it; set a lower requestsPerPrincipal beside it';
    warnings.push(at([...path, 'requests'], message));
  }
  const most = limits.concurrentPerPrincipal ?? general.concurrentPerPrincipal;
  if (limits.concurrent !== undefined && (most === undefined || most >= limits.concurrent)) {
    const message = 'one workload can use all of it; set a lower concurrentPerPrincipal beside it';
    warnings.push(at([...path, 'concurrent'], message));
  }
  return warnings;
}

const isBelow = (a: RequestRate, b: RequestRate): boolean => a.count * b.perMs < b.count * a.perMs;
