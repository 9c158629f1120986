/** Requests that began within one span of time. */
export interface VolumeCounts {
  allowed: number;
  refused: number;
  /** Of those allowed, which did not end well. */
  failed: number;
}

/** Characters of a time that tell the minute, ten minutes, the hour, the day, the month, the year. */
const GRAINS = [16, 15, 13, 10, 7, 4] as const;
const MAX_SPANS = 4000;

/** Requests over time, in spans as fine as memory allows: of a minute, and coarser where there come to be too many. */
export class VolumeTally {
  #grain = 0;
  #spans = new Map<string, VolumeCounts>();
  #lastKey = '';
  #last: VolumeCounts = nothing();

  /** @param time as records have it. */
  at(time: string): VolumeCounts {
    if (this.#lastKey !== '' && time.startsWith(this.#lastKey)) return this.#last;
    const key = time.slice(0, GRAINS[this.#grain]);
    let span = this.#spans.get(key);
    if (span === undefined) {
      span = nothing();
      this.#spans.set(key, span);
      if (this.#spans.size > MAX_SPANS && this.#grain < GRAINS.length - 1) {
        this.#coarsen();
        return this.at(time);
      }
    }
    this.#lastKey = key;
    this.#last = span;
    return span;
  }

  /** In order of time; keys are the beginnings of times. */
  get spans(): readonly (readonly [string, Readonly<VolumeCounts>])[] {
    return [...this.#spans].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  #coarsen(): void {
    const finer = this.#spans;
    this.#grain++;
    this.#lastKey = '';
    this.#spans = new Map();
    for (const [key, counts] of finer) {
      const coarse = key.slice(0, GRAINS[this.#grain]);
      const into = this.#spans.get(coarse) ?? nothing();
      this.#spans.set(coarse, into);
      into.allowed += counts.allowed;
      into.refused += counts.refused;
      into.failed += counts.failed;
    }
  }
}

const nothing = (): VolumeCounts => ({ allowed: 0, refused: 0, failed: 0 });
