/** Of the forms of a date the one that may be sent (RFC 9110 5.6.7). */
const IMF_FIXDATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** RFC 9110 10.2.3: seconds or a date -> milliseconds from `nowMs`; undefined where it says neither. */
export function retryAfterMs(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const at = IMF_FIXDATE.test(value) ? Date.parse(value) : Number.NaN; // `-5` would be a year
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}
