import type { OpenBatch } from './verify-batch.js';
import type { FindingKind, Place } from './verify-findings.js';

/** What is wrong with a batch whose lines are not those that were sealed. */
export interface Diagnosis {
  readonly kind: FindingKind;
  readonly place: Place;
  readonly what: string;
}

export interface SealedBatch {
  readonly from: number;
  readonly records: number;
  /** CRC-32 of each sealed line. */
  readonly crcs: Uint32Array;
}

/** @param lines base64url of four bytes each, big endian */
export function checksumsOf(lines: string): Uint32Array {
  const bytes = Buffer.from(lines, 'base64url');
  return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readUInt32BE(i * 4));
}

/** The part that differs: indexes from `start` to before `sealedEnd` of the sealed lines, to before `foundEnd` of those that are there. */
interface Difference {
  readonly start: number;
  readonly sealedEnd: number;
  readonly foundEnd: number;
}

/** Names the first line that is not as it was sealed. @param sealPlace where what is missing at the end is missed */
export function diagnose(sealed: SealedBatch, found: OpenBatch, sealPlace: Place): Diagnosis {
  const { start, sealedEnd, foundEnd } = differenceOf(sealed.crcs, found.crcs);
  const place = found.places[start] ?? sealPlace;
  const seq = found.seqs[start];
  const gone = sealed.crcs.subarray(start, sealedEnd);
  const here = found.crcs.subarray(start, foundEnd);
  const wanted = start === 0 ? sealed.from : found.seqs[start - 1]! + 1;
  const first = here[0];
  if (first === undefined && gone.length === 0) {
    const what = `altered, its checksum made to fit: one of the ${found.records} records before this seal, from record ${found.firstSeq} on`;
    return { kind: 'altered', place: found.firstPlace ?? sealPlace, what };
  }
  const isHere = new Set(here);
  if (first === undefined || (gone.includes(first) && !isHere.has(gone[0]!)))
    return { kind: 'missing', place, what: missingText(wanted, gone, isHere) };
  if (gone.includes(first)) {
    const later = `record ${seq} stands where record ${wanted} should, which comes later`;
    return { kind: 'out_of_order', place, what: later };
  }
  if (gone.length > 0 && !isHere.has(gone[0]!)) {
    const others = here.length === gone.length ? here.filter((crc, i) => crc !== gone[i]).length - 1 : 0;
    const more = others > 0 ? `, and ${others} more after it` : '';
    return { kind: 'altered', place, what: `record ${seq === wanted ? seq : wanted} is altered${more}` };
  }
  const isRepeated = sealed.crcs.includes(first);
  const what = isRepeated
    ? `record ${seq} stands here a second time`
    : `record ${seq} was not sealed here: it is inserted`;
  return { kind: isRepeated ? 'repeated' : 'inserted', place, what };
}

function missingText(from: number, gone: Uint32Array, isHere: ReadonlySet<number>): string {
  let run = 0;
  while (run < gone.length && !isHere.has(gone[run]!)) run++;
  return missingRecords(from, from + run - 1);
}

/** Both within. */
export const missingRecords = (from: number, to: number): string =>
  from === to
    ? `record ${from} is missing before this line`
    : `records ${from}..${to} are missing before this line`;

function differenceOf(sealed: Uint32Array, found: Uint32Array): Difference {
  const shorter = Math.min(sealed.length, found.length);
  let start = 0;
  while (start < shorter && sealed[start] === found[start]) start++;
  let same = 0;
  while (same < shorter - start && sealed[sealed.length - 1 - same] === found[found.length - 1 - same])
    same++;
  return { start, sealedEnd: sealed.length - same, foundEnd: found.length - same };
}

/** How many lines at the end of what is there are the sealed ones, all of them: what precedes belongs to a seal that is gone. */
export function linesBefore(sealed: SealedBatch, found: OpenBatch): number | undefined {
  const before = found.records - sealed.records;
  if (before <= 0 || found.isTooLong) return undefined;
  const { crcs } = found;
  return sealed.crcs.every((crc, i) => crcs[before + i] === crc) ? before : undefined;
}
