/** What a balancer chooses among. */
export interface Candidate {
  /** Requests under way. */
  readonly open: number;
  isOut(): boolean;
}

/** Takes turns among what is in; `least_requests` lets whoever has fewest open go first, and turns break ties. */
export class Balancer<T extends Candidate> {
  #next = 0;

  constructor(
    readonly candidates: readonly T[],
    readonly kind: 'round_robin' | 'least_requests',
  ) {}

  /** @param without those not to be chosen. Where all others are out, one of them is chosen all the same. */
  choose(without?: readonly unknown[]): T | undefined {
    const { candidates } = this;
    if (candidates.length === 1 && without === undefined) return candidates[0];
    return (
      this.#first((one) => without?.includes(one) !== true && !one.isOut()) ??
      this.#first((one) => without?.includes(one) !== true)
    );
  }

  #first(isFine: (candidate: T) => boolean): T | undefined {
    const { candidates, kind } = this;
    const { length } = candidates;
    let best = -1;
    for (let i = 0; i < length; i++) {
      const at = (this.#next + i) % length;
      const one = candidates[at]!;
      if (!isFine(one) || (best >= 0 && one.open >= candidates[best]!.open)) continue;
      best = at;
      if (kind === 'round_robin') break;
    }
    if (best < 0) return undefined;
    this.#next = (best + 1) % length;
    return candidates[best];
  }
}
