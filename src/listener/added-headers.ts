import type { RouteConfig } from '../config/config.js';
import type { InjectedHeader } from '../message/rewrite-request.js';
import { Failure } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';
import type { Admitted } from './pipeline.js';

/** Who called, signed for the service of this route; what it says is remembered for the record. */
export function assertionFor(exchange: Exchange, { snapshot, route }: Admitted): string | undefined {
  if (exchange.connection.direction === 'outbound') return forwardedAssertion(exchange, route);
  if (snapshot.assertions === undefined) return undefined;
  const assertion = exchange.listener.assertions.find(exchange, snapshot, route);
  exchange.assertion = assertion?.jti;
  return assertion?.text;
}

/** For whom our own workload acts, as its own sidecar told it: for the other side to verify. */
const forwardedAssertion = ({ head }: Exchange, { delegation }: RouteConfig): string | undefined =>
  delegation === 'off' ? undefined : head?.received.saysOfOthers.assertion?.[0];

/** The credential that this route puts in. Throws where there is none: what names its file would not be in force. */
export function injectedFor(
  { name, injects }: RouteConfig,
  { injected }: Snapshot,
): InjectedHeader | undefined {
  if (injects === undefined) return undefined;
  const value = injected.get(name);
  if (value === undefined) throw new Failure('internal_error', `there is no credential for route ${name}`);
  return { name: injects.header, value };
}
