import type { AccessRecord, PrincipalFields } from '../audit/record.js';
import { unregisteredRecord } from './connection-record.js';
import type { Exchange } from './exchange.js';

/** Counts an exchange that has its last record. */
export function observe(exchange: Exchange, record: AccessRecord, seconds: number): void {
  const { listener, route, status, delegation, reason, decision, permit } = exchange;
  const { metrics, name } = listener;
  const { effect } = record.decision;
  // Only a verified caller's domain is a label: a claimed one would let anybody grow the series.
  const { kind = 'none', trustDomain: claimed = '' } = record.principal ?? {};
  const trustDomain = kind === 'none' ? '' : claimed;
  metrics.observeRequest(name, route?.name ?? '', trustDomain, effect, status, seconds);
  const by = delegation?.delegation.by;
  if (by !== undefined) metrics.countDelegated(name, by, effect);
  if (reason !== undefined) metrics.countRefusal(name, reason);
  if (record.upstream?.injected !== undefined) metrics.countInjected(route?.name ?? '');
  const used = permit?.decision.exception;
  if (used !== undefined) metrics.countException(used);
  if (decision?.shadow !== undefined) metrics.countShadow(name, decision.effect, decision.shadow.effect);
  if (decision?.conditionErrors !== undefined)
    metrics.countConditionErrors(name, decision.conditionErrors.length);
  if (trustDomain !== '' && record.principal?.registered === false)
    noteUnregistered(exchange, record.principal);
}

/** The registry does not know the caller. */
function noteUnregistered({ listener, snapshot, id }: Exchange, principal: PrincipalFields): void {
  const { metrics, records, clock, name, snapshots, unregistered } = listener;
  metrics.countUnregistered(name);
  const registry = snapshot?.policy.registry;
  if (registry?.unregistered !== 'flag' || registry !== snapshots.current?.policy.registry) return;
  if (!unregistered.isNew(principal.id, registry)) return;
  records.write(unregisteredRecord(name, id, principal, snapshot, clock.nowMs()));
}
