import { hostname } from 'node:os';
import type { ExportLoss, ExportLossCause } from '../audit/record.js';
import type { OtlpConfig } from '../config/otlp.js';
import type { Diagnostics, RecordSink } from '../listener/ports.js';
import { ExportMetrics, type MetricRegistry } from '../telemetry/export-metrics.js';
import { OtlpEncoder } from '../telemetry/otlp-encoder.js';
import { OtlpTransport } from '../telemetry/otlp-transport.js';
import { RecordExporter } from '../telemetry/record-exporter.js';

export interface RecordExportParts {
  readonly diagnostics: Diagnostics;
  readonly nowMs: () => number;
  readonly registry: MetricRegistry;
  /** The stream that it is a copy of. */
  readonly log: Pick<RecordSink, 'write'>;
}

/** Twice, before and after the last records: an end must not take longer than who ends us waits. */
const LAST_MS = 2500;

const WORDS: Readonly<Record<ExportLossCause, string>> = {
  queue_full: 'it did not take records for so long that there was no room for more',
  refused: 'it refused the batches that they were in',
  rejected: 'it took the batches that they were in, but for so many; it does not say which',
  too_old: 'they were tried for as long as is configured',
  shutdown: 'it did not take them before the process ended',
};

/** The copy of the stream that goes to a collector. */
export class RecordExport {
  readonly #exporter: RecordExporter;
  readonly #diagnostics: Diagnostics;
  #isStreamOver = false;

  /** Throws where a file that it needs cannot be read. */
  constructor(config: OtlpConfig, { diagnostics, nowMs, registry, log }: RecordExportParts) {
    this.#diagnostics = diagnostics;
    const metrics = new ExportMetrics(registry, () => this.#exporter.queueBytes);
    const encoder = OtlpEncoder.load(config.serviceName, hostname());
    encoder.catch(() => undefined); // said when something is to be sent
    this.#exporter = new RecordExporter(config, encoder, transportOf(config), {
      diagnostics,
      nowMs,
      count: (result, lines) => metrics.count(result, lines),
      lost: (losses) => {
        if (this.#isStreamOver) diagnostics.error({ losses }, 'the collector lacks the last records');
        else for (const lost of losses) log.write(toRecord(lost, nowMs()));
      },
    });
  }

  /** Whole lines that are kept. Never throws: to the writer that would look as if they were not. */
  take(lines: Buffer): void {
    try {
      this.#exporter.take(lines);
    } catch (cause) {
      this.#diagnostics.error({ err: cause }, 'records are not exported');
    }
  }

  /** While there is still a stream to tell in. */
  finish(): Promise<void> {
    return this.#exporter.finish(LAST_MS);
  }

  /** With the last lines of all: of those no record can tell any more. */
  async close(): Promise<void> {
    this.#isStreamOver = true;
    await this.#exporter.finish(LAST_MS);
    this.#exporter.close();
  }
}

function transportOf(config: OtlpConfig): OtlpTransport {
  try {
    return new OtlpTransport(config);
  } catch (cause) {
    throw new Error(`audit.otlp: ${(cause as Error).message}`, { cause });
  }
}

const toRecord = (lost: ExportLoss, nowMs: number) => ({
  time: new Date(nowMs).toISOString(),
  event: 'audit.export_lost' as const,
  lost,
  detail: `a collector lacks ${lost.records} records of those from ${lost.from} to ${lost.to}: ${WORDS[lost.why]}`,
});
