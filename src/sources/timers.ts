/** Waiting, as tests can take the place of. */
export interface Timers {
  /** Runs once after `ms` milliseconds (at most 2^31 - 1). @returns what cancels it. */
  after(ms: number, run: () => void): () => void;
}

export const systemTimers: Timers = {
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
