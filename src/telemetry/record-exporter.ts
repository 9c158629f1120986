import { setTimeout as delay } from 'node:timers/promises';
import type { ExportLoss, ExportLossCause } from '../audit/record.js';
import type { Diagnostics } from '../listener/ports.js';
import { ExportLosses } from './export-losses.js';
import { ExportOutage } from './export-outage.js';
import { ExportQueue } from './export-queue.js';
import { type ExportAnswer, type ExportLine, type OtlpEncoder, readExportLines } from './otlp-encoder.js';
import type { OtlpTransport } from './otlp-transport.js';

/** Within what a web server before a collector takes as a body (nginx: 1 MiB), and encoded in a few milliseconds. */
const BATCH_BYTES = 256 * 1024;
/** What comes meanwhile goes along. */
const GATHER_MS = 250;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
/** A collector cannot put off everything for longer by one answer. */
const MAX_PUT_OFF_MS = 3_600_000;
/** Losses are told together: a record each would be lost in turn. */
const TELL_FIRST_MS = 2000;
const TELL_MS = 60_000;

export interface ExporterSettings {
  readonly retryForMs: number;
  readonly queueBytes: number;
}

export interface ExporterEvents {
  readonly diagnostics: Diagnostics;
  /** So many lines came to this. */
  count(result: 'exported' | ExportLossCause, lines: number): void;
  /** For the stream itself: an auditor is to know where the copy is incomplete. */
  lost(losses: readonly ExportLoss[]): void;
  nowMs(): number;
}

/**
 * Sends a copy of the stream to a collector, at least once each and in order. It never makes anybody wait: what it cannot
 * keep or send is given up, counted and told.
 */
export class RecordExporter {
  readonly #queue: ExportQueue;
  readonly #losses = new ExportLosses();
  readonly #outage: ExportOutage;
  readonly #ended = new AbortController();
  /** Ends the pause between two attempts. */
  #wake = new AbortController();
  #gather: NodeJS.Timeout | undefined;
  #tell: NodeJS.Timeout | undefined;
  #hasTold = false;
  /** The batches that are on their way, one after the other. */
  #running: Promise<void> | undefined;
  /** No attempt before. A time of performance.now(). */
  #notBefore = 0;
  /** It was the collector that asked for it, and not we that chose to wait. */
  #isPutOff = false;
  /** At the end nothing is tried after this. A time of performance.now(). */
  #deadline = Number.POSITIVE_INFINITY;

  constructor(
    readonly settings: ExporterSettings,
    readonly encoder: Promise<OtlpEncoder>,
    readonly transport: OtlpTransport,
    readonly events: ExporterEvents,
  ) {
    this.#queue = new ExportQueue(settings.queueBytes);
    this.#outage = new ExportOutage(events.diagnostics);
  }

  get queueBytes(): number {
    return this.#queue.bytes;
  }

  /** Whole lines that are written, newlines included. Returns at once. */
  take(lines: Buffer): void {
    const tooMuch = this.#queue.push(lines);
    if (tooMuch.length > 0) this.#giveUp(readExportLines(tooMuch), 'queue_full');
    if (this.#running !== undefined || this.#queue.isEmpty) return;
    if (this.#queue.bytes >= BATCH_BYTES) this.#begin();
    else this.#gather ??= setTimeout(() => this.#begin(), GATHER_MS).unref();
  }

  /** Sends what it has, for as long as `forMs`; what is left then is given up and told. One that is away is tried once more. */
  async finish(forMs: number): Promise<void> {
    const now = performance.now();
    const isPutOff = this.#isPutOff && this.#notBefore > now;
    this.#deadline = this.#outage.isAway && !isPutOff ? 0 : now + forMs;
    if (isPutOff && this.#notBefore >= this.#deadline) this.#ended.abort();
    if (!isPutOff || this.#ended.signal.aborted) this.#wake.abort();
    const timer = setTimeout(() => this.#ended.abort(), forMs);
    if (!this.#queue.isEmpty) this.#begin();
    await this.#running;
    clearTimeout(timer);
    this.#tellLosses();
  }

  /** After `finish`. */
  close(): void {
    clearTimeout(this.#gather);
    clearTimeout(this.#tell);
    this.transport.close();
  }

  #begin(): void {
    clearTimeout(this.#gather);
    this.#gather = undefined;
    this.#running ??= this.#sendAll().finally(() => {
      this.#running = undefined;
    });
  }

  async #sendAll(): Promise<void> {
    while (!this.#queue.isEmpty) {
      const batch = this.#queue.take(BATCH_BYTES);
      await this.#handle(batch);
      this.#queue.settle(batch);
    }
  }

  async #handle(batch: Buffer): Promise<void> {
    if (this.#ended.signal.aborted) return this.#giveUp(readExportLines(batch), 'shutdown');
    try {
      const encoder = await this.encoder;
      const { lines, body } = await encoder.encode(batch, this.events.nowMs());
      const lostBy = await this.#send(encoder, lines, body);
      if (lostBy !== undefined) this.#giveUp(lines, lostBy);
    } catch (cause) {
      this.#outage.failed((cause as Error).message); // a defect of ours must not end what this is only a copy of
      this.#giveUp(readExportLines(batch), 'refused');
    }
  }

  /** @returns why it was given up, where it was. */
  async #send(
    encoder: OtlpEncoder,
    lines: readonly ExportLine[],
    body: Buffer,
  ): Promise<ExportLossCause | undefined> {
    const since = performance.now();
    for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
      await this.#untilNext();
      if (this.#ended.signal.aborted) return 'shutdown';
      const outcome = await this.transport.send(body, this.#ended.signal);
      if (outcome.kind === 'answered') {
        const answer = encoder.decodeAnswer(outcome.body, outcome.contentType);
        return this.#answered(lines, answer, outcome.contentType);
      }
      this.#outage.failed(outcome.why);
      if (outcome.kind === 'refused') return 'refused';
      this.#putOff(backoffMs, outcome.afterMs);
      if (performance.now() - since >= this.settings.retryForMs) return 'too_old';
    }
  }

  #answered(
    lines: readonly ExportLine[],
    answer: ExportAnswer | undefined,
    contentType: string,
  ): 'refused' | undefined {
    if (answer === undefined) {
      this.#outage.failed(`what answers there is no collector: its answer is "${contentType}"`);
      return 'refused';
    }
    const rejected = Math.min(answer.rejected, lines.length);
    this.events.count('exported', lines.length - rejected);
    if (rejected > 0) this.#giveUp(lines, 'rejected', rejected);
    this.#outage.answered(rejected, answer.message);
    return undefined;
  }

  /** No attempt before that. @param askedMs by the collector. */
  #putOff(backoffMs: number, askedMs: number | undefined): void {
    const jitteredMs = backoffMs * (0.75 + Math.random() / 2);
    this.#isPutOff = askedMs !== undefined;
    this.#notBefore = performance.now() + Math.min(askedMs ?? jitteredMs, MAX_PUT_OFF_MS);
    if (this.#notBefore >= this.#deadline) this.#ended.abort();
  }

  async #untilNext(): Promise<void> {
    const pauseMs = this.#notBefore - performance.now();
    if (pauseMs <= 0) return;
    this.#wake = new AbortController();
    await delay(pauseMs, undefined, { signal: this.#wake.signal, ref: false }).catch(() => undefined);
  }

  #giveUp(lines: readonly ExportLine[], why: ExportLossCause, records = lines.length): void {
    this.events.count(why, records);
    this.#outage.gaveUp(records, why);
    this.#losses.add(lines, why, records);
    if (!this.#losses.isWorthTelling || this.#tell !== undefined) return;
    this.#tell = setTimeout(() => this.#tellLosses(), this.#hasTold ? TELL_MS : TELL_FIRST_MS).unref();
  }

  #tellLosses(): void {
    clearTimeout(this.#tell);
    this.#tell = undefined;
    const losses = this.#losses.take();
    this.#hasTold = true;
    if (losses.length > 0) this.events.lost(losses);
  }
}
