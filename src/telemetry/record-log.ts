import { hostname } from 'node:os';
import { pino } from 'pino';
import type { AuditRecord } from '../audit/record.js';
import type { RecordSink } from '../listener/ports.js';
import type { RecordFile } from './record-file.js';

/** The audit stream: pino formats, the file confirms. Every record carries the stream's identity and its own number. */
export class RecordLog implements RecordSink {
  #seq = 0;
  readonly #log;

  constructor(
    readonly file: RecordFile,
    readonly onFailure: 'deny' | 'allow',
    boot: string,
  ) {
    const stream = { id: hostname(), boot, worker: 0 };
    this.#log = pino(
      {
        base: null,
        timestamp: false, // `time` is the request's start, in the record itself
        formatters: { level: () => ({ stream }) }, // records have no level; pino caches this as the line's beginning
        mixin: () => ({ seq: ++this.#seq }),
      },
      file,
    );
  }

  get available(): boolean {
    return this.file.available || this.onFailure === 'allow';
  }

  write(record: AuditRecord): void {
    this.#log.info(record);
  }
}
