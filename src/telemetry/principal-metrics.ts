import { Counter, type Registry } from 'prom-client';

interface Tally {
  readonly destination: string;
  readonly effect: string;
  readonly labels: { readonly principal: string; readonly destination: string; readonly effect: string };
  /** Since the last scrape. */
  count: number;
}

interface Principal {
  readonly id: string;
  /** Few: destinations are those of the configuration. */
  readonly tallies: Tally[];
}

const OTHER = 'other';

/** Requests by caller and destination. The first so many callers have series of their own; all others share one name. */
export class PrincipalMetrics {
  readonly #principals = new Map<string, Principal>();
  readonly #other: Principal = { id: OTHER, tallies: [] };
  /** Most requests come from whom the one before came from. */
  #last: { readonly asked: string; readonly principal: Principal } | undefined;

  constructor(registry: Registry) {
    const all = (): Principal[] => [...this.#principals.values(), this.#other];
    new Counter({
      name: 'countersign_principal_requests_total',
      help: 'Requests of verified identities; of those beyond metrics.principals as `other`.',
      labelNames: ['principal', 'destination', 'effect'],
      registers: [registry],
      collect() {
        for (const { tallies } of all()) {
          for (const tally of tallies) {
            if (tally.count > 0) this.inc(tally.labels, tally.count);
            tally.count = 0;
          }
        }
      },
    });
  }

  /** @param most how many callers are told apart */
  count(id: string, destination: string, effect: string, most: number): void {
    const principal = this.#last?.asked === id ? this.#last.principal : this.#principalOf(id, most);
    this.#tallyOf(principal, destination, effect).count++;
  }

  #principalOf(id: string, most: number): Principal {
    let principal = this.#principals.get(id);
    if (principal === undefined && this.#principals.size < most) {
      principal = { id, tallies: [] };
      this.#principals.set(id, principal);
    }
    principal ??= this.#other;
    this.#last = { asked: id, principal };
    return principal;
  }

  #tallyOf({ id, tallies }: Principal, destination: string, effect: string): Tally {
    for (const tally of tallies)
      if (tally.destination === destination && tally.effect === effect) return tally;
    const labels = { principal: id, destination, effect };
    const tally = { destination, effect, labels, count: 0 };
    tallies.push(tally);
    return tally;
  }
}
