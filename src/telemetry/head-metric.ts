import { Gauge, type Registry } from 'prom-client';
import type { ShownHead } from './sealer.js';

/** One series a live stream: its newest head, which an auditor can keep. That of the head before is gone when a new one comes. */
export function registerHeads(registry: Registry, heads: () => readonly ShownHead[]): void {
  new Gauge({
    name: 'countersign_audit_head',
    help: 'Newest sealed head of each stream of records; the value is the last sequence number that it covers.',
    labelNames: ['stream', 'boot', 'worker', 'head'],
    registers: [registry],
    aggregator: 'max',
    collect() {
      this.reset();
      for (const { stream, head, to } of heads())
        this.set({ stream: stream.id, boot: stream.boot, worker: String(stream.worker), head }, to);
    },
  });
}
