import type { UpstreamConfig, UpstreamTarget } from '../config/config.js';
import type { Failure } from '../reasons.js';
import type { Candidate } from './balancer.js';
import type { CallPool } from './call-pool.js';
import type { Connector } from './connector.js';
import { createPool } from './create-pool.js';
import { HealthCheck } from './health-check.js';
import { TargetHealth } from './target-health.js';
import type { CallPlace, UpstreamCall } from './upstream-call.js';

const DEFAULT_CONNECTIONS = 256;

export interface TargetParts {
  readonly config: UpstreamConfig;
  readonly target: UpstreamTarget;
  readonly connector: Connector;
  /** It failed; whether it goes out for it is its upstream's to say. */
  readonly onFailed: (target: Target, failure: Failure) => void;
  /** A health check has found that its state is another now. */
  readonly onTurned: (target: Target, problem: string | undefined) => void;
}

/** One place where a service is: its connections, what is under way there, and whether it is to be sent anything. */
export class Target implements CallPlace, Candidate {
  open = 0;
  readonly name: string;
  readonly connector: Connector;
  readonly health: TargetHealth;
  /** undefined where no requests are spoken. */
  readonly pool: CallPool | undefined;
  readonly #onFailed: TargetParts['onFailed'];
  readonly #check: HealthCheck | undefined;
  /** Most tunnels at once, beside what the pool keeps; where nobody has said how many, limits of callers bound them. */
  readonly #mostTunnels: number;
  /** Open or opening. */
  #tunnels = 0;

  constructor({ config, target, connector, onFailed, onTurned }: TargetParts) {
    this.name = target.name;
    this.connector = connector;
    this.health = new TargetHealth(config);
    this.#mostTunnels = config.maxConnections ?? Number.POSITIVE_INFINITY;
    this.#onFailed = onFailed;
    this.pool = createPool(config.protocol, {
      connector,
      connectMs: config.timeouts.connectMs,
      maxConnections: config.maxConnections ?? DEFAULT_CONNECTIONS,
      onRefused: (failure) => this.failed(failure),
    });
    if (config.healthCheck === undefined) return;
    this.#check = new HealthCheck(connector, config.protocol, config.healthCheck, (problem) => {
      if (this.health.checked(problem, monotonicMs())) onTurned(this, problem);
    });
  }

  isOut(): boolean {
    return this.health.isOut(monotonicMs);
  }

  /** @param isAfresh on a connection that is yet to be opened. */
  take(call: UpstreamCall, pool: CallPool, isAfresh = false): void {
    this.open++;
    call.place = this;
    pool.start(call, isAfresh);
  }

  abandon(call: UpstreamCall): void {
    this.pool?.abandon(call);
  }

  left(): void {
    this.open--;
  }

  /** No further tunnel may be opened. */
  get isFull(): boolean {
    return this.#tunnels >= this.#mostTunnels;
  }

  /** A tunnel is to be opened. */
  enterTunnel(): void {
    this.open++;
    this.#tunnels++;
  }

  leftTunnel(): void {
    this.left();
    this.#tunnels--;
  }

  succeeded(): void {
    this.health.succeeded();
  }

  failed(failure: Failure): void {
    this.#onFailed(this, failure);
  }

  /** No longer configured: what it has is finished. */
  close(): void {
    this.#check?.stop();
    this.pool?.close();
  }

  destroy(): void {
    this.#check?.stop();
    this.pool?.destroy();
  }
}

export const monotonicMs = (): number => performance.now();
