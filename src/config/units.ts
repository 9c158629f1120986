import { err, ok, type Result } from '../reasons.js';

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
const UNIT_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

export const DURATION_PATTERN = '^[0-9]{1,9}(ms|s|m|h|d)$';
export const RATE_PATTERN = '^[0-9]{1,6}/(s|m|h)$';
export const SIZE_PATTERN = '^[0-9]{1,9}(B|KiB|MiB|GiB)$';
export const SIZE_OR_UNLIMITED_PATTERN = '^([0-9]{1,9}(B|KiB|MiB|GiB)|unlimited)$';

const QUANTITY = /^([0-9]{1,9})([A-Za-z]*)$/;

/** `250ms`, `10s`, `5m`, `1h`, `2d` -> milliseconds. */
export function parseDuration(text: string): Result<number, string> {
  const match = QUANTITY.exec(text);
  if (match === null) return err(`"${text}" is not a duration, such as 250ms, 10s, 5m, 1h or 2d`);
  const unit = match[2] ?? '';
  if (unit === '') return err(`"${text}" has no unit; write ${text}s or ${text}ms`);
  const factor = Object.hasOwn(UNIT_MS, unit) ? UNIT_MS[unit] : undefined;
  if (factor === undefined) return err(`"${unit}" is not a unit of time; use ms, s, m, h or d`);
  return ok(Number(match[1]) * factor);
}

/** `512B`, `32KiB`, `1MiB`, `2GiB` -> bytes; `unlimited` -> Infinity where that may be said. */
export function parseSize(text: string, mayBeUnlimited: boolean): Result<number, string> {
  if (text === 'unlimited') {
    return mayBeUnlimited ? ok(Number.POSITIVE_INFINITY) : err('cannot be unlimited');
  }
  const match = QUANTITY.exec(text);
  if (match === null) return err(`"${text}" is not a size, such as 512B, 32KiB or 1MiB`);
  const unit = match[2] ?? '';
  if (unit === '') return err(`"${text}" has no unit; write ${text}B or ${text}KiB`);
  const factor = Object.hasOwn(UNIT_BYTES, unit) ? UNIT_BYTES[unit] : undefined;
  if (factor === undefined) return err(`"${unit}" is not a unit of size; use B, KiB, MiB or GiB`);
  return ok(Number(match[1]) * factor);
}

const RATE = /^([0-9]{1,6})\/([A-Za-z]*)$/;
/** A bucket counts in fractions of a millisecond that this many fit in: sums of them stay exact for years. */
const MAX_RATE = 100_000;

/** `500/s`, `30/m`, `1000/h` -> so many in so many milliseconds. */
export function parseRate(text: string): Result<{ readonly count: number; readonly perMs: number }, string> {
  const match = RATE.exec(text);
  if (match === null) {
    return err(
      /^[0-9]+$/.test(text)
        ? `"${text}" has no unit; write ${text}/s or ${text}/m`
        : `"${text}" is not a rate, such as 500/s, 30/m or 1000/h`,
    );
  }
  const unit = match[2] ?? '';
  if (unit !== 's' && unit !== 'm' && unit !== 'h') {
    return err(`"${unit}" is not what a rate is counted by; use s, m or h`);
  }
  const count = Number(match[1]);
  if (count < 1 || count > MAX_RATE) return err(`must be from 1/${unit} to ${MAX_RATE}/${unit}`);
  return ok({ count, perMs: UNIT_MS[unit]! });
}

const TIMESTAMP = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;

/** RFC 3339 with its zone -> milliseconds since 1970; a date that no calendar has (30 February) is refused. */
export function parseTimestamp(text: string): Result<number, string> {
  const match = TIMESTAMP.exec(text);
  const wrong = err(`"${text}" is not a time, such as 2026-11-21T10:00:00Z`);
  if (match === null) return wrong;
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) return wrong;
  // Date.parse rolls 30 February over into March: read the date back to see that it stood still.
  const day = new Date(Date.UTC(Number(match[1]), Number(match[2]) - 1, Number(match[3])));
  return day.getUTCDate() === Number(match[3]) && Number(match[4]) < 24 ? ok(ms) : wrong;
}
