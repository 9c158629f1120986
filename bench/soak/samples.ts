import { readdirSync, readFileSync } from 'node:fs';
import { round, slope } from '../support/statistics.js';

export interface Sample {
  readonly second: number;
  readonly rssKiB: number;
  readonly fds: number;
}

/** Watches a process's memory and descriptors, once a second, from outside. */
export class Sampler {
  readonly samples: Sample[] = [];
  readonly #startedMs = performance.now();
  readonly #timer: NodeJS.Timeout;

  constructor(readonly pid: number) {
    this.#timer = setInterval(() => this.#sample(), 1000);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #sample(): void {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    this.samples.push({
      second: round((performance.now() - this.#startedMs) / 1000, 1),
      rssKiB: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]),
      fds: readdirSync(`/proc/${this.pid}/fd`).length,
    });
  }
}

export interface Growth {
  readonly rssKiBPerMinute: number;
  readonly fdsPerMinute: number;
  readonly lastRssKiB: number;
  readonly lastFds: number;
}

/** After the first third, in which caches fill and code is compiled. */
export function growthOf(samples: readonly Sample[]): Growth {
  const steady = samples.slice(Math.floor(samples.length / 3));
  const last = samples[samples.length - 1];
  return {
    rssKiBPerMinute: round(slope(steady.map(({ second, rssKiB }) => [second / 60, rssKiB])), 0),
    fdsPerMinute: round(slope(steady.map(({ second, fds }) => [second / 60, fds]))),
    lastRssKiB: last?.rssKiB ?? 0,
    lastFds: last?.fds ?? 0,
  };
}
