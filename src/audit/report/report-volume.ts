import type { Volume } from './report-model.js';
import type { VolumeTally } from './volume-tally.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const SPANS_MS = [
  MINUTE_MS,
  5 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  HOUR_MS,
  3 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
  DAY_MS,
  7 * DAY_MS,
  30 * DAY_MS,
  365 * DAY_MS,
];
/** About as many bars as a page shows apart. */
const MOST_SPANS = 100;

/** What fills up the beginning of a time to a whole one. */
const REST = '0000-01-01T00:00:00.000Z';

/** Requests over time in spans of equal length, none left out: as many as can be shown apart. */
export function volumeOf({ spans }: VolumeTally): Volume {
  const [first, last] = [spans[0], spans.at(-1)];
  if (first === undefined || last === undefined) return { spanMs: HOUR_MS, spans: [] };
  const [fromMs, toMs] = [startOf(first[0]), startOf(last[0])];
  const grainMs = grainOf(first[0]);
  const fits = (ms: number): boolean => ms >= grainMs && (toMs - fromMs) / ms < MOST_SPANS - 1;
  const spanMs = SPANS_MS.find(fits) ?? Math.ceil((toMs - fromMs + 1) / MOST_SPANS);
  const begin = Math.floor(fromMs / spanMs) * spanMs;
  const count = Math.floor((toMs - begin) / spanMs) + 1;
  const sums = Array.from({ length: count }, () => ({ allowed: 0, refused: 0, failed: 0 }));
  for (const [key, { allowed, refused, failed }] of spans) {
    const into = sums[Math.floor((startOf(key) - begin) / spanMs)]!;
    into.allowed += allowed;
    into.refused += refused;
    into.failed += failed;
  }
  return {
    spanMs,
    spans: sums.map((counts, n) => ({ from: new Date(begin + n * spanMs).toISOString(), ...counts })),
  };
}

const startOf = (key: string): number => Date.parse(key + REST.slice(key.length));

const GRAINS: Readonly<Record<number, number>> = {
  16: MINUTE_MS,
  15: 10 * MINUTE_MS,
  13: HOUR_MS,
  10: DAY_MS,
  7: 30 * DAY_MS,
  4: 365 * DAY_MS,
};

const grainOf = (key: string): number => GRAINS[key.length] ?? MINUTE_MS;
