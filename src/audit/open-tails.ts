import { createHash, type Hash } from 'node:crypto';
import { piecesOf } from './glued-line.js';
import { fieldsOf, parseRecordLine, textOf } from './record-line.js';
import { parseSealLine, type StreamName } from './seal-line.js';

/** A stream whose end nobody wrote: its process was killed, or could not write any more. */
export interface OpenTail {
  readonly stream: StreamName;
  /** Last sequence number found; 0 where there is none. */
  readonly after: number;
  /** Lines that no seal covers. */
  readonly unsealed: number;
  /** What there is of them; undefined where there are none, or where not all of them were read. */
  readonly lines: AdoptedLines | undefined;
}

export interface AdoptedLines {
  readonly from: number;
  readonly to: number;
  /** base64url SHA-256 of the lines' bytes in order, newlines included; then of torn ones of the stream, each ended by a newline. */
  readonly hash: string;
}

interface Stream {
  readonly name: StreamName;
  /** What each of its lines begins with. */
  readonly opening: string;
  hash: Hash;
  from: number;
  to: number;
  unsealed: number;
  /** A seal of it was seen, or the beginning of the file. */
  isKnownFrom: boolean;
  hasEnded: boolean;
  /** Lines of it that were not written to their end, and that nothing of it follows. */
  torn: Buffer[];
}

const NEWLINE = Buffer.of(0x0a);
const LINE_HEAD_BYTES = 1024;
/** More of one stream are proven by nobody. */
const MAX_TORN = 100;
/** A record's time is the beginning of its request, which may be long before it was written: the newest of so many is not. */
const FIRST_LINES = 64;

/** Reads the end of a file of records: which streams in it have lines that no seal covers, or ended without a last word. */
export class OpenTails {
  readonly #streams = new Map<string, Stream>();
  #lines = 0;
  /** Of the first lines, and of all; as records have it, which sorts. */
  #firstTime = '';
  #newestTime = '';

  /**
   * @param isSealed the streams are sealed: the last seal is the last word; else the record of the process's end is.
   * @param isWhole the first line is the first of the file.
   */
  constructor(
    readonly isSealed: boolean,
    readonly isWhole: boolean,
  ) {}

  /** One line without its newline, from `start` to before `end`. */
  takeLine(bytes: Buffer, start: number, end: number): void {
    const line = bytes.subarray(start, end);
    const text = line.toString('utf8');
    const record = parseRecordLine(text);
    if (record === undefined) return this.#takeBroken(line);
    this.#noteTime(record.fields.time);
    const name = streamOf(record.fields.stream);
    if (name === undefined) return;
    const stream = this.#streamOf(name);
    stream.torn = []; // written again whole, or of no account
    if (record.event === 'audit.seal') return takeSeal(stream, text);
    const { seq } = record.fields;
    if (typeof seq !== 'number' || !Number.isSafeInteger(seq)) return;
    this.#takeRecord(stream, line, seq, record.event);
    if (record.event === 'audit.gap') this.#takeGap(fieldsOf(record.fields.gap));
  }

  /** In the order of their first line here. */
  get tails(): readonly OpenTail[] {
    return [...this.#streams.values()].filter(({ hasEnded }) => !hasEnded).map(tailOf);
  }

  /** False where a stream's unsealed lines may begin before what was read. */
  get isConclusive(): boolean {
    return (
      !this.isSealed ||
      [...this.#streams.values()].every(({ hasEnded, isKnownFrom }) => hasEnded || isKnownFrom)
    );
  }

  /**
   * For how long before its end the file was read, in milliseconds: a quiet stream without a seal shows only in a part that is
   * longer than seals take.
   */
  get spanMs(): number {
    if (this.isWhole) return Number.POSITIVE_INFINITY;
    const spanMs = Date.parse(this.#newestTime) - Date.parse(this.#firstTime);
    return Number.isNaN(spanMs) ? 0 : spanMs;
  }

  #noteTime(time: unknown): void {
    if (typeof time !== 'string') return;
    if (time > this.#newestTime) this.#newestTime = time;
    if (this.#lines++ < FIRST_LINES) this.#firstTime = this.#newestTime;
  }

  #streamOf(name: StreamName): Stream {
    const key = JSON.stringify([name.id, name.boot, name.worker]);
    const known = this.#streams.get(key);
    if (known !== undefined) return known;
    const { id, boot, worker } = name;
    const fresh: Stream = {
      name,
      opening: `{"stream":${JSON.stringify({ id, boot, worker })}`,
      hash: createHash('sha256'),
      from: 0,
      to: 0,
      unsealed: 0,
      isKnownFrom: this.isWhole,
      hasEnded: false,
      torn: [],
    };
    this.#streams.set(key, fresh);
    return fresh;
  }

  #takeRecord(stream: Stream, line: Buffer, seq: number, event: string): void {
    if (seq === 1) stream.isKnownFrom = true;
    if (stream.unsealed === 0) stream.from = seq;
    stream.to = seq;
    stream.unsealed++;
    stream.hash.update(line).update(NEWLINE);
    stream.hasEnded = !this.isSealed && event === 'process.stopped';
  }

  /** Somebody has said it already. */
  #takeGap({ why, boot, worker }: Readonly<Record<string, unknown>>): void {
    if (why !== 'ended_without_last_word') return;
    for (const stream of this.#streams.values())
      if (stream.name.boot === boot && stream.name.worker === worker) stream.hasEnded = true;
  }

  /** Half a line; where several processes write, a whole one of another may follow it without a line's end. */
  #takeBroken(line: Buffer): void {
    const pieces = piecesOf(line);
    if (pieces === undefined) return this.#takeTorn(line);
    const last = pieces.at(-1)!;
    this.takeLine(last, 0, last.length);
    for (const torn of pieces.slice(0, -1)) this.#takeTorn(torn);
  }

  #takeTorn(line: Buffer): void {
    const text = line.toString('utf8', 0, Math.min(line.length, LINE_HEAD_BYTES));
    for (const stream of this.#streams.values())
      if (stream.torn.length < MAX_TORN && text.startsWith(stream.opening))
        stream.torn.push(Buffer.from(line));
  }
}

function takeSeal(stream: Stream, text: string): void {
  const seal = parseSealLine(text);
  if (!seal.ok) return; // it covers nothing that anybody could verify
  const { to, last } = seal.value.payload;
  stream.hash = createHash('sha256');
  stream.unsealed = 0;
  stream.to = to;
  stream.isKnownFrom = true;
  stream.hasEnded = last;
}

/** Of a stream with nothing but torn lines after its last seal, `from` to `to` is empty: the number after the last, and the last. */
function tailOf({ name, from, to, unsealed, isKnownFrom, hash, torn }: Stream): OpenTail {
  if ((unsealed === 0 && torn.length === 0) || !isKnownFrom)
    return { stream: name, after: to, unsealed, lines: undefined };
  const all = hash.copy();
  for (const line of torn) all.update(line).update(NEWLINE);
  const first = unsealed === 0 ? to + 1 : from;
  return { stream: name, after: to, unsealed, lines: { from: first, to, hash: all.digest('base64url') } };
}

function streamOf(value: unknown): StreamName | undefined {
  const { id, boot, worker } = fieldsOf(value);
  if (textOf(id) === undefined || textOf(boot) === undefined) return undefined;
  if (typeof worker !== 'number' || !Number.isSafeInteger(worker)) return undefined;
  return { id: id as string, boot: boot as string, worker };
}
