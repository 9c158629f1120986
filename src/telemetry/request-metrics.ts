import { Counter, type Registry } from 'prom-client';
import { DurationMetric, type Durations } from './duration-metric.js';

interface RequestLabels extends Record<string, string> {
  readonly listener: string;
  readonly route: string;
  readonly trust_domain: string;
  readonly effect: string;
  readonly code: string;
}

/** One series of the counter. */
interface Tally {
  readonly listener: string;
  readonly route: string;
  readonly trustDomain: string;
  readonly effect: string;
  readonly code: number;
  readonly labels: RequestLabels;
  readonly durations: Durations;
  /** Since the last scrape. */
  count: number;
}

/** How many requests ended how, and how long they took: counted in plain numbers, which a scrape turns into metrics. */
export class RequestMetrics {
  readonly #tallies = new Map<string, Tally>();
  readonly #durations: DurationMetric;
  /** Most requests end like the one before: then no key need be made. */
  #last: Tally | undefined;

  constructor(registry: Registry) {
    const tallies = this.#tallies;
    new Counter({
      name: 'countersign_requests_total',
      help: 'Requests by outcome.',
      labelNames: ['listener', 'route', 'trust_domain', 'effect', 'code'],
      registers: [registry],
      collect() {
        for (const tally of tallies.values()) {
          this.inc(tally.labels, tally.count);
          tally.count = 0;
        }
      },
    });
    this.#durations = new DurationMetric(
      'countersign_request_duration_seconds',
      'Time from the request head to the last byte of its answer.',
      ['listener', 'route'],
      [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    );
    this.#durations.register(registry);
  }

  observe(
    listener: string,
    route: string,
    trustDomain: string,
    effect: string,
    code: number,
    seconds: number,
  ): void {
    let tally = this.#last;
    if (
      tally === undefined ||
      tally.code !== code ||
      tally.route !== route ||
      tally.effect !== effect ||
      tally.trustDomain !== trustDomain ||
      tally.listener !== listener
    ) {
      tally = this.#tallyOf(listener, route, trustDomain, effect, code);
      this.#last = tally;
    }
    tally.count++;
    tally.durations.observe(seconds);
  }

  #tallyOf(listener: string, route: string, trustDomain: string, effect: string, code: number): Tally {
    const key = `${listener}\n${route}\n${trustDomain}\n${effect}\n${code}`;
    const known = this.#tallies.get(key);
    if (known !== undefined) return known;
    const labels = { listener, route, trust_domain: trustDomain, effect, code: codeLabel(code) };
    const durations = this.#durations.of({ listener, route });
    const tally = { listener, route, trustDomain, effect, code, labels, durations, count: 0 };
    this.#tallies.set(key, tally);
    return tally;
  }
}

/** The label of a status: an upstream may answer with any of 500 numbers, and it is not to choose how many series there are. */
const codeLabel = (code: number): string => {
  if (code === 0) return 'none';
  return KNOWN_CODES.has(code) ? String(code) : `${Math.floor(code / 100)}xx`;
};

const KNOWN_CODES = new Set([
  101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412,
  413, 414, 415, 416, 417, 421, 422, 429, 431, 500, 501, 502, 503, 504, 505, 508,
]);
