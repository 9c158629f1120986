import { Counter, type Registry } from 'prom-client';

/** Servers that we show our SVID to, by the ID that the configuration expects of them. */
export class ServerMetrics {
  readonly #handshakes: Counter<'expected' | 'result' | 'reason'>;

  constructor(registry: Registry) {
    this.#handshakes = new Counter({
      name: 'countersign_server_handshakes_total',
      help: 'Handshakes with upstreams that have a spiffeId: who proved to be it, and who did not.',
      labelNames: ['expected', 'result', 'reason'],
      registers: [registry],
    });
  }

  count(expected: string, result: 'accepted' | 'refused', reason: string): void {
    this.#handshakes.inc({ expected, result, reason });
  }
}
