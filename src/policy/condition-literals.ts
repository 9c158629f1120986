import { err, ok, type Result } from '../reasons.js';

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
const DURATION = /^-?(?:\d{1,9}(?:h|ms|m|s))+$/;
const PART = /(\d+)(h|ms|m|s)/g;
const HUNDRED_YEARS_MS = 36_525 * 86_400_000;

/**
 * Milliseconds of `90m`, `1h30m`, `-500ms`. Stricter than the library, whose reading takes a bare unit for zero and knows
 * no bound: sums of a hundred years at most stay inside what a date can be.
 */
export function parseDurationLiteral(text: string): Result<number, string> {
  if (!DURATION.test(text)) {
    return err('a duration is written in h, m, s and ms, as in "90m" or "1h30m" (a day is "24h")');
  }
  let ms = 0;
  for (const [, count, unit] of text.matchAll(PART)) ms += Number(count) * UNIT_MS[unit!]!;
  if (ms > HUNDRED_YEARS_MS) return err('a duration is at most 100 years');
  return ok(text.startsWith('-') ? -ms : ms);
}

const TIMESTAMP = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,3})?(?:Z|[+-](\d{2}):(\d{2}))$/;

/** Unix milliseconds of an RFC 3339 time. Without an offset it would mean another moment on every machine; refused. */
export function parseTimestampLiteral(text: string): Result<number, string> {
  const form = 'a timestamp is written as "2026-11-21T10:00:00Z", with Z or an offset';
  const match = TIMESTAMP.exec(text);
  if (match === null) return err(form);
  const [year, month, day, hour, minute, second, offsetHour, offsetMinute] = match
    .slice(1)
    .map((part) => Number(part ?? 0)) as [number, number, number, number, number, number, number, number];
  const isClock = hour < 24 && minute < 60 && second < 60 && offsetHour < 24 && offsetMinute < 60;
  // the engine takes 30 February for 2 March
  const isDay =
    month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
  if (!isClock || !isDay || year < 1000) return err(`${text} is no time; ${form}`);
  return ok(Date.parse(text));
}
