import { isServerName } from '../message/connect-head.js';
import type { RequestHead } from '../message/request-head.js';
import { matchRoute } from '../policy/route-table.js';
import type { Refusal } from '../reasons.js';
import type { Exchange } from './exchange.js';
import { type Admitted, changedKindOf, decide, type Pending } from './pipeline.js';

/** The steps of `admit` for a connection without messages: who is it, where does it go, may it. */
export function admitConnection(exchange: Exchange, head: RequestHead): Admitted | Pending | Refusal {
  const { listener, connection, snapshot } = exchange;
  if (snapshot === undefined) return { reason: 'not_ready', detail: 'no snapshot is in force' };
  const refusal = connection.judge(snapshot, exchange.startedAtMs);
  exchange.principal = connection.credential?.principalFields();
  if (refusal !== undefined) return refusal;
  if (!listener.records.available) return { reason: 'audit_unavailable', detail: '' };
  const { host, path } = head.target;
  if (!isServerName(host)) return { reason: 'host_malformed', detail: 'the name that TLS was asked for' };
  const view = snapshot.listeners.get(listener.name);
  const changed = changedKindOf(view, connection, 'tcp');
  if (changed !== undefined) return changed;
  const route = view && matchRoute(view.routes, host, path);
  exchange.route = route;
  const excess = exchange.takeShare();
  if (excess !== undefined) return excess;
  if (route === undefined) return { reason: 'route_not_found', detail: '' };
  return decide(exchange, head, route, snapshot);
}
