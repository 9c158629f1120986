import type { StreamName } from './seal-line.js';

/** What a store of logs indexes of one line; the line itself is the body. Anything may be missing: it is read, not believed. */
export interface ExportFields {
  readonly stream: StreamName | undefined;
  /** Undefined of a seal. */
  readonly seq: number | undefined;
  readonly timeMs: number | undefined;
  readonly event: string | undefined;
  readonly isWarning: boolean;
  /** 32 hexadecimal digits, lower case. */
  readonly traceId: string | undefined;
  /** Under names of our own, as stores show them. */
  readonly attributes: Readonly<Record<string, string | number>>;
}

type Fields = Readonly<Record<string, unknown>>;

const NOTHING: Fields = {};
const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;
/** Changes that somebody should look at. */
const WARNINGS: ReadonlySet<unknown> = new Set([
  'access.corrected',
  'audit.gap',
  'audit.export_lost',
  'process.worker_lost',
  'source.drifted',
  'trust.shrunk',
  'svid.revoked',
  'svid.expiring',
]);

/** Reads a line of the stream, without its newline. One that is no JSON has no fields. */
export function exportFieldsOf(line: string): ExportFields {
  const record = parseObject(line);
  const { seq, event } = record;
  const stream = streamOf(part(record, 'stream'));
  const decision = part(record, 'decision');
  const request = part(record, 'request');
  const attributes: Record<string, string | number> = {};
  const add = (name: string, value: unknown): void => {
    if (typeof value === 'string' || typeof value === 'number') attributes[`countersign.${name}`] = value;
  };
  add('event', event);
  add('seq', seq);
  add('stream.id', stream?.id);
  add('stream.boot', stream?.boot);
  add('stream.worker', stream?.worker);
  const { kind, id } = part(record, 'principal');
  add(kind === 'none' ? 'principal.claimed' : 'principal.id', id); // a search for an identity must not find who only says so
  add('behalfOf.id', part(record, 'behalfOf').id);
  const token = part(record, 'token');
  add('token.entry', token.entry);
  add('token.jti', token.jti);
  add('destination', request.destination);
  add('effect', decision.effect);
  add('reason', decision.reason ?? record.reason);
  add('rule', decision.rule);
  add('exception', decision.exception);
  add('status', part(record, 'response').status);
  const { traceId } = request;
  return {
    stream,
    seq: typeof seq === 'number' ? seq : undefined,
    timeMs: timeOf(record.time),
    event: typeof event === 'string' ? event : undefined,
    isWarning: isWarning(event, decision, part(record, 'response')),
    traceId: typeof traceId === 'string' && TRACE_ID.test(traceId) ? traceId : undefined,
    attributes,
  };
}

function parseObject(line: string): Fields {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Fields) : NOTHING;
  } catch {
    return NOTHING; // a fragment that a full disk left, or what something else wrote to the same place
  }
}

function part(fields: Fields, name: string): Fields {
  const value = fields[name];
  return typeof value === 'object' && value !== null ? (value as Fields) : NOTHING;
}

function streamOf({ id, boot, worker }: Fields): StreamName | undefined {
  if (typeof id !== 'string' || typeof boot !== 'string' || typeof worker !== 'number') return undefined;
  return { id, boot, worker };
}

function timeOf(time: unknown): number | undefined {
  const ms = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function isWarning(event: unknown, decision: Fields, response: Fields): boolean {
  const { outcome } = response;
  if (decision.effect === 'deny' || (outcome !== undefined && outcome !== 'complete')) return true;
  return WARNINGS.has(event) || (typeof event === 'string' && event.endsWith('.refused'));
}
