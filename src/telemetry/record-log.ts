import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import { formatAccessFields, formatConnectionFields } from '../audit/access-line.js';
import type { AccessRecord, AuditRecord, GapFields, PrincipalFields, TlsFields } from '../audit/record.js';
import type { RecordSink } from '../listener/ports.js';
import type { Confirmed } from './record-batch.js';
import type { RecordWriter } from './record-writer.js';

/** What all access records of one connection begin with, formatted once. */
interface ConnectionOpening {
  readonly principal: PrincipalFields | undefined;
  readonly text: string;
}

export interface RecordLogOptions {
  readonly onFailure: 'deny' | 'allow';
  /** A word for this start of the process. */
  readonly boot: string;
  /** 0 = the only one, or the supervisor of several. */
  readonly worker?: number | undefined;
  readonly nowMs: () => number;
  /** An answer whose record is not kept is reset, or goes out all the same. */
  unconfirmed(result: 'reset' | 'sent'): void;
}

/**
 * The audit stream: the writer confirms. Every record carries the stream's identity and its own number. Those of requests are
 * formatted by `audit/access-line`, which costs a request a fifth of what pino does; pino formats the others.
 */
export class RecordLog implements RecordSink {
  /** False while the process that writes for several cannot. */
  supervisorWrites = true;
  readonly confirms: boolean;
  #seq = 0;
  /** Numbers of records that there was no room for, and that no record has told of yet. */
  #dropped: { readonly from: number; to: number } | undefined;
  readonly #log: Logger;
  /** Of what pino writes right now. */
  #confirmed: Confirmed | undefined;
  /** Of every line. */
  readonly #opening: string;
  /** By the connection's own TLS fields object. */
  readonly #byConnection = new WeakMap<TlsFields, ConnectionOpening>();

  constructor(
    readonly writer: RecordWriter,
    readonly options: RecordLogOptions,
  ) {
    this.confirms = writer.confirms !== 'never';
    const stream = { id: hostname(), boot: options.boot, worker: options.worker ?? 0 };
    this.#opening = `{"stream":${JSON.stringify(stream)}`;
    this.#log = pino(
      {
        base: null,
        timestamp: false, // `time` is the request's start, in the record itself
        formatters: { level: () => ({ stream }) }, // records have no level; pino caches this as the line's beginning
      },
      { write: (line: string) => writer.write(line, this.#confirmed) },
    );
  }

  get available(): boolean {
    return (this.writer.available && this.supervisorWrites) || this.options.onFailure === 'allow';
  }

  write(record: AuditRecord, confirmed?: Confirmed): void {
    const told = confirmed && ((isKept: boolean): void => this.#tell(confirmed, isKept));
    if (this.writer.isFull) return this.#drop(told);
    if (this.#dropped !== undefined) this.declareDropped();
    this.#put(record, told);
  }

  /** As soon as there is room again: which numbers are missing. */
  declareDropped(): void {
    if (this.#dropped === undefined || this.writer.isFull) return;
    const { from, to } = this.#dropped;
    this.#dropped = undefined;
    const detail = 'records could not be written for so long that there was no room for more';
    this.writeGap({ why: 'dropped', from, to, records: to - from + 1 }, detail);
  }

  /** Evidence that evidence is missing, or may be. */
  writeGap(gap: GapFields, detail: string): void {
    this.#put({ time: new Date(this.options.nowMs()).toISOString(), event: 'audit.gap', gap, detail });
  }

  #put(record: AuditRecord, confirmed?: Confirmed): void {
    const seq = ++this.#seq;
    if (record.event === 'access' || record.event === 'access.corrected') {
      this.writer.write(this.#openingOf(record) + formatAccessFields(seq, record), confirmed);
      return;
    }
    this.#confirmed = confirmed;
    this.#log.info({ seq, ...record });
    this.#confirmed = undefined;
  }

  #drop(confirmed: Confirmed | undefined): void {
    const seq = ++this.#seq;
    if (this.#dropped === undefined) this.#dropped = { from: seq, to: seq };
    else this.#dropped.to = seq;
    this.writer.refuse(confirmed);
  }

  #tell(confirmed: Confirmed, isKept: boolean): void {
    const isSent = isKept || this.options.onFailure === 'allow';
    if (!isKept) this.options.unconfirmed(isSent ? 'sent' : 'reset');
    confirmed(isSent);
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
