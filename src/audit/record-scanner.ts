import { KnownOpenings } from './known-openings.js';
import { type Fields, isRecordTime, parseObject } from './record-line.js';

/** What the records of one connection begin with. Those that begin alike share one, so that a reader may keep with it what it made of it. */
export interface RecordOpening {
  readonly fields: Fields;
}

/** One line that is a record: its fields are those of the opening and its own, and no name is in both. */
export interface ScannedRecord {
  readonly event: string;
  /** As it stands there. */
  readonly time: string;
  readonly opening: RecordOpening;
  /** From `seq` on; all of them where the line is not as we write it. */
  readonly fields: Fields;
}

const NO_OPENING: RecordOpening = { fields: {} };
const SEQ = ',"seq":';

/** Longest opening that is kept: several times what a record's can come to but for hostile names. */
const MAX_OPENING_LENGTH = 8192;

/**
 * Reads lines of records: what JSON.parse of the line would say, for less, since what precedes `seq` is alike for all records of
 * a connection and parsed once. In memory that does not grow with what is read.
 */
export class RecordScanner {
  readonly #openings = new KnownOpenings();

  /** The line is `bytes` from `start` to before `end`, without its newline. undefined: no record, that is no JSON object with an event and a time. */
  scan(bytes: Buffer, start: number, end: number): ScannedRecord | undefined {
    const text = bytes.toString('utf8', start, end);
    const seqAt = text.indexOf(SEQ);
    const record = seqAt > 0 ? this.#scanParts(text, seqAt) : undefined;
    return record ?? scanWhole(text);
  }

  /**
   * Where `opening}` is an object, the opening lies outside every string and every inner object, and ends after a member: so it
   * and `{rest` are the members of the line in their order. Of a name that is in both JSON.parse takes the last: such a line is
   * read whole.
   */
  #scanParts(text: string, seqAt: number): ScannedRecord | undefined {
    const opening = this.#openingOf(text.slice(0, seqAt));
    if (opening === undefined) return undefined;
    const fields = parseObject(`{${text.slice(seqAt + 1)}`);
    if (fields === undefined) return undefined;
    for (const name in opening.fields) if (Object.hasOwn(fields, name)) return undefined;
    return recordOf(opening, fields);
  }

  #openingOf(text: string): RecordOpening | undefined {
    if (text.length > MAX_OPENING_LENGTH) return parseOpening(text);
    const known = this.#openings.get(text);
    if (known !== undefined) return known;
    const opening = parseOpening(text);
    if (opening !== undefined) this.#openings.add(text, opening);
    return opening;
  }
}

/** The field of this name, wherever in the line it stands. */
export const fieldOf = ({ fields, opening }: ScannedRecord, name: string): unknown =>
  Object.hasOwn(fields, name) ? fields[name] : ownOf(opening.fields, name);

const ownOf = (fields: Fields, name: string): unknown =>
  Object.hasOwn(fields, name) ? fields[name] : undefined;

function parseOpening(text: string): RecordOpening | undefined {
  const fields = parseObject(`${text}}`);
  // `{` alone has no member that a comma could follow.
  return fields === undefined || Object.keys(fields).length === 0 ? undefined : { fields };
}

function scanWhole(text: string): ScannedRecord | undefined {
  const fields = parseObject(text);
  return fields === undefined ? undefined : recordOf(NO_OPENING, fields);
}

function recordOf(opening: RecordOpening, fields: Fields): ScannedRecord | undefined {
  const { event, time } = fields;
  return typeof event === 'string' && isRecordTime(time) ? { event, time, opening, fields } : undefined;
}
