import type { Config, UpstreamConfig } from '../config/config.js';
import type {
  ConnectRequest,
  ForwardCall,
  ForwardHandler,
  ForwardRequest,
  TunnelHandler,
  UpgradeHandler,
  UpgradeRequest,
  UpstreamPort,
} from '../listener/ports.js';
import type { Permit } from '../policy/permit.js';
import { Failure } from '../reasons.js';
import { openConnection } from './connect-tunnel.js';
import { createConnector } from './create-connector.js';
import { Http1Pool } from './http1-pool.js';
import type { TunnelRoad } from './tunnel-call.js';
import { openTunnel } from './upgrade-tunnel.js';

const DEFAULT_CONNECTIONS = 256;

interface Entry {
  readonly key: string;
  readonly config: UpstreamConfig;
  readonly pool: Http1Pool;
}

/** Every configured upstream by name. Nothing gets past it without a Permit, and the permit names the destination. */
export class Upstreams implements UpstreamPort {
  #entries = new Map<string, Entry>();

  /** Takes over a new configuration: unchanged upstreams keep their pool, gone ones finish what is in flight. */
  configure(config: Config): void {
    const next = new Map<string, Entry>();
    for (const upstream of config.upstreams.values()) {
      const key = JSON.stringify(upstream);
      const before = this.#entries.get(upstream.name);
      next.set(
        upstream.name,
        before?.key === key ? before : { key, config: upstream, pool: poolOf(upstream) },
      );
    }
    for (const [name, entry] of this.#entries) {
      if (next.get(name) !== entry) entry.pool.close();
    }
    this.#entries = next;
  }

  forward(permit: Permit, request: ForwardRequest, handler: ForwardHandler): ForwardCall {
    return this.#entry(permit).pool.forward(permit.request.principal.uri, request, handler);
  }

  upgrade(permit: Permit, request: UpgradeRequest, handler: UpgradeHandler): ForwardCall {
    const { config } = this.#entry(permit);
    return openTunnel(roadOf(config), config.timeouts.responseMs, request, handler);
  }

  connect(permit: Permit, request: ConnectRequest, handler: TunnelHandler): ForwardCall {
    return openConnection(roadOf(this.#entry(permit).config), request, handler);
  }

  close(): void {
    for (const { pool } of this.#entries.values()) pool.destroy();
    this.#entries.clear();
  }

  #entry(permit: Permit): Entry {
    const entry = this.#entries.get(permit.request.destination);
    if (entry === undefined) {
      throw new Failure('internal_error', `no upstream is named ${permit.request.destination}`);
    }
    return entry;
  }
}

function poolOf(upstream: UpstreamConfig): Http1Pool {
  return new Http1Pool({
    ...placeOf(upstream),
    connectMs: upstream.timeouts.connectMs,
    maxConnections: upstream.maxConnections ?? DEFAULT_CONNECTIONS,
  });
}

function placeOf({ targets: [first] }: UpstreamConfig): { host: string; port: number } {
  const { address } = first!;
  if (address.kind === 'tcp') return address;
  throw new Failure('internal_error', 'no unix sockets yet');
}

function roadOf(upstream: UpstreamConfig): TunnelRoad {
  const connector = createConnector(upstream, upstream.targets[0]!, undefined);
  return {
    open: (options, done) =>
      connector.open({ connectMs: upstream.timeouts.connectMs, ...options }, (result) =>
        done(result instanceof Failure ? result : { carrier: result, end: () => undefined }),
      ),
  };
}
