/** Time and lots, so that tests need not wait for either. */
export interface Pacing {
  /** Runs once, later; the answer takes it back. */
  schedule(delayMs: number, run: () => void): () => void;
  /** From 0 to 1. */
  draw(): number;
}

export const systemPacing: Pacing = {
  schedule: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  draw: Math.random,
};
