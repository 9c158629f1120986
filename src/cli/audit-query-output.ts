import { RecordGroups } from '../audit/record-groups.js';
import type { ScannedRecord } from '../audit/record-scanner.js';
import type { QueryOptions } from './audit-query-options.js';
import { groupColumns, groupJson, groupRow, RECORD_COLUMNS, recordRow } from './audit-query-table.js';
import type { CliIo } from './io.js';
import { TextTable } from './text-table.js';

/** Where records go that were found. */
export interface QueryOutput {
  /** The line is `bytes` from `start` to before `end`; the bytes are somebody else's after `flush`. */
  take(record: ScannedRecord, bytes: Buffer, start: number, end: number): void;
  /** Writes what was taken, as far as it can be written yet. Resolves when more may come. */
  flush(): Promise<void>;
  /** Nothing more comes. */
  end(): Promise<void>;
}

type Io = Pick<CliIo, 'stdout' | 'stderr' | 'stdoutBytes' | 'columns'>;

export function queryOutput({ by, format, limit }: QueryOptions, io: Io): QueryOutput {
  if (by !== undefined) return new GroupOutput(new RecordGroups(by), format, limit, io);
  return format === 'ndjson' ? new LineOutput(io) : new TableOutput(io);
}

const NEWLINE = Buffer.of(0x0a);

/** The records' own bytes. */
class LineOutput implements QueryOutput {
  #parts: Uint8Array[] = [];

  constructor(readonly io: Io) {}

  take(_record: ScannedRecord, bytes: Buffer, start: number, end: number): void {
    this.#parts.push(bytes.subarray(start, end), NEWLINE);
  }

  async flush(): Promise<void> {
    if (this.#parts.length === 0) return;
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    await write(this.io, bytes);
  }

  end(): Promise<void> {
    return this.flush();
  }
}

/** Rows by which the columns are measured. */
const MEASURED_ROWS = 200;

class TableOutput implements QueryOutput {
  readonly #table: TextTable;
  #rows: (readonly string[])[] = [];
  #hasBegun = false;

  constructor(readonly io: Io) {
    this.#table = new TextTable(RECORD_COLUMNS, io.columns);
  }

  take(record: ScannedRecord): void {
    this.#rows.push(recordRow(record));
  }

  async flush(): Promise<void> {
    if (this.#hasBegun || this.#rows.length >= MEASURED_ROWS) await this.end();
  }

  async end(): Promise<void> {
    const rows = this.#rows;
    if (rows.length === 0) return;
    this.#rows = [];
    const head = this.#hasBegun ? '' : this.#table.begin(rows.slice(0, MEASURED_ROWS));
    this.#hasBegun = true;
    await write(this.io, head + rows.map((row) => this.#table.line(row)).join(''));
  }
}

class GroupOutput implements QueryOutput {
  constructor(
    readonly groups: RecordGroups,
    readonly format: QueryOptions['format'],
    readonly limit: number,
    readonly io: Io,
  ) {}

  take(record: ScannedRecord): void {
    this.groups.add(record);
  }

  async flush(): Promise<void> {}

  async end(): Promise<void> {
    const { groups, format, io } = this;
    const shown = groups.all.slice(0, this.limit);
    if (format === 'ndjson') await write(io, shown.map((group) => groupJson(groups.by, group)).join(''));
    else if (shown.length > 0) {
      const rows = shown.map(groupRow);
      const table = new TextTable(groupColumns(groups.by), io.columns);
      await write(io, table.begin(rows) + rows.map((row) => table.line(row)).join(''));
    }
    const more = groups.all.slice(this.limit).reduce((sum, { records }) => sum + records, groups.ungrouped);
    if (more > 0) io.stderr(`${more} records are in further groups that are not shown\n`);
  }
}

const write = async (io: Io, what: string | Buffer): Promise<void> => {
  if (what.length === 0) return;
  if (io.stdoutBytes !== undefined) await io.stdoutBytes(typeof what === 'string' ? Buffer.from(what) : what);
  else io.stdout(what.toString());
};
