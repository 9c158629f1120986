import { Counter, Gauge, type Registry } from 'prom-client';
import type { ExportLossCause } from '../audit/record.js';

export type MetricRegistry = Registry;

/** The copy of the records that a collector gets. */
export class ExportMetrics {
  readonly #lines: Counter<'result'>;

  /** @param queueBytes asked at a scrape. */
  constructor(registry: Registry, queueBytes: () => number) {
    this.#lines = new Counter({
      name: 'countersign_audit_exported_total',
      help: 'Lines of the record stream that a collector took, or never will, by result.',
      labelNames: ['result'],
      registers: [registry],
    });
    new Gauge({
      name: 'countersign_audit_export_queue_bytes',
      help: 'Records that wait for the collector.',
      registers: [registry],
      collect() {
        this.set(queueBytes());
      },
    });
  }

  count(result: 'exported' | ExportLossCause, lines: number): void {
    this.#lines.inc({ result }, lines);
  }
}
