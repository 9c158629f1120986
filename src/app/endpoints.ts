import { createAdminEndpoint } from '../admin/admin-endpoint.js';
import { createHealthEndpoint } from '../admin/health-endpoint.js';
import type { HttpEndpoint } from '../admin/http-endpoint.js';
import type { AdminView, AppProbe } from '../admin/ports.js';
import type { Address, Config, UpstreamTarget } from '../config/config.js';

/** The admin and health listeners, where they are configured: those of the only process, or of the supervisor of several. */
export class Endpoints {
  readonly addresses = new Map<string, string>();
  readonly #open: HttpEndpoint[] = [];

  /** Rejects where an address is taken; what was opened before it is for `close`. */
  async open({ admin, health, upstreams }: Config, view: AdminView): Promise<void> {
    if (admin !== undefined) await this.#add('admin', createAdminEndpoint(view), admin.address);
    if (health !== undefined) {
      const probes = health.probes.map((probe) => probeOf(probe, upstreams));
      await this.#add('health', createHealthEndpoint(view, probes), health.address);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((endpoint) => endpoint.close()));
  }

  async #add(name: string, endpoint: HttpEndpoint, address: Address): Promise<void> {
    await endpoint.open(address);
    this.#open.push(endpoint);
    this.addresses.set(name, endpoint.boundAddress);
  }
}

type Probe = NonNullable<Config['health']>['probes'][number];

function probeOf({ path, upstream, target, timeoutMs }: Probe, upstreams: Config['upstreams']): AppProbe {
  const [first] = upstreams.get(upstream)!.targets;
  return { path, target, timeoutMs, address: first!.address, authority: authorityOf(first!) };
}

/** A unix socket has no host of its own. */
const authorityOf = ({ address, name }: UpstreamTarget): string =>
  address.kind === 'unix' ? 'localhost' : name;
