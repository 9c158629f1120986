import type { RequestRate } from '../config/config.js';

/**
 * A token bucket as the generic cell rate algorithm keeps it (ITU-T I.371): one number, when it will be full again; 0 = it is.
 * Times are whole parts of a millisecond, `count` to each, so that one request always weighs `perMs` and no sum is rounded.
 */
export type FullAt = number;

export const FULL: FullAt = 0;

const partsAt = ({ count }: RequestRate, tickMs: number): number => Math.floor(tickMs * count);

/** What is not filled again, in parts. */
const missing = (rate: RequestRate, fullAt: FullAt, tickMs: number): number =>
  Math.max(0, fullAt - partsAt(rate, tickMs));

export const isFull = (rate: RequestRate, fullAt: FullAt, tickMs: number): boolean =>
  fullAt <= partsAt(rate, tickMs);

/** Milliseconds until a request may be taken; 0 = now. @param tickMs of a clock that never steps. */
export function waitMs(rate: RequestRate, fullAt: FullAt, tickMs: number): number {
  const over = missing(rate, fullAt, tickMs) + rate.perMs - rate.burst * rate.perMs;
  return over <= 0 ? 0 : over / rate.count;
}

/** The bucket after one more request. */
export const afterOne = (rate: RequestRate, fullAt: FullAt, tickMs: number): FullAt =>
  Math.max(fullAt, partsAt(rate, tickMs)) + rate.perMs;

/** How many requests may come at once. */
export const remaining = (rate: RequestRate, fullAt: FullAt, tickMs: number): number =>
  Math.max(0, Math.floor(rate.burst - missing(rate, fullAt, tickMs) / rate.perMs));

/** The same bucket under another rate: what was spent stays spent, but nobody owes more than a whole new bucket. */
export function underRate(from: RequestRate, to: RequestRate, fullAt: FullAt, tickMs: number): FullAt {
  const spent = Math.min(missing(from, fullAt, tickMs) / from.perMs, to.burst);
  return partsAt(to, tickMs) + Math.ceil(spent * to.perMs);
}
