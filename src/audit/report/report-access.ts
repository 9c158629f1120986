import type { AccessCell, AccessEdge, AccessTally } from './access-tally.js';
import type { DurationHistogram } from './duration-histogram.js';
import type { ReportCallers } from './report-callers.js';
import type { DestinationRow, IdentityRow, PathRow, Percentiles, Refusals, RuleRow } from './report-model.js';
import { widen } from './time-span.js';

/** Every path with its counts, those with most requests first. */
export function pathRows(edges: readonly AccessEdge[]): PathRow[] {
  return edges.map(pathRow).sort((a, b) => b.allowed + b.refused - a.allowed - a.refused || order(a, b));
}

const order = (a: PathRow, b: PathRow): number =>
  `${a.identity}\n${a.destination}` < `${b.identity}\n${b.destination}` ? -1 : 1;

function pathRow({ identity, destination, cells }: AccessEdge): PathRow {
  const span = { first: '', last: '' };
  let [allowed, refused, firstAllowed] = [0, 0, ''];
  const [rules, reasons] = [new Map<string, number>(), new Map<string, number>()];
  for (const cell of cells) {
    widen(span, cell.first);
    widen(span, cell.last);
    if (cell.effect === 'allow') {
      allowed += cell.requests;
      addTo(rules, decidedBy(cell), cell.requests);
      if (firstAllowed === '' || cell.first < firstAllowed) firstAllowed = cell.first;
    } else {
      refused += cell.requests;
      addTo(reasons, cell.reason, cell.requests);
    }
  }
  return {
    identity,
    destination,
    allowed,
    refused,
    rules: mostFirst(rules).map(([rule, requests]) => ({ rule, requests })),
    reasons: mostFirst(reasons).map(([reason, requests]) => ({ reason, requests })),
    firstSeen: span.first,
    firstAllowed,
    lastSeen: span.last,
  };
}

const decidedBy = ({ rule, exception }: AccessCell): string =>
  exception === '' ? rule : `exception ${exception}`;

/** Verified identities, those with most requests first. */
export function identityRows(paths: readonly PathRow[], callers: ReportCallers): IdentityRow[] {
  const known = new Map(callers.identities.values().map((identity) => [identity.id, identity]));
  const credentials = new Map<string, number>();
  for (const { identity } of callers.credentials.values()) addTo(credentials, identity, 1);
  const rows = [...groupBy(paths, ({ identity }) => identity)].filter(([id]) => id !== '');
  return rows
    .map(([id, of]) => ({
      id,
      owner: known.get(id)?.owner,
      registered: known.get(id)?.registered,
      requests: sum(of, ({ allowed, refused }) => allowed + refused),
      refused: sum(of, ({ refused }) => refused),
      destinations: of.filter(({ allowed, destination }) => allowed > 0 && destination !== '').length,
      credentials: credentials.get(id) ?? 0,
      kinds: [...(known.get(id)?.kinds ?? [])].sort(),
      firstSeen: least(of.map(({ firstSeen }) => firstSeen)),
      lastSeen: greatest(of.map(({ lastSeen }) => lastSeen)),
    }))
    .sort((a, b) => b.requests - a.requests || (a.id < b.id ? -1 : 1));
}

export function destinationRows(paths: readonly PathRow[], access: AccessTally): DestinationRow[] {
  const tallies = new Map(access.destinations.values().map((tally) => [tally.name, tally]));
  return [...groupBy(paths, ({ destination }) => destination)]
    .filter(([name]) => name !== '')
    .map(([name, of]) => ({
      name,
      identities: of.filter(({ allowed, identity }) => allowed > 0 && identity !== '').length,
      allowed: sum(of, ({ allowed }) => allowed),
      refused: sum(of, ({ refused }) => refused),
      outcomes: Object.fromEntries(
        (tallies.get(name)?.outcomes.values() ?? []).map(({ outcome, requests }) => [outcome, requests]),
      ),
      durationMs: percentilesOf(tallies.get(name)?.durations),
    }))
    .sort((a, b) => b.allowed + b.refused - a.allowed - a.refused || (a.name < b.name ? -1 : 1));
}

export function ruleRows(edges: readonly AccessEdge[]): RuleRow[] {
  interface Draft {
    allowed: number;
    refused: number;
    first: string;
    last: string;
    readonly identities: Set<string>;
    readonly destinations: Set<string>;
  }
  const drafts = new Map<string, Draft>();
  for (const { identity, destination, cells } of edges)
    for (const cell of cells) {
      if (cell.rule === '' || cell.exception !== '') continue;
      const fresh = { allowed: 0, refused: 0, first: '', last: '' };
      const draft = drafts.get(cell.rule) ?? { ...fresh, identities: new Set(), destinations: new Set() };
      drafts.set(cell.rule, draft);
      if (cell.effect === 'allow') draft.allowed += cell.requests;
      else draft.refused += cell.requests;
      if (identity !== '') draft.identities.add(identity);
      if (destination !== '') draft.destinations.add(destination);
      widen(draft, cell.first);
      widen(draft, cell.last);
    }
  return [...drafts]
    .map(([rule, { allowed, refused, first, last, identities, destinations }]) => ({
      rule,
      allowed,
      refused,
      identities: identities.size,
      destinations: destinations.size,
      firstUsed: first,
      lastUsed: last,
    }))
    .sort((a, b) => b.allowed + b.refused - a.allowed - a.refused || (a.rule < b.rule ? -1 : 1));
}

/** Requests that were refused, by whom and why, most first. */
export function refusalsByIdentity(edges: readonly AccessEdge[]): Refusals['byIdentity'] {
  return edges
    .flatMap(({ identity, destination, cells }) =>
      cells
        .filter(({ effect }) => effect === 'deny')
        .map(({ reason, requests, last }) => ({ identity, reason, destination, requests, lastSeen: last })),
    )
    .sort((a, b) => b.requests - a.requests);
}

export const percentilesOf = (durations: DurationHistogram | undefined): Percentiles => ({
  p50: durations?.percentile(0.5),
  p95: durations?.percentile(0.95),
  p99: durations?.percentile(0.99),
});

export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

export const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

export const addTo = (counts: Map<string, number>, name: string, count: number): unknown =>
  counts.set(name, (counts.get(name) ?? 0) + count);

const mostFirst = (counts: ReadonlyMap<string, number>): [string, number][] =>
  [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));

export const least = (times: readonly string[]): string =>
  times.reduce((a, b) => (b < a ? b : a), times[0] ?? '');
export const greatest = (times: readonly string[]): string => times.reduce((a, b) => (b > a ? b : a), '');
