import type { UpstreamConfig } from '../config/config.js';
import { isStillPermitted } from '../policy/permit.js';
import { matchRoute } from '../policy/route-table.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';
import { isRouteAsked } from './external-question.js';
import { isStillAccepted } from './token-admission.js';

/** True where the same request would be let through to the same place under a newer snapshot. @param nowMs Unix. */
export function isStillAllowed(exchange: Exchange, snapshot: Snapshot, nowMs: number): boolean {
  const { permit, head, route, listener } = exchange;
  if (permit === undefined || route === undefined) return true; // nothing was let through
  if (exchange.judgeBorrowed(snapshot, nowMs) !== undefined) return false;
  const view = snapshot.listeners.get(listener.name);
  const now = view && matchRoute(view.routes, permit.request.host, permit.request.path);
  if (now === undefined || now.name !== route.name || now.upstream !== route.upstream) return false;
  if (!isStillAccepted(exchange, now)) return false;
  if (head?.upgrade !== undefined && !(now.upgrade as readonly string[]).includes(head.upgrade)) return false;
  const before = exchange.snapshot?.config.upstreams.get(route.upstream);
  if (!isSameService(snapshot.config.upstreams.get(route.upstream), before, exchange.server?.target))
    return false;
  const mayAllow = isRouteAsked(snapshot, now) && snapshot.config.externalDecision?.mayAllow === true;
  return isStillPermitted(snapshot.policy, permit, nowMs, mayAllow);
}

/** Whether what went to `before` might go to the same place now. @param target that it went to; undefined = not known. */
function isSameService(
  now: UpstreamConfig | undefined,
  before: UpstreamConfig | undefined,
  target: string | undefined,
): boolean {
  if (now === before) return true;
  if (now === undefined || before === undefined) return false;
  const names = new Set(now.targets.map(({ name }) => name));
  return (
    now.protocol === before.protocol &&
    JSON.stringify(now.tls) === JSON.stringify(before.tls) &&
    (target === undefined ? before.targets.every(({ name }) => names.has(name)) : names.has(target))
  );
}
