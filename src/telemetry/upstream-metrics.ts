import { Counter, Gauge, type Registry } from 'prom-client';

/** What the live process can tell of one upstream at the moment of a scrape. */
export interface UpstreamGauges {
  readonly targets: Readonly<Record<'available' | 'ejected' | 'unhealthy', number>>;
  readonly connections: number;
}

const labelNames = ['upstream'] as const;

/** Metrics of upstreams; the label is a name out of the configuration. */
export class UpstreamMetrics {
  readonly #ejections: Counter<'upstream'>;
  readonly #retries: Counter<'upstream'>;

  constructor(registry: Registry, live: () => ReadonlyMap<string, UpstreamGauges>) {
    const registers = [registry];
    this.#ejections = new Counter({
      name: 'countersign_upstream_ejections_total',
      help: 'Targets taken out for a while after failures in a row.',
      labelNames,
      registers,
    });
    this.#retries = new Counter({
      name: 'countersign_upstream_retries_total',
      help: 'Requests sent to another target, or once more to the same.',
      labelNames,
      registers,
    });
    new Gauge({
      name: 'countersign_upstream_targets',
      help: 'Targets by state. Of several workers the most that one of them sees.',
      labelNames: ['upstream', 'state'],
      registers,
      aggregator: 'max',
      collect() {
        this.reset();
        for (const [upstream, { targets }] of live())
          for (const [state, count] of Object.entries(targets)) this.set({ upstream, state }, count);
      },
    });
    new Gauge({
      name: 'countersign_upstream_connections',
      help: 'Connections to upstreams, open or opening.',
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [upstream, { connections }] of live()) this.set({ upstream }, connections);
      },
    });
  }

  countEjection(upstream: string): void {
    this.#ejections.inc({ upstream });
  }

  countRetry(upstream: string): void {
    this.#retries.inc({ upstream });
  }
}
