import type { OriginReport } from '../load/origin.js';
import type { AuditLine } from '../support/audit-lines.js';

/** What the clients of a soak saw. */
export interface ClientBooks {
  completed: number;
  /** Went away in the middle of an answer. */
  aborted: number;
  /** Showed a certificate that must be refused, and read a 403. */
  bad: number;
  /** Anything that should not have happened, in words. */
  readonly surprises: string[];
}

/** Everything in which clients, upstream, metrics and audit records disagree. */
export function balance(
  clients: ClientBooks,
  origin: OriginReport,
  records: readonly AuditLine[],
  counted: number,
): string[] {
  const access = records.filter(({ event }) => event === 'access');
  const allowed = access.filter(({ decision }) => decision?.effect === 'allow');
  const outcome = (name: string): number =>
    allowed.filter(({ response }) => response?.outcome === name).length;
  const asked = clients.completed + clients.aborted;
  return [
    ...clients.surprises,
    ...unequal('requests that clients made and access records', asked + clients.bad, access.length),
    ...unequal(
      'requests that were answered and records of complete ones',
      clients.completed,
      outcome('complete'),
    ),
    ...unequal('requests given up and records of aborts', clients.aborted, outcome('client_aborted')),
    ...unequal('bad certificates and records of a no', clients.bad, access.length - allowed.length),
    ...unequal('requests at the upstream and records of a yes', origin.requests, allowed.length),
    ...unequal('access records and requests that the metrics count', access.length, counted),
    ...differences(origin.ids, allowed),
    ...gaps(records),
  ];
}

const unequal = (what: string, left: number, right: number): string[] =>
  left === right ? [] : [`${what} differ: ${left} and ${right}`];

/** One by one: equal sums can hide a lost request behind a doubled one. */
function differences(ids: readonly string[], allowed: readonly AuditLine[]): string[] {
  const upstream = new Set(ids);
  const recorded = new Set(allowed.map(({ id }) => id ?? ''));
  const unrecorded = [...upstream].filter((id) => !recorded.has(id)).length;
  const unseen = [...recorded].filter((id) => !upstream.has(id)).length;
  return [
    ...unequal('requests at the upstream and their ids', ids.length, upstream.size),
    ...unequal('records of a yes and their ids', allowed.length, recorded.size),
    ...(unrecorded === 0 ? [] : [`${unrecorded} requests reached the upstream without a record`]),
    ...(unseen === 0 ? [] : [`${unseen} records tell of requests that the upstream never saw`]),
  ];
}

function gaps(records: readonly AuditLine[]): string[] {
  const wrong = records.findIndex(({ seq }, i) => seq !== i + 1);
  return wrong < 0 ? [] : [`record ${wrong + 1} has the number ${records[wrong]?.seq}`];
}
