import { statSync } from 'node:fs';
import { hostname } from 'node:os';
import type { SealKey } from '../audit/seal-key.js';
import type { AuditConfig } from '../config/config.js';
import type { Diagnostics } from '../listener/ports.js';
import type { MetricRegistry } from '../telemetry/export-metrics.js';
import type { Confirms } from '../telemetry/record-batch.js';
import { RecordFile } from '../telemetry/record-file.js';
import { RecordLog } from '../telemetry/record-log.js';
import { RecordRelay } from '../telemetry/record-relay.js';
import type { RecordTarget } from '../telemetry/record-target.js';
import { RecordWriter, type RecordWriterEvents } from '../telemetry/record-writer.js';
import { SocketTarget } from '../telemetry/socket-target.js';
import { EndedStreams } from './ended-streams.js';
import { RecordExport } from './record-export.js';
import { Seals } from './seals.js';

export interface RecordsOptions {
  readonly config: AuditConfig;
  readonly diagnostics: Diagnostics;
  readonly boot: string;
  /** 0 = the only one, or the supervisor of several. */
  readonly worker: number;
  /** Several processes append to the file. */
  readonly isShared: boolean;
  /** A supervisor does the writing. */
  readonly isRelayed: boolean;
  readonly nowMs: () => number;
  readonly metrics: {
    countRecords(result: 'written' | 'dropped', records: number): void;
    countUnconfirmed(result: 'reset' | 'sent'): void;
    readonly registry: MetricRegistry;
  };
  /** Where the key is that signs seals; undefined where nothing is sealed. */
  readonly sealKey: { readonly value: SealKey | undefined } | undefined;
  /** Records can be written, or cannot. */
  readonly changed?: (available: boolean) => void;
}

/** The record stream of one process, from its log to the place where the bytes go. */
export class Records {
  readonly log: RecordLog;
  readonly writer: RecordWriter;
  readonly seals: Seals | undefined;
  /** Earlier processes that wrote to the same file. */
  readonly ended: EndedStreams;
  readonly #relay: RecordRelay | undefined;
  readonly #export: RecordExport | undefined;

  /** Throws where the place cannot be opened: a proxy that cannot record does not start. */
  constructor(readonly options: RecordsOptions) {
    const { config, isRelayed, isShared, boot, worker, nowMs, metrics, sealKey: source } = options;
    const isSynced = config.durability === 'synced';
    const socket = isRelayed ? undefined : socketPathOf(config.file);
    const target =
      socket === undefined
        ? new RecordFile(isRelayed ? '-' : config.file, { isShared, isSynced })
        : new SocketTarget(socket);
    this.#relay = isRelayed ? new RecordRelay(target) : undefined;
    const place: RecordTarget = this.#relay ?? target;
    if (config.seal !== undefined && source !== undefined) {
      const stream = { id: hostname(), boot, worker };
      this.seals = new Seals({ stream, everyMs: config.seal.everyMs, source, nowMs });
    }
    this.writer = new RecordWriter(place, this.#events(), confirmsOf(config, isRelayed), this.seals?.sealer);
    const { onFailure } = config;
    const unconfirmed = (result: 'reset' | 'sent'): void => metrics.countUnconfirmed(result);
    this.log = new RecordLog(this.writer, { onFailure, boot, worker, nowMs, unconfirmed });
    // Who writes to the place itself sends the copy: each worker its own, or the supervisor all of them.
    const { otlp } = isRelayed ? {} : config;
    this.#export = otlp && new RecordExport(otlp, { ...options, log: this.log, registry: metrics.registry });
    this.ended = new EndedStreams({
      file: socketPathOf(config.file) === undefined ? config.file : '-', // nothing can be read back
      sealedEveryMs: config.seal?.everyMs,
      diagnostics: options.diagnostics,
      writeGap: (gap, detail) => this.log.writeGap(gap, detail),
    });
  }

  /** Writes what is left; what a collector then lacks is told in the stream, but for its very end. */
  async close(): Promise<void> {
    this.ended.close();
    await this.#export?.finish();
    await this.writer.close();
    await this.#export?.close();
  }

  /** Told by the supervisor where it does the writing. */
  supervisorWrites(available: boolean): void {
    this.log.supervisorWrites = available;
    this.#relay?.supervisorWrites(available);
  }

  /** @param lines that the supervisor has dealt with. */
  acknowledge(lines: number): void {
    this.#relay?.acknowledge(lines);
  }

  #events(): RecordWriterEvents {
    const { config, diagnostics, metrics, changed } = this.options;
    const { file } = config;
    return {
      failed: (error) => {
        const then =
          config.onFailure === 'deny'
            ? 'new requests are refused until they can be'
            : 'requests go on without evidence';
        diagnostics.error({ err: error, file, then }, 'records cannot be written');
        changed?.(false);
      },
      recovered: () => {
        diagnostics.info({ file }, 'records are written again');
        this.log.declareDropped();
        changed?.(true);
      },
      written: (records) => metrics.countRecords('written', records),
      kept: (lines) => this.#export?.take(lines),
      dropped: (records) => metrics.countRecords('dropped', records),
      truncated: (bytes) => {
        const what = 'the file of records was made shorter in place; rotate it by rename';
        diagnostics.error({ file, bytes }, what);
        this.log.writeGap({ why: 'truncated' }, `${what}: ${bytes} bytes that were written are gone from it`);
      },
      uncertain: (records) => {
        const what = 'the disk may not have the records before this one: a sync failed';
        diagnostics.error({ file, records }, what);
        this.log.writeGap({ why: 'sync_failed', records }, what);
      },
    };
  }
}

function confirmsOf({ durability }: AuditConfig, isRelayed: boolean): Confirms {
  if (durability === 'buffered') return 'never';
  return isRelayed || durability === 'synced' ? 'synced' : 'written';
}

/** Appends of several processes to a regular file never mix; to a pipe or a terminal they may. One not there yet will be one. */
export function isRegularFile(file: string): boolean {
  if (file === '-' || socketPathOf(file) !== undefined) return false;
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? true;
}

const socketPathOf = (file: string): string | undefined =>
  file.startsWith('unix:') ? file.slice('unix:'.length) : undefined;
