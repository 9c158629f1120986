/** Places to the power of two: a percentile is right within 9 %. */
const PER_OCTAVE = 8;
/** Place of 1 ms; a microsecond is the least that is told apart. */
const OF_ONE_MS = 10 * PER_OCTAVE;
/** Up to 2^32 ms. */
const PLACES = OF_ONE_MS + 32 * PER_OCTAVE;

/** Durations by their logarithm, in a thousand bytes however many they are. */
export class DurationHistogram {
  readonly #counts = new Uint32Array(PLACES);
  count = 0;
  maxMs = 0;

  add(ms: number): void {
    if (!(ms >= 0)) return; // NaN too
    const place = ms <= 0 ? 0 : Math.round(Math.log2(ms) * PER_OCTAVE) + OF_ONE_MS;
    const at = Math.min(PLACES - 1, Math.max(0, place));
    this.#counts[at] = this.#counts[at]! + 1;
    this.count++;
    if (ms > this.maxMs) this.maxMs = ms;
  }

  /** Milliseconds, to two figures; undefined where there are none. */
  percentile(share: number): number | undefined {
    if (this.count === 0) return undefined;
    let left = Math.ceil(this.count * share);
    for (let at = 0; at < PLACES; at++) {
      left -= this.#counts[at]!;
      if (left <= 0)
        return Math.min(this.maxMs, Number((2 ** ((at - OF_ONE_MS) / PER_OCTAVE)).toPrecision(2)));
    }
    return this.maxMs;
  }
}
