import { isAbsolute, relative } from 'node:path';
import { ByteLines, type TakeByteLine } from '../audit/byte-lines.js';
import { piecesOf } from '../audit/glued-line.js';
import { RecordQuery } from '../audit/record-query.js';
import { RecordScanner } from '../audit/record-scanner.js';
import { ok, type Result } from '../reasons.js';
import type { QueryOptions } from './audit-query-options.js';
import { type QueryOutput, queryOutput } from './audit-query-output.js';
import type { CliIo } from './io.js';
import { printable } from './printable.js';
import { ProgressLine } from './progress-line.js';
import { readRecordBytes, STDIN } from './record-bytes.js';
import { bytesOfFiles } from './record-files.js';

/** Writes out what fits. @returns how many records did; the error is for a person. */
export async function runQuery(
  options: QueryOptions,
  io: CliIo,
  cwd: string,
): Promise<Result<number, string>> {
  const progress = new ProgressLine(io, await bytesOfFiles(options.files));
  const output = queryOutput(options, beneath(progress, io));
  const search = new Search(options, output);
  try {
    for (const file of options.files) {
      const lines = search.linesOf(file);
      const onBytes = (bytes: number): void => progress.add(bytes, search.lines);
      const take = async (bytes: Buffer): Promise<boolean> => {
        lines.push(bytes);
        await output.flush();
        return !search.isDone;
      };
      const read = await readRecordBytes(
        { file, stdin: io.stdin, onBytes },
        take,
        () => `line ${lines.lines}`,
      );
      if (!read.ok) {
        progress.clear();
        await output.end(); // what was found before it
        return read;
      }
      lines.end();
      await output.flush();
      if (search.isDone) break;
    }
  } finally {
    progress.clear();
  }
  await output.end();
  for (const warning of search.warnings(cwd)) io.stderr(`${warning}\n`);
  return ok(search.found);
}

/** Rows and the line of progress may share a terminal. */
function beneath(progress: ProgressLine, io: CliIo): CliIo {
  const { stdoutBytes } = io;
  return {
    ...io,
    stdout: (text) => {
      progress.clear();
      io.stdout(text);
    },
    ...(stdoutBytes === undefined
      ? {}
      : {
          stdoutBytes: (bytes) => {
            progress.clear();
            return stdoutBytes(bytes);
          },
        }),
  };
}

/** Places that are named. */
const MAX_PLACES = 10;
const BYTE_ORDER_MARK = Buffer.of(0xef, 0xbb, 0xbf);

class Search {
  lines = 0;
  found = 0;
  #broken = 0;
  readonly #brokenAt: { readonly file: string; readonly line: number }[] = [];
  readonly #cut: string[] = [];
  readonly #scanner = new RecordScanner();
  readonly #query: RecordQuery;
  /** The largest groups are known only at the end. */
  readonly #limit: number;

  constructor(
    readonly options: QueryOptions,
    readonly output: QueryOutput,
  ) {
    this.#query = new RecordQuery(options.criteria);
    this.#limit = options.by === undefined ? options.limit : Number.POSITIVE_INFINITY;
  }

  get isDone(): boolean {
    return this.found >= this.#limit;
  }

  linesOf(file: string): ByteLines {
    const take: TakeByteLine = (bytes, start, end, number, state) => {
      this.lines++;
      if (this.isDone) return;
      const from = number === 1 && bytes.indexOf(BYTE_ORDER_MARK, start) === start ? start + 3 : start;
      if (state !== 'too_long' && isBlank(bytes, from, end)) return;
      if (state !== 'too_long' && this.#takeRecord(bytes, from, end)) return;
      this.#noteBroken(file, number, state === 'cut');
      // What stands behind a line that was torn is found; that line itself is no record.
      if (state === 'too_long') return;
      for (const piece of piecesOf(bytes.subarray(from, end)) ?? [])
        if (!this.isDone) this.#takeRecord(piece, 0, piece.length);
    };
    return new ByteLines(take);
  }

  /** False where it is no record. */
  #takeRecord(bytes: Buffer, start: number, end: number): boolean {
    const record = this.#scanner.scan(bytes, start, end);
    if (record === undefined) return false;
    if (!this.#query.matches(record)) return true;
    if (this.options.by !== undefined && this.#query.isRepetition(record)) return true;
    this.found++;
    this.output.take(record, bytes, start, end);
    return true;
  }

  /** What could have been found and was not, as nobody can read it. */
  warnings(cwd: string): string[] {
    const shown = (file: string): string => printable(shortened(file, cwd));
    const warnings = this.#cut.map(
      (file) => `${shown(file)} ends in the middle of a line, which was left out`,
    );
    if (this.#broken === 0) return warnings;
    const places = this.#brokenAt.map(({ file, line }) => `${shown(file)}:${line}`).join(', ');
    const more = this.#broken > this.#brokenAt.length ? ', …' : '';
    const lines = this.#broken === 1 ? 'line is no record and was' : 'lines are no records and were';
    return [...warnings, `${this.#broken} ${lines} left out: ${places}${more}`];
  }

  #noteBroken(file: string, line: number, isCut: boolean): void {
    if (isCut) {
      this.#cut.push(file);
      return;
    }
    this.#broken++;
    if (this.#brokenAt.length < MAX_PLACES) this.#brokenAt.push({ file, line });
  }
}

function isBlank(bytes: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i]! > 0x20) return false;
  return true;
}

function shortened(file: string, cwd: string): string {
  if (file === STDIN) return 'standard input';
  const short = relative(cwd, file);
  return short.startsWith('..') || isAbsolute(short) ? file : short;
}
