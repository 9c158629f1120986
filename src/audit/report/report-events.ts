import { fieldsOf, parseRecordTime } from '../record-line.js';
import type { AccessEdge } from './access-tally.js';
import { nameOf, OTHER } from './capped-map.js';
import type { EventTally, ToldEvent } from './event-tally.js';
import { greatest, percentilesOf, sum } from './report-access.js';
import type { Evidence, ExceptionRow, Revocations, TimelineRow } from './report-model.js';
import type { StreamsTally, StreamTally } from './stream-tally.js';

const WEEK_MS = 7 * 24 * 3_600_000;
const MAX_TIMELINE = 500;

/** What the configuration in hand says of an exception. */
export interface DeclaredException {
  readonly id: string;
  readonly owner: string;
  readonly expires: string;
}

export const streamName = ({ id, boot, worker }: StreamTally): string =>
  id === '' && boot === '' ? OTHER : `${id} ${boot} ${worker}`;

/** Changes that take access away, each with the first record after it that says that it is done. */
export function revocationsOf(events: EventTally): Revocations {
  const done = events.told('revocation.enforced');
  const taken = new Set<ToldEvent>();
  const changes = events.told('revocation.changed', 'revocation.withdrawn', 'trust.shrunk').map((change) => {
    const end =
      change.event === 'revocation.withdrawn'
        ? undefined
        : done.find((record) => !taken.has(record) && isEndOf(record, change));
    if (end !== undefined) taken.add(end);
    const { time, stream, event, detail } = change;
    const told = { tookMs: end?.latencyMs, connections: end?.connections };
    return { time, stream: streamName(stream), event, detail, ...told };
  });
  const ended = events.terminated.values().map(({ reason, durations }) => ({
    reason,
    connections: durations.count,
    latencyMs: percentilesOf(durations),
    maxMs: durations.maxMs,
  }));
  return { changes, ended: ended.sort((a, b) => b.connections - a.connections) };
}

const isEndOf = (end: ToldEvent, change: ToldEvent): boolean =>
  end.stream === change.stream &&
  end.time >= change.time &&
  (end.source === change.source || end.source === '' || change.source === '');

/** Exceptions that records or the configuration know, those in use first. `asOf`: time of the newest record. */
export function exceptionRows(
  events: EventTally,
  edges: readonly AccessEdge[],
  declared: readonly DeclaredException[],
  asOf: string,
): ExceptionRow[] {
  const uses = edges.flatMap(({ identity, destination, cells }) =>
    cells.filter(({ exception }) => exception !== '').map((cell) => ({ identity, destination, cell })),
  );
  const told = new Map(events.exceptions.values().map((exception) => [exception.id, exception]));
  const ids = [...told.keys(), ...uses.map(({ cell }) => cell.exception), ...declared.map(({ id }) => id)];
  const rows = [...new Set(ids)].map((id) => {
    const of = uses.filter(({ cell }) => cell.exception === id);
    const known = told.get(id) ?? declared.find((exception) => exception.id === id);
    const state = told.get(id)?.state ?? '';
    return {
      id,
      owner: known?.owner ?? '',
      expires: known?.expires ?? '',
      state: exceptionState(state, known?.expires ?? '', asOf),
      requests: sum(of, ({ cell }) => cell.requests),
      identities: new Set(of.map(({ identity }) => identity)).size,
      destinations: new Set(of.map(({ destination }) => destination)).size,
      lastUsed: greatest(of.map(({ cell }) => cell.last)),
    };
  });
  return rows.sort((a, b) => b.requests - a.requests || (a.id < b.id ? -1 : 1));
}

function exceptionState(event: string, expires: string, asOf: string): string {
  if (event === 'withdrawn' || event === 'expired') return event;
  const [end, now] = [parseRecordTime(expires), parseRecordTime(asOf)];
  if (end === undefined || now === undefined) return 'not told';
  if (end <= now) return 'expired';
  return end - now <= WEEK_MS ? 'soon' : 'in force';
}

/** How whole these records are, as far as reading alone can tell. */
export function evidenceOf({ streams }: StreamsTally, events: EventTally, corrected: number): Evidence {
  const declared = new Map<StreamTally, number>();
  for (const { stream, fields } of events.told('audit.gap')) {
    const { records } = fieldsOf(fields.gap);
    if (typeof records === 'number') declared.set(stream, (declared.get(stream) ?? 0) + records);
  }
  const rows = streams.values().map((stream) => {
    const { records, seals, from, to, first, last } = stream;
    const missing = to === 0 ? 0 : Math.max(0, to - from + 1 - records);
    const undeclared = Math.max(0, missing - (declared.get(stream) ?? 0));
    return { stream: streamName(stream), records, seals, from, to, missing, undeclared, first, last };
  });
  const gaps = events.told('audit.gap').map(({ time, stream, detail, fields }) => {
    const gap = fieldsOf(fields.gap);
    const records = typeof gap.records === 'number' ? gap.records : undefined;
    return { time, stream: streamName(stream), why: nameOf(gap.why), records, detail };
  });
  return {
    streams: rows.sort((a, b) => (a.first < b.first ? -1 : 1)),
    seals: sum(rows, ({ seals }) => seals),
    undeclared: sum(rows, ({ undeclared }) => undeclared),
    corrected,
    gaps,
  };
}

/** Told by tables of their own. */
const NOT_IN_TIMELINE = new Set(['static_secret.observed', 'edge.first_seen', 'identity.first_seen']);

/** What happened besides requests, in order; the newest where there is too much of it. */
export function timelineOf(events: EventTally): TimelineRow[] {
  const names = events.toldEvents.filter((event) => !NOT_IN_TIMELINE.has(event));
  return events
    .told(...names)
    .slice(-MAX_TIMELINE)
    .map(({ time, event, stream, identity, source, detail, fields }) => {
      const about = identity || nameOf(fieldsOf(fields.exception).id) || source;
      return { time, event, stream: streamName(stream), about, detail };
    });
}
