import { Counter, Gauge, Registry } from 'prom-client';
import type { MetricData } from './merge-metrics.js';

/** What only the supervisor of several workers knows. */
export class SupervisorMetrics {
  readonly registry = new Registry();
  readonly #lost = new Counter({
    name: 'countersign_workers_lost_total',
    help: 'Workers that ended without being told to, or were stopped because they were silent.',
    registers: [this.registry],
  });
  readonly #dropped = new Counter({
    name: 'countersign_audit_records_total',
    help: 'Audit records.',
    labelNames: ['result'],
    registers: [this.registry],
  });

  constructor(serving: () => number) {
    new Gauge({
      name: 'countersign_workers',
      help: 'Workers that serve.',
      registers: [this.registry],
      collect() {
        this.set(serving());
      },
    });
  }

  countLost(): void {
    this.#lost.inc();
  }

  /** What is written is counted by the worker whose record it is. */
  countRecords(result: 'written' | 'dropped', records: number): void {
    if (result === 'dropped') this.#dropped.inc({ result }, records);
  }

  /** Answers are the workers'. */
  countUnconfirmed(): void {}

  data(): Promise<MetricData[]> {
    return this.registry.getMetricsAsJSON();
  }
}
