import { ByteLines } from '../audit/byte-lines.js';
import { piecesOf } from '../audit/glued-line.js';
import type { FileLine } from '../audit/line-cutter.js';
import { RecordScanner, type ScannedRecord } from '../audit/record-scanner.js';
import { ok, type Result } from '../reasons.js';
import type { CliIo } from './io.js';
import { ProgressLine } from './progress-line.js';
import { readRecordBytes } from './record-bytes.js';
import { bytesOfFiles } from './record-files.js';

/** Places of lines that are shown; there may be as many as there are lines. */
const MAX_PLACES = 10;
const BYTE_ORDER_MARK = Buffer.of(0xef, 0xbb, 0xbf);

/** What was read: every line is counted. */
export interface ScanCounts {
  /** As they are in the files. */
  bytes: number;
  lines: number;
  /** No records, or not as we write them. */
  broken: number;
  /** FILE:LINE of the first of them. */
  readonly brokenAt: string[];
  /** Files that end in the middle of a line: it may be being written. */
  readonly cut: string[];
}

/**
 * Reads the records of these files in turn.
 * @param take says whether it is a record as we write them.
 * @returns for a person, why a file could not be read to its end.
 */
export async function scanRecordFiles(
  files: readonly string[],
  io: CliIo,
  take: (record: ScannedRecord) => boolean,
): Promise<Result<ScanCounts, string>> {
  const counts: ScanCounts = { bytes: 0, lines: 0, broken: 0, brokenAt: [], cut: [] };
  const scanner = new RecordScanner();
  const progress = new ProgressLine(io, await bytesOfFiles(files));
  try {
    for (const file of files) {
      const lines = new ByteLines((bytes, start, end, number, state) => {
        counts.lines++;
        takeLine({ counts, scanner, take, file }, bytes, start, end, number, state);
      });
      const onBytes = (bytes: number): void => {
        counts.bytes += bytes;
        progress.add(bytes, counts.lines);
      };
      const source = { file, stdin: io.stdin, onBytes };
      const read = await readRecordBytes(
        source,
        (bytes) => lines.push(bytes),
        () => `line ${lines.lines}`,
      );
      if (!read.ok) return read;
      lines.end();
    }
    return ok(counts);
  } finally {
    progress.clear();
  }
}

interface Scanning {
  readonly counts: ScanCounts;
  readonly scanner: RecordScanner;
  readonly file: string;
  take(record: ScannedRecord): boolean;
}

function takeLine(
  { counts, scanner, take, file }: Scanning,
  bytes: Buffer,
  start: number,
  end: number,
  number: number,
  state: FileLine['state'],
): void {
  const hasMark = number === 1 && bytes.subarray(start, start + 3).equals(BYTE_ORDER_MARK);
  const from = hasMark ? start + 3 : start;
  if (state !== 'too_long' && isBlank(bytes, from, end)) return;
  const record = state === 'too_long' ? undefined : scanner.scan(bytes, from, end);
  if (record !== undefined && take(record)) return;
  // What stands behind a line that was torn counts; that line itself is no record.
  if (record === undefined && state !== 'too_long')
    for (const piece of piecesOf(bytes.subarray(from, end)) ?? []) {
      const glued = scanner.scan(piece, 0, piece.length);
      if (glued !== undefined) take(glued);
    }
  if (state === 'cut') {
    counts.cut.push(file);
    return;
  }
  counts.broken++;
  if (counts.brokenAt.length < MAX_PLACES) counts.brokenAt.push(`${file}:${number}`);
}

const BRACE = 0x7b;

const isBlank = (bytes: Buffer, start: number, end: number): boolean =>
  bytes[start] !== BRACE && bytes.toString('latin1', start, end).trim() === '';
