import type { Refusal } from '../reasons.js';
import type { OpenCounts } from './open-counts.js';
import type { PrincipalBuckets } from './principal-buckets.js';

/** A no, with what its answer tells the client. */
export interface LimitRefusal extends Refusal {
  /** Flat: name, value. */
  readonly headers: readonly string[];
}

/** One configured limit, under its name in the configuration. */
interface Gate {
  readonly name: string;
  /** One for all callers, not one for each. */
  readonly isShared: boolean;
}

export interface RateGate extends Gate {
  readonly buckets: PrincipalBuckets;
}

export interface OpenGate extends Gate {
  readonly counts: OpenCounts;
}

/** Nobody can tell when a request ends: a client that was refused for too many at once asks again after this. */
const ENDS_SECONDS = 1;
const EVERYBODY = '';

/** The limits on the requests of one route. A request is counted against all of them, or, refused, against none. */
export class RouteLimiter {
  constructor(
    readonly rates: readonly RateGate[],
    readonly open: readonly OpenGate[],
  ) {}

  /** Counts a request of this caller; `leave` is owed once for each that is not refused. */
  enter(id: string, tickMs: number): LimitRefusal | undefined {
    const { rates, open } = this;
    for (let i = 0; i < rates.length; i++)
      if (rates[i]!.buckets.waitMs(keyOf(rates[i]!, id), tickMs) > 0) return this.#tooFast(id, tickMs);
    for (let i = 0; i < open.length; i++)
      if (!open[i]!.counts.hasRoom(keyOf(open[i]!, id))) return this.#tooMany(id);
    for (let i = 0; i < rates.length; i++) rates[i]!.buckets.take(keyOf(rates[i]!, id), tickMs);
    for (let i = 0; i < open.length; i++) open[i]!.counts.enter(keyOf(open[i]!, id));
    return undefined;
  }

  /** The request is over. */
  leave(id: string): void {
    for (const gate of this.open) gate.counts.leave(keyOf(gate, id));
  }

  /**
   * For answers that are no refusal (draft-ietf-httpapi-ratelimit-headers-11). Only what is this caller's own: what all share
   * would tell it of the others.
   */
  headers(id: string, tickMs: number): string[] {
    const own = this.rates.filter(({ isShared }) => !isShared);
    if (own.length === 0) return [];
    const limits = own.map((gate) => {
      const left = gate.buckets.remaining(id, tickMs);
      const { count, perMs } = gate.buckets.rate;
      // Whoever spreads what is left over this time never goes faster than the rate (section 8.5).
      const seconds = Math.ceil((Math.max(1, left) * perMs) / count / 1000);
      return `"${gate.name}";r=${left};t=${seconds}`;
    });
    return ['RateLimit-Policy', own.map(policyOf).join(', '), 'RateLimit', limits.join(', ')];
  }

  #tooFast(id: string, tickMs: number): LimitRefusal {
    const waits = this.rates.map((gate) => gate.buckets.waitMs(keyOf(gate, id), tickMs));
    const over = this.rates.filter((_, i) => waits[i]! > 0);
    const seconds = waits.filter((ms) => ms > 0).map((ms) => Math.max(1, Math.ceil(ms / 1000)));
    return {
      reason: 'rate_limited',
      detail: `over ${namesOf(over)}`,
      headers: [
        'Retry-After',
        String(Math.max(...seconds)),
        'RateLimit-Policy',
        over.map(policyOf).join(', '),
        'RateLimit',
        over.map(({ name }, i) => `"${name}";r=0;t=${seconds[i]}`).join(', '),
      ],
    };
  }

  #tooMany(id: string): LimitRefusal {
    const over = this.open.filter((gate) => !gate.counts.hasRoom(keyOf(gate, id)));
    return {
      reason: 'concurrency_limited',
      detail: `over ${namesOf(over)}`,
      headers: [
        'Retry-After',
        String(ENDS_SECONDS),
        'RateLimit-Policy',
        over.map(({ name, counts }) => `"${name}";q=${counts.most};qu="concurrent-requests"`).join(', '),
        'RateLimit',
        over.map(({ name }) => `"${name}";r=0`).join(', '),
      ],
    };
  }
}

const keyOf = ({ isShared }: Gate, id: string): string => (isShared ? EVERYBODY : id);
const namesOf = (gates: readonly Gate[]): string => gates.map(({ name }) => name).join(', ');

/** A bucket in the draft's words: as many requests as it holds, in the time that it takes to fill. */
function policyOf({ name, buckets }: RateGate): string {
  const { count, perMs, burst } = buckets.rate;
  return `"${name}";q=${burst};w=${Math.ceil((burst * perMs) / count / 1000)}`;
}
