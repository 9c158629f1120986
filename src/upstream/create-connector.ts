import type { UpstreamConfig, UpstreamTarget } from '../config/config.js';
import type { Connector, ServerTrust } from './connector.js';
import { PlainConnector } from './plain-connector.js';
import { RefusingConnector } from './refusing-connector.js';
import type { Roots } from './roots.js';
import { RootsConnector } from './roots-connector.js';
import { SpiffeConnector } from './spiffe-connector.js';

/** How a target is reached, by what its upstream says about TLS. */
export function createConnector(
  { name, tls }: UpstreamConfig,
  target: UpstreamTarget,
  serverTrust: ServerTrust | undefined,
  rootsOf: (caFile: string | undefined) => Roots,
): Connector {
  if (tls === undefined) return new PlainConnector(target);
  if (tls.kind === 'roots') return new RootsConnector(target, rootsOf(tls.caFile), tls.serverName);
  return serverTrust === undefined
    ? new RefusingConnector(target, `${name}: servers cannot be verified`)
    : new SpiffeConnector(target, tls.id, serverTrust);
}
