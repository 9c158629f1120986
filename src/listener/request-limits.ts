import type { Config, Limits, RequestRate, RouteConfig, RouteLimits } from '../config/config.js';
import { OpenCounts } from './open-counts.js';
import { PrincipalBuckets } from './principal-buckets.js';
import { type OpenGate, type RateGate, RouteLimiter } from './route-limiter.js';

/**
 * Saying no costs time too, which a caller that does not wait would take from the others. So it is read more slowly, the more it
 * is refused: over all its connections it gets no more than so many refusals in the long run.
 */
const REFUSALS = { count: 500, perMs: 1000, burst: 500 };

/** Of the general limits, as against those of a route: no route has an empty name. */
const ALL_ROUTES = '';

/**
 * The limits on requests that a configuration asks for, and what callers have used of them: by verified SPIFFE ID, so that
 * neither a new connection nor a new certificate begins anew. Another configuration changes the limits and keeps the state.
 */
export class RequestLimits {
  #config: Config | undefined;
  #byRoute = new Map<string, RouteLimiter>();
  #general: RouteLimiter | undefined;
  #buckets = new Map<string, PrincipalBuckets>();
  #counts = new Map<string, OpenCounts>();
  readonly #refusals = new PrincipalBuckets(REFUSALS);

  /**
   * What limits a request; undefined = nothing.
   * @param route its name; undefined where none matched: then the general limits count.
   */
  limiterOf(config: Config, route: string | undefined, tickMs: number): RouteLimiter | undefined {
    if (config !== this.#config) this.#adopt(config, tickMs);
    if (this.#byRoute.size === 0) return this.#general;
    return (route === undefined ? undefined : this.#byRoute.get(route)) ?? this.#general;
  }

  /** A caller was refused: for how many milliseconds its connection is to be read no further, from 2 to a second. */
  holdBackMs(id: string, tickMs: number): number {
    if (this.#refusals.waitMs(id, tickMs) === 0) this.#refusals.take(id, tickMs);
    return ((REFUSALS.burst - this.#refusals.remaining(id, tickMs)) * REFUSALS.perMs) / REFUSALS.count;
  }

  #adopt(config: Config, tickMs: number): void {
    const next = new Adoption(this.#buckets, this.#counts, tickMs);
    this.#general = next.limiterOf(config.limits, undefined);
    this.#byRoute = new Map();
    for (const route of config.listeners.flatMap(({ routes }) => routes)) {
      if (route.limits === undefined) continue;
      const limiter = next.limiterOf(config.limits, route);
      if (limiter !== undefined) this.#byRoute.set(route.name, limiter);
    }
    this.#buckets = next.buckets;
    this.#counts = next.counts;
    this.#config = config;
  }
}

/** One change of configuration: whatever goes on under the same name keeps its state. */
class Adoption {
  readonly buckets = new Map<string, PrincipalBuckets>();
  readonly counts = new Map<string, OpenCounts>();

  constructor(
    readonly bucketsBefore: ReadonlyMap<string, PrincipalBuckets>,
    readonly countsBefore: ReadonlyMap<string, OpenCounts>,
    readonly tickMs: number,
  ) {}

  limiterOf(general: Limits, route: RouteConfig | undefined): RouteLimiter | undefined {
    const own: RouteLimits = route?.limits ?? {};
    const routeName = route?.name ?? ALL_ROUTES;
    /** A word of the route replaces the general one. */
    const scopeOf = (word: unknown): string => (word === undefined ? ALL_ROUTES : routeName);
    const rates = [
      this.#rateGate(
        'requestsPerPrincipal',
        scopeOf(own.requestsPerPrincipal),
        own.requestsPerPrincipal ?? general.requestsPerPrincipal,
      ),
      this.#rateGate('requests', routeName, own.requests),
    ];
    const open = [
      this.#openGate(
        'concurrentPerPrincipal',
        scopeOf(own.concurrentPerPrincipal),
        own.concurrentPerPrincipal ?? general.concurrentPerPrincipal,
      ),
      this.#openGate('concurrent', routeName, own.concurrent),
    ];
    const limiter = new RouteLimiter(rates.filter(isThere), open.filter(isThere));
    return limiter.rates.length + limiter.open.length === 0 ? undefined : limiter;
  }

  #rateGate(name: string, scope: string, rate: RequestRate | undefined): RateGate | undefined {
    if (rate === undefined) return undefined;
    const key = `${scope}/${name}`;
    const buckets = this.buckets.get(key) ?? this.bucketsBefore.get(key) ?? new PrincipalBuckets(rate);
    buckets.change(rate, this.tickMs);
    this.buckets.set(key, buckets);
    return { name, buckets, isShared: name === 'requests' };
  }

  #openGate(name: string, scope: string, most: number | undefined): OpenGate | undefined {
    if (most === undefined) return undefined;
    const key = `${scope}/${name}`;
    const counts = this.counts.get(key) ?? this.countsBefore.get(key) ?? new OpenCounts(most);
    counts.most = most;
    this.counts.set(key, counts);
    return { name, counts, isShared: name === 'concurrent' };
  }
}

const isThere = <T>(gate: T | undefined): gate is T => gate !== undefined;
