import type { TargetState } from '../upstream/target-health.js';
import type { TargetStatus } from '../upstream/upstream.js';

/** By name of the upstream: its targets, as /snapshot shows them. */
export type UpstreamsView = Readonly<Record<string, readonly TargetStatus[]>>;

export const describeUpstreams = (status: ReadonlyMap<string, readonly TargetStatus[]>): UpstreamsView =>
  Object.fromEntries(status);

/** For metrics, by name of the upstream. */
export const countUpstreams = (
  status: ReadonlyMap<string, readonly TargetStatus[]>,
): ReadonlyMap<string, UpstreamCounts> =>
  new Map([...status].map(([name, all]) => [name, countTargets(all)]));

interface UpstreamCounts {
  readonly targets: Readonly<Record<TargetState, number>>;
  readonly connections: number;
}

function countTargets(all: readonly TargetStatus[]): UpstreamCounts {
  const targets = { available: 0, ejected: 0, unhealthy: 0 };
  let connections = 0;
  for (const target of all) {
    targets[target.state]++;
    connections += target.connections;
  }
  return { targets, connections };
}

/** What several workers see of the same targets: the worst state, all that is under way, the last error. */
export function mergeUpstreams(a: UpstreamsView, b: UpstreamsView): UpstreamsView {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return Object.fromEntries([...names].map((name) => [name, mergeTargets(a[name] ?? [], b[name] ?? [])]));
}

function mergeTargets(a: readonly TargetStatus[], b: readonly TargetStatus[]): TargetStatus[] {
  const byName = new Map(a.map((one) => [one.target, one]));
  for (const one of b) {
    const other = byName.get(one.target);
    byName.set(one.target, other === undefined ? one : mergeTarget(other, one));
  }
  return [...byName.values()];
}

function mergeTarget(a: TargetStatus, b: TargetStatus): TargetStatus {
  const isLater = (a.lastError?.at ?? '') >= (b.lastError?.at ?? '');
  return {
    target: a.target,
    state: STATES.find((state) => state === a.state || state === b.state) ?? a.state,
    open: a.open + b.open,
    connections: a.connections + b.connections,
    lastError: isLater ? a.lastError : b.lastError,
  };
}

/** The worst first. */
const STATES: readonly TargetState[] = ['unhealthy', 'ejected', 'available'];
