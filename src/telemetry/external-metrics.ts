import { Counter, type Registry } from 'prom-client';
import { DurationMetric, type Durations } from './duration-metric.js';

/** Questions to an external engine: how they ended, and how long those took that were sent. */
export class ExternalMetrics {
  readonly #results: Counter<'result'>;
  readonly #durations: Durations;

  constructor(registry: Registry) {
    this.#results = new Counter({
      name: 'countersign_external_decisions_total',
      help: 'Questions to the external engine by result.',
      labelNames: ['result'],
      registers: [registry],
    });
    const durations = new DurationMetric(
      'countersign_external_decision_duration_seconds',
      'From asking the external engine to its whole answer.',
      [],
      [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    );
    durations.register(registry);
    this.#durations = durations.of({});
  }

  count(result: string): void {
    this.#results.inc({ result });
  }

  observe(seconds: number): void {
    this.#durations.observe(seconds);
  }
}
