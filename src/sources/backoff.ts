const FIRST_MS = 1000;
const LONGEST_MS = 30_000;
/** Drawn once for each process: sidecars that lost one agent or server together do not all come back in the same instant. */
const SPREAD = 0.25;

/**
 * Delays between attempts: 1 s, doubling, 30 s at most, never shorter than the one before until `reset`. The spread is kept at
 * the longest too. `draw` gives a number from 0 to 1.
 */
export class Backoff {
  #attempts = 0;
  readonly #factor: number;

  constructor(draw: () => number) {
    this.#factor = 1 + SPREAD * draw();
  }

  nextMs(): number {
    const base = Math.min(FIRST_MS * 2 ** this.#attempts, LONGEST_MS / (1 + SPREAD));
    this.#attempts++;
    return Math.round(base * this.#factor);
  }

  reset(): void {
    this.#attempts = 0;
  }
}
