import type { RouteConfig } from '../config/config.js';
import type { InjectedHeader } from '../message/rewrite-request.js';
import { Failure } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';
import type { Admitted } from './pipeline.js';

/** Who called, signed for the service of this route; what it says is remembered for the record. */
export function assertionFor(exchange: Exchange, { snapshot, route }: Admitted): string | undefined {
  if (snapshot.assertions === undefined || exchange.connection.direction === 'outbound') return undefined;
  const assertion = exchange.listener.assertions.find(exchange, snapshot, route);
  exchange.assertion = assertion?.jti;
  return assertion?.text;
}

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
