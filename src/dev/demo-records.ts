import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 5;

/** A record as it stands in the file: the demo reads it as any other program would. */
export interface ReadRecord {
  readonly time: string;
  readonly event: string;
  readonly id?: string;
  readonly source?: string;
  readonly detail?: string;
  readonly reason?: string;
  readonly latencyMs?: number;
  readonly connections?: number;
  readonly policyRevision?: string;
  readonly trustRevision?: string;
  readonly principal?: { readonly id: string; readonly kind: string; readonly serial: string };
  readonly decision?: { readonly effect: string; readonly reason: string; readonly rule?: string };
  readonly request?: { readonly method?: string; readonly path?: string };
  readonly response?: { readonly status: number };
  readonly seal?: { readonly from: number; readonly to: number };
}

/** Follows the record file from its beginning, and hands on each record once. */
export class RecordTail {
  readonly records: ReadRecord[] = [];
  #offset = 0;
  #rest = '';
  readonly #timer: NodeJS.Timeout;

  constructor(
    readonly file: string,
    readonly onRecord: (record: ReadRecord) => void,
  ) {
    this.#timer = setInterval(() => this.#read(), POLL_MS);
  }

  /** The first record from number `from` on that fits; undefined when none came in time. */
  async until(
    fits: (record: ReadRecord) => boolean,
    from = 0,
    timeoutMs = 5000,
  ): Promise<ReadRecord | undefined> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const found = this.records.slice(from).find(fits);
      if (found !== undefined || performance.now() > deadlineMs) return found;
      await delay(POLL_MS);
    }
  }

  /** Reads what is there, and stops following. */
  close(): void {
    clearInterval(this.#timer);
    this.#read();
  }

  #read(): void {
    if (!existsSync(this.file)) return;
    const buffer = Buffer.alloc(256 * 1024);
    const fd = openSync(this.file, 'r');
    try {
      for (let read = 1; read > 0; ) {
        read = readSync(fd, buffer, 0, buffer.length, this.#offset);
        this.#offset += read;
        this.#take(buffer.toString('latin1', 0, read));
      }
    } finally {
      closeSync(fd);
    }
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const record = JSON.parse(line) as ReadRecord;
      this.records.push(record);
      this.onRecord(record);
    }
  }
}

/** Time, who, decision, rule, what was asked, status; of a change: time, event and what it was. */
export function recordColumns(record: ReadRecord): string[] {
  const time = record.time.slice(11, 23);
  const id = record.principal?.id ?? '-';
  switch (record.event) {
    case 'access':
    case 'handshake': {
      const { effect = '', reason = '', rule = reason } = record.decision ?? {};
      const asked = `${record.request?.method ?? '-'} ${record.request?.path ?? '-'}`;
      const claim = record.principal?.kind === 'none' ? `(${id})` : id;
      return [time, claim, effect, rule, asked, String(record.response?.status ?? '-')];
    }
    case 'connection.terminated':
      return [time, id, 'ended', record.reason ?? '', `its open connection, after ${record.latencyMs} ms`];
    case 'revocation.enforced':
      return [time, record.event, record.source ?? '', enforcedIn(record)];
    case 'audit.seal':
      return [time, record.event, `records ${record.seal?.from} to ${record.seal?.to}`, 'signed'];
    default:
      return [time, record.event, record.source ?? '', revisionsOf(record)];
  }
}

const enforcedIn = ({ connections, latencyMs }: ReadRecord): string =>
  connections === 0
    ? 'no open connection was affected'
    : `${connections} connection${connections === 1 ? '' : 's'} ended, the last after ${latencyMs} ms`;

const revisionsOf = (record: ReadRecord): string =>
  record.detail ?? `policy ${record.policyRevision} trust ${record.trustRevision}`;
