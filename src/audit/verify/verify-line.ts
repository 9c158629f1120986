import { type Fields, fieldsOf } from '../record-line.js';
import type { StreamName } from '../seal-line.js';

/** Every line begins with it. Within JSON it can stand nowhere else of a record: a quote in a text is escaped. */
const OPENING_TEXT = '{"stream":{"id":';
export const OPENING = Buffer.from(OPENING_TEXT);
const SEQ_TEXT = ',"seq":';
const SEQ = Buffer.from(SEQ_TEXT);
const CLOSING_BRACE = 0x7d;
const MAX_SEQ_DIGITS = 15;
const TIME_LENGTH = 24;
/** How an access record ends: where a line ends so, it was written to its end. */
const ACCESS_END = /,"timing":\{"totalMs":[\d.eE+-]+(?:,"upstreamMs":[\d.eE+-]+)?\}\}$/;
const ACCESS_END_LENGTH = 96;

/** `{"stream":{…}`, which names the stream, as Latin-1; undefined where the line does not begin so. */
export function openingOf(line: Buffer): string | undefined {
  if (line.length <= OPENING.length || line.compare(OPENING, 0, OPENING.length, 0, OPENING.length) !== 0)
    return undefined;
  const end = line.indexOf(CLOSING_BRACE);
  return end < 0 ? undefined : line.toString('latin1', 0, end + 1);
}

/** The stream that an opening names; undefined where it is not written as streams are. */
export function parseOpening(opening: string): StreamName | undefined {
  const text = `${Buffer.from(opening, 'latin1').toString('utf8')}}`;
  const { id, boot, worker } = fieldsOf(parseObject(text)?.stream);
  if (typeof id !== 'string' || typeof boot !== 'string') return undefined;
  if (!Number.isSafeInteger(worker) || Number(worker) < 0) return undefined;
  const stream = { id, boot, worker: Number(worker) };
  return JSON.stringify({ stream }) === text ? stream : undefined;
}

/** A record's number and where it ends in the line. */
export interface SeqField {
  readonly seq: number;
  readonly end: number;
}

/** @param from after the opening */
export function seqOf(line: Buffer, from: number): SeqField | undefined {
  const start = line.indexOf(SEQ, from);
  if (start < 0) return undefined;
  let end = start + SEQ.length;
  const limit = Math.min(line.length, end + MAX_SEQ_DIGITS);
  const first = line[end];
  if (first === undefined || first < 0x31 || first > 0x39) return undefined; // from 1, without a zero before it
  let seq = 0;
  for (let digit = first; digit >= 0x30 && digit <= 0x39 && end < limit; digit = line[end] ?? 0) {
    seq = seq * 10 + digit - 0x30;
    end++;
  }
  return { seq, end };
}

/** The time that follows a record's number. */
export function timeAfter(line: Buffer, end: number): string {
  const start = end + ',"time":"'.length;
  return line.toString('latin1', start, start + TIME_LENGTH);
}

/** An access record, whole: nearly all lines are, so that nothing else of them is read. */
export const isWholeAccess = (line: Buffer): boolean =>
  ACCESS_END.test(line.toString('latin1', Math.max(0, line.length - ACCESS_END_LENGTH), line.length));

/** The JSON object that a line is; undefined where it is none, or not written to its end. */
export const parseWhole = (line: Buffer): Fields | undefined => parseObject(line.toString('utf8'));

function parseObject(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined;
  } catch {
    return undefined;
  }
}
