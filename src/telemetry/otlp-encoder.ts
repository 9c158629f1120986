import { setImmediate as nextTurn } from 'node:timers/promises';
import { type ExportFields, exportFieldsOf } from '../audit/export-fields.js';

type Transformer = typeof import('@opentelemetry/otlp-transformer');
type Serializer = Transformer['ProtobufLogsSerializer'];
type LogRecord = Parameters<Serializer['serializeRequest']>[0][number];

const INFO = 9;
const WARN = 13;
/** Of a trace id without its span: nothing is known of either. */
const NO_FLAGS = 0;

/** A line that is to be exported, without its newline, and what is indexed of it. */
export interface ExportLine {
  readonly line: string;
  readonly fields: ExportFields;
}

/** What the collector said of a batch that it took. */
export interface ExportAnswer {
  /** Of the batch; it does not say which. */
  readonly rejected: number;
  readonly message: string | undefined;
}

/** Whole lines as bytes -> each by itself. */
export const readExportLines = (bytes: Buffer): ExportLine[] => linesOf(bytes).map(toExportLine);

const linesOf = (bytes: Buffer): string[] =>
  bytes
    .toString()
    .split('\n')
    .filter((line) => line !== '');

const toExportLine = (line: string): ExportLine => ({ line, fields: exportFieldsOf(line) });

/** Some half a millisecond each: requests want their turn. */
const SLICE_LINES = 24;

/** Lines -> an ExportLogsServiceRequest in protobuf, and the answer back, by OpenTelemetry's own library. */
export class OtlpEncoder {
  readonly #serializer: Serializer;
  readonly #resource: LogRecord['resource'];
  readonly #scope: LogRecord['instrumentationScope'];

  private constructor(serializer: Serializer, resource: LogRecord['resource']) {
    this.#serializer = serializer;
    this.#resource = resource;
    this.#scope = { name: 'countersign.audit' };
  }

  /** Loads the library only where it is used: that takes a tenth of a second. */
  static async load(serviceName: string, hostName: string): Promise<OtlpEncoder> {
    const [{ ProtobufLogsSerializer }, { resourceFromAttributes }] = await Promise.all([
      import('@opentelemetry/otlp-transformer'),
      import('@opentelemetry/resources'),
    ]);
    const resource = resourceFromAttributes({ 'service.name': serviceName, 'host.name': hostName });
    return new OtlpEncoder(ProtobufLogsSerializer, resource);
  }

  /**
   * Reads and encodes whole lines, a slice at a time: protobuf messages put one after the other are one message, whose
   * lists are joined.
   * @param nowMs when they were given to be exported, in Unix milliseconds.
   */
  async encode(
    bytes: Buffer,
    nowMs: number,
  ): Promise<{ readonly lines: ExportLine[]; readonly body: Buffer }> {
    const observed = toHrTime(nowMs);
    const texts = linesOf(bytes);
    const lines: ExportLine[] = [];
    const parts: Uint8Array[] = [];
    for (let at = 0; at < texts.length; at += SLICE_LINES) {
      if (at > 0) await nextTurn();
      const slice = texts.slice(at, at + SLICE_LINES).map(toExportLine);
      lines.push(...slice);
      const part = this.#serializer.serializeRequest(slice.map((line) => this.#toRecord(line, observed)));
      if (part === undefined) throw new Error('records could not be encoded');
      parts.push(part);
    }
    return { lines, body: Buffer.concat(parts) };
  }

  /** What a 2xx says. Undefined where it is no collector that answered: a web page has taken nothing. */
  decodeAnswer(bytes: Buffer, contentType: string): ExportAnswer | undefined {
    if (bytes.length === 0) return { rejected: 0, message: undefined };
    try {
      if (/^application\/x-protobuf\b/i.test(contentType))
        return toAnswer(this.#serializer.deserializeResponse(bytes));
      if (/^application\/json\b/i.test(contentType)) return toAnswer(JSON.parse(bytes.toString()));
    } catch {
      // what cannot be read is no answer
    }
    return undefined;
  }

  #toRecord({ line, fields }: ExportLine, observed: LogRecord['hrTime']): LogRecord {
    const { timeMs, event, isWarning, traceId, attributes } = fields;
    return {
      hrTime: timeMs === undefined ? observed : toHrTime(timeMs),
      hrTimeObserved: observed,
      severityNumber: isWarning ? WARN : INFO,
      severityText: isWarning ? 'WARN' : 'INFO',
      body: line,
      ...(event === undefined ? {} : { eventName: `countersign.${event}` }),
      ...(traceId === undefined ? {} : { spanContext: { traceId, spanId: '', traceFlags: NO_FLAGS } }),
      attributes,
      droppedAttributesCount: 0,
      resource: this.#resource,
      instrumentationScope: this.#scope,
    };
  }
}

const toHrTime = (ms: number): [number, number] => [Math.floor(ms / 1000), Math.floor(ms % 1000) * 1_000_000];

/** Protobuf's JSON writes 64-bit numbers as text. */
function toAnswer(response: {
  readonly partialSuccess?: { readonly rejectedLogRecords?: number | string; readonly errorMessage?: string };
}): ExportAnswer {
  const { rejectedLogRecords, errorMessage } = response.partialSuccess ?? {};
  const rejected = Number(rejectedLogRecords ?? 0);
  const message = typeof errorMessage === 'string' && errorMessage !== '' ? errorMessage : undefined;
  return { rejected: Number.isSafeInteger(rejected) ? Math.max(0, rejected) : 0, message };
}
