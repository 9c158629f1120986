import type { UpstreamConfig, UpstreamTarget } from '../config/config.js';
import { Failure } from '../reasons.js';
import type { Connector, ServerTrust } from './connector.js';
import { PlainConnector } from './plain-connector.js';
import { SpiffeConnector } from './spiffe-connector.js';

/** How a target is reached, by what its upstream says about TLS. */
export function createConnector(
  upstream: UpstreamConfig,
  target: UpstreamTarget,
  serverTrust: ServerTrust | undefined,
): Connector {
  const { tls } = upstream;
  if (tls === undefined) return new PlainConnector(target);
  if (tls.kind === 'spiffe' && serverTrust !== undefined)
    return new SpiffeConnector(target, tls.id, serverTrust);
  return refusing(target, `${upstream.name}: servers cannot be verified`);
}

/** Where nobody can say who a server is, nothing is sent to it. */
function refusing(target: UpstreamTarget, problem: string): Connector {
  return {
    target,
    open: (_options, done) => {
      const handle = setImmediate(() => done(new Failure('upstream_untrusted', problem)));
      return { cancel: () => clearImmediate(handle) };
    },
  };
}
