import { parseRecordTime } from '../record-line.js';

/** Unix milliseconds: `sinceMs` <= time < `untilMs`; undefined: no bound. */
export interface TimeSpan {
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  /** The same as records write them. */
  readonly since: string | undefined;
  readonly until: string | undefined;
}

/** Length of a time as we write it: such times are in order as text. */
const OUR_LENGTH = '2026-11-21T10:00:00.000Z'.length;

export function timeSpan(sinceMs: number | undefined, untilMs: number | undefined): TimeSpan {
  return { sinceMs, untilMs, since: isoOf(sinceMs), until: isoOf(untilMs) };
}

/** @param time of a record. */
export function isWithin({ since, until, sinceMs, untilMs }: TimeSpan, time: string): boolean {
  if (since === undefined && until === undefined) return true;
  if (time.length === OUR_LENGTH)
    return (since === undefined || time >= since) && (until === undefined || time < until);
  const ms = parseRecordTime(time) ?? Number.NaN;
  return (sinceMs === undefined || ms >= sinceMs) && (untilMs === undefined || ms < untilMs);
}

const isoOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();

/** Times are compared as text: ours are all of one form. */
export function widen(span: { first: string; last: string }, time: string): void {
  if (time > span.last) span.last = time;
  if (span.first === '' || time < span.first) span.first = time;
}
