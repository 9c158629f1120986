import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import type { AccessRecord, AuditRecord, PrincipalFields, TlsFields } from '../audit/record.js';
import type { RecordSink } from '../listener/ports.js';
import type { RecordFile } from './record-file.js';

/** What all records of one connection have in common, formatted once. */
interface ConnectionLog {
  readonly principal: PrincipalFields | undefined;
  readonly log: Logger;
}

/** The audit stream: pino formats, the file confirms. Every record carries the stream's identity and its own number. */
export class RecordLog implements RecordSink {
  /** False while the process that writes for several cannot. */
  supervisorWrites = true;
  #seq = 0;
  readonly #log: Logger;
  /** By the connection's own TLS fields object. */
  readonly #byConnection = new WeakMap<TlsFields, ConnectionLog>();

  constructor(
    readonly file: RecordFile,
    readonly onFailure: 'deny' | 'allow',
    boot: string,
    /** 0 = the only one, or the supervisor of several. */
    worker = 0,
  ) {
    const stream = { id: hostname(), boot, worker };
    this.#log = pino(
      {
        base: null,
        timestamp: false, // `time` is the request's start, in the record itself
        formatters: { level: () => ({ stream }) }, // records have no level; pino caches this as the line's beginning
      },
      file,
    );
  }

  get available(): boolean {
    return (this.file.available && this.supervisorWrites) || this.onFailure === 'allow';
  }

  write(record: AuditRecord): void {
    const seq = ++this.#seq;
    if (record.event !== 'access') return this.#log.info({ seq, ...record });
    const { time, event, id, phase, decision, request, response, timing } = record;
    this.#logOf(record).info({ seq, time, event, id, phase, decision, request, response, timing });
  }

  #logOf(record: AccessRecord): Logger {
    const { principal, tls, peer } = record;
    const known = this.#byConnection.get(tls);
    if (known !== undefined && known.principal === principal) return known.log;
    const log = this.#log.child(principal === undefined ? { tls, peer } : { principal, tls, peer });
    this.#byConnection.set(tls, { principal, log });
    return log;
  }
}
