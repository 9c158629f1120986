/** JSON as it was read back: what we wrote, or what somebody made of it. Whoever uses a field checks it. */
export type Fields = Readonly<Record<string, unknown>>;

/** One line of a record file that is a record. */
export interface RecordLine {
  readonly event: string;
  /** As it stands there. */
  readonly time: string;
  /** Unix milliseconds. */
  readonly timeMs: number;
  readonly fields: Fields;
}

/** Reads one line; undefined where it is no record: not JSON, or without an event and a time. */
export function parseRecordLine(text: string): RecordLine | undefined {
  const fields = parseObject(text);
  if (fields === undefined) return undefined;
  const { event, time } = fields;
  if (typeof event !== 'string' || typeof time !== 'string') return undefined;
  const timeMs = parseRecordTime(time);
  return timeMs === undefined ? undefined : { event, time, timeMs, fields };
}

const RECORD_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;

/** A time as records have it -> Unix milliseconds. */
export function parseRecordTime(value: unknown): number | undefined {
  if (typeof value !== 'string' || !RECORD_TIME.test(value)) return undefined;
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Of the forms that are accepted the one that we write, told without Date.parse. */
const OUR_TIME = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z$/;

export const isRecordTime = (value: unknown): value is string =>
  typeof value === 'string' && (OUR_TIME.test(value) || parseRecordTime(value) !== undefined);

/** The fields of an object within a record; none where it is something else. */
export const fieldsOf = (value: unknown): Fields => (isObject(value) ? value : NO_FIELDS);

export const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

const NO_FIELDS: Fields = {};

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JSON object; undefined where the text is anything else. */
export function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
