import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import { formatAccessFields, formatConnectionFields } from '../audit/access-line.js';
import { escapeUnseen, toLineText } from '../audit/line-text.js';
import type { AccessRecord, AuditRecord, PrincipalFields, TlsFields } from '../audit/record.js';
import type { RecordSink } from '../listener/ports.js';
import type { RecordFile } from './record-file.js';

/** What all access records of one connection begin with, formatted once. */
interface ConnectionOpening {
  readonly principal: PrincipalFields | undefined;
  readonly text: string;
}

/**
 * The audit stream: the file confirms. Every record carries the stream's identity and its own number. Those of requests are
 * formatted by `audit/access-line`, which costs a request a fifth of what pino does; pino formats the others.
 */
export class RecordLog implements RecordSink {
  /** False while the process that writes for several cannot. */
  supervisorWrites = true;
  #seq = 0;
  readonly #log: Logger;
  /** Of every line. */
  readonly #opening: string;
  /** By the connection's own TLS fields object. */
  readonly #byConnection = new WeakMap<TlsFields, ConnectionOpening>();

  constructor(
    readonly file: RecordFile,
    readonly onFailure: 'deny' | 'allow',
    boot: string,
    /** 0 = the only one, or the supervisor of several. */
    worker = 0,
  ) {
    const stream = { id: hostname(), boot, worker };
    this.#opening = `{"stream":${toLineText(stream)}`;
    this.#log = pino(
      {
        base: null,
        timestamp: false, // `time` is the request's start, in the record itself
        formatters: { level: () => ({ stream }) }, // records have no level; pino caches this as the line's beginning
      },
      { write: (line) => file.write(escapeUnseen(line)) },
    );
  }

  get available(): boolean {
    return (this.file.available && this.supervisorWrites) || this.onFailure === 'allow';
  }

  write(record: AuditRecord): void {
    const seq = ++this.#seq;
    if (record.event === 'access') this.file.write(this.#openingOf(record) + formatAccessFields(seq, record));
    else this.#log.info({ seq, ...record });
  }

  #openingOf(record: AccessRecord): string {
    const { principal, tls } = record;
    const known = this.#byConnection.get(tls);
    if (known !== undefined && known.principal === principal) return known.text;
    const text = this.#opening + formatConnectionFields(record);
    this.#byConnection.set(tls, { principal, text });
    return text;
  }
}
