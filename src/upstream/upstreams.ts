import type { Config, UpstreamTarget } from '../config/config.js';
import type {
  ConnectRequest,
  ForwardCall,
  ForwardHandler,
  ForwardRequest,
  TunnelHandler,
  TunnelledCall,
  UpgradeHandler,
  UpgradeRequest,
  UpstreamPort,
} from '../listener/ports.js';
import type { Permit } from '../policy/permit.js';
import { Failure } from '../reasons.js';
import { openConnection } from './connect-tunnel.js';
import type { Connector, ServerTrust } from './connector.js';
import { createConnector } from './create-connector.js';
import { Roots } from './roots.js';
import { openTunnel } from './upgrade-tunnel.js';
import { type TargetStatus, Upstream, type UpstreamParts } from './upstream.js';

/** Every configured upstream by name. Nothing gets past it without a Permit, and the permit names the destination. */
export class Upstreams implements UpstreamPort {
  readonly #parts: UpstreamParts;
  readonly #serverTrust: ServerTrust | undefined;
  #upstreams = new Map<string, Upstream>();
  /** By file. */
  #roots = new Map<string | undefined, Roots>();

  constructor(parts: UpstreamParts, serverTrust?: ServerTrust) {
    this.#parts = parts;
    this.#serverTrust = serverTrust;
  }

  /**
   * Takes over a new configuration: targets that stay keep their connections, gone ones finish what is in flight.
   * @returns what is wrong with files of authorities; the last good ones stay, and without any nothing is sent there.
   */
  configure(config: Config): readonly string[] {
    const problems = this.#readRoots(config);
    const next = new Map<string, Upstream>();
    for (const upstream of config.upstreams.values()) {
      const connect = (target: UpstreamTarget): Connector =>
        createConnector(upstream, target, this.#serverTrust, (file) => this.#rootsOf(file));
      const before = this.#upstreams.get(upstream.name);
      before?.configure(upstream, connect);
      next.set(upstream.name, before ?? new Upstream(upstream, this.#parts, connect));
    }
    for (const [name, upstream] of this.#upstreams) if (!next.has(name)) upstream.close();
    this.#upstreams = next;
    for (const upstream of next.values()) upstream.judge();
    return problems;
  }

  forward(permit: Permit, request: ForwardRequest, handler: ForwardHandler): ForwardCall {
    return this.#upstream(permit).forward(permit.request.principal.uri, request, handler);
  }

  upgrade(permit: Permit, request: UpgradeRequest, handler: UpgradeHandler): TunnelledCall {
    const upstream = this.#upstream(permit);
    return openTunnel(upstream, upstream.config.timeouts.responseMs, request, handler);
  }

  connect(permit: Permit, request: ConnectRequest, handler: TunnelHandler): TunnelledCall {
    return openConnection(this.#upstream(permit), request, handler);
  }

  /** After a swap, and now and then: ends the kept connections that must carry no more. What is under way on others ends first. */
  judgeServers(): void {
    for (const upstream of this.#upstreams.values()) upstream.judge();
  }

  /** By name: every target, and how it is. */
  get status(): ReadonlyMap<string, readonly TargetStatus[]> {
    return new Map([...this.#upstreams].map(([name, { status }]) => [name, status]));
  }

  close(): void {
    for (const upstream of this.#upstreams.values()) upstream.destroy();
    this.#upstreams.clear();
  }

  #readRoots({ upstreams }: Config): string[] {
    const problems: string[] = [];
    const before = this.#roots;
    this.#roots = new Map();
    for (const { name, tls } of upstreams.values()) {
      if (tls?.kind !== 'roots' || this.#roots.has(tls.caFile)) continue;
      const roots = before.get(tls.caFile) ?? new Roots(tls.caFile);
      this.#roots.set(tls.caFile, roots);
      const problem = roots.read();
      if (problem !== undefined) problems.push(`upstreams.${name}.tls.ca: ${problem}`);
    }
    return problems;
  }

  #rootsOf(file: string | undefined): Roots {
    return this.#roots.get(file) ?? new Roots(file);
  }

  #upstream(permit: Permit): Upstream {
    const upstream = this.#upstreams.get(permit.request.destination);
    if (upstream === undefined) {
      throw new Failure('internal_error', `no upstream is named ${permit.request.destination}`);
    }
    return upstream;
  }
}
