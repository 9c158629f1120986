export type CircuitState = 'closed' | 'open' | 'half_open';

/** Leave to ask once; its outcome is told with it. */
export interface Ticket {
  readonly generation: number;
}

/**
 * Keeps requests from waiting for an engine that does not answer: after so many failures in a row none is asked for a
 * while, then a single question finds out. Ticks are milliseconds of the monotonic clock.
 */
export class Circuit {
  #failures = 0;
  #openUntilMs = 0;
  #isProbing = false;
  #state: CircuitState = 'closed';
  /** What was asked before the last change of state says nothing about it. */
  #generation = 0;

  constructor(
    readonly maxFailures: number,
    readonly openMs: number,
  ) {}

  state(tickMs: number): CircuitState {
    if (this.#state === 'open' && tickMs >= this.#openUntilMs) return 'half_open';
    return this.#state;
  }

  /** @returns undefined where nothing may be asked now. Each ticket ends with one of the three below. */
  enter(tickMs: number): Ticket | undefined {
    const state = this.state(tickMs);
    if (state === 'open' || (state === 'half_open' && this.#isProbing)) return undefined;
    if (state === 'half_open') {
      this.#change('half_open');
      this.#isProbing = true;
    }
    return { generation: this.#generation };
  }

  succeeded({ generation }: Ticket): void {
    if (generation !== this.#generation) return;
    this.#failures = 0;
    if (this.#state !== 'closed') this.#change('closed');
  }

  failed({ generation }: Ticket, tickMs: number): void {
    if (generation !== this.#generation) return;
    this.#failures++;
    if (this.#state === 'closed' && this.#failures < this.maxFailures) return;
    this.#openUntilMs = tickMs + this.openMs;
    this.#change('open');
  }

  /** Whoever asked has gone: that says nothing of the engine. */
  givenUp({ generation }: Ticket): void {
    if (generation === this.#generation) this.#isProbing = false;
  }

  #change(state: CircuitState): void {
    this.#state = state;
    this.#generation++;
    this.#isProbing = false;
    this.#failures = 0;
  }
}
