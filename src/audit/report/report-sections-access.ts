import type { Report } from './report-model.js';
import {
  at,
  many,
  name,
  number,
  of,
  type ReportTable,
  span,
  text,
  time,
  where,
  who,
} from './report-table.js';
import { numberText } from './report-wording.js';

export function identities({ identities: rows }: Report): ReportTable {
  return {
    title: 'Identities',
    note: 'Verified callers. The owner is the registry’s; “unregistered” means that there is one and it does not know the ID.',
    columns: [
      name('Identity'),
      text('Owner'),
      number('Requests'),
      number('Refused'),
      number('Destinations'),
      number('Credentials'),
      text('Showed'),
      time('First seen'),
      time('Last seen'),
    ],
    rows: rows.map((row) => [
      who(row.id),
      of(row.registered === false ? 'unregistered' : (row.owner ?? '')),
      many(row.requests),
      many(row.refused),
      many(row.destinations),
      many(row.credentials),
      of(row.kinds.join(', ')),
      at(row.firstSeen),
      at(row.lastSeen),
    ]),
  };
}

export function paths({ paths: rows }: Report): ReportTable {
  return {
    title: 'Access paths',
    note: 'Each identity with each destination it asked for, how often, and under which rules it was let in.',
    columns: [
      name('Identity'),
      name('Destination'),
      number('Allowed'),
      number('Refused'),
      text('Under'),
      text('Refused for'),
      time('First allowed'),
      time('Last seen'),
    ],
    rows: rows.map((row) => [
      who(row.identity),
      where(row.destination),
      many(row.allowed),
      many(row.refused),
      of(row.rules.map(({ rule, requests }) => `${rule} (${numberText(requests)})`).join(', ')),
      of(row.reasons.map(({ reason, requests }) => `${reason} (${numberText(requests)})`).join(', ')),
      at(row.firstAllowed),
      at(row.lastSeen),
    ]),
  };
}

export function destinations({ destinations: rows }: Report): ReportTable {
  return {
    title: 'Destinations',
    note: 'Not whole: allowed, and the answer was not complete. Times are those of complete answers.',
    columns: [
      name('Destination'),
      number('Identities'),
      number('Allowed'),
      number('Refused'),
      number('Not whole'),
      number('Median'),
      number('95 %'),
      number('99 %'),
    ],
    rows: rows.map(({ name: destination, identities: callers, allowed, refused, outcomes, durationMs }) => [
      of(destination),
      many(callers),
      many(allowed),
      many(refused),
      many(Object.entries(outcomes).reduce((all, [outcome, n]) => all + (outcome === 'complete' ? 0 : n), 0)),
      span(durationMs.p50),
      span(durationMs.p95),
      span(durationMs.p99),
    ]),
  };
}

/** Newest first; enough of them to see what a release or an intruder brought. */
const NEWEST = 50;

export function firstSeen({ identities: callers, paths: edges }: Report): ReportTable[] {
  const newest = [...callers].sort((a, b) => (a.firstSeen < b.firstSeen ? 1 : -1)).slice(0, NEWEST);
  const allowed = edges.filter(({ firstAllowed, identity }) => firstAllowed !== '' && identity !== '');
  const fresh = allowed.sort((a, b) => (a.firstAllowed < b.firstAllowed ? 1 : -1)).slice(0, NEWEST);
  return [
    {
      title: 'Newest identities',
      note: 'By their first request in these files, the newest first.',
      columns: [time('First seen'), name('Identity'), text('Owner'), number('Requests')],
      rows: newest.map((row) => [
        at(row.firstSeen),
        who(row.id),
        of(row.registered === false ? 'unregistered' : (row.owner ?? '')),
        many(row.requests),
      ]),
    },
    {
      title: 'Newest paths',
      note: 'By the first request that was allowed in these files, the newest first.',
      columns: [time('First allowed'), name('Identity'), name('Destination'), number('Requests')],
      rows: fresh.map((row) => [
        at(row.firstAllowed),
        who(row.identity),
        where(row.destination),
        many(row.allowed),
      ]),
    },
  ];
}

export function rules({ rules: rows, leastPrivilege, shadow }: Report): ReportTable[] {
  const { isKnown, neverUsed, tooWide } = leastPrivilege;
  const unknown =
    'Which rules there are stands in the configuration: give it with -c to see what is never used.';
  const used: ReportTable = {
    title: 'Rules that decided',
    note: '“default”: no rule matched. “registry”: the registry refused.',
    columns: [
      name('Rule'),
      number('Allowed'),
      number('Refused'),
      number('Identities'),
      number('Destinations'),
      time('First used'),
      time('Last used'),
    ],
    rows: rows.map((row) => [
      of(row.rule),
      many(row.allowed),
      many(row.refused),
      many(row.identities),
      many(row.destinations),
      at(row.firstUsed),
      at(row.lastUsed),
    ]),
  };
  const never: ReportTable = {
    title: 'Rules never used',
    note: isKnown ? 'Rules of the configuration that decided nothing here: candidates for removal.' : unknown,
    columns: [name('Rule'), text('Effect'), text('Owner')],
    rows: neverUsed.map(({ rule, effect, owner }) => [of(rule), of(effect), of(owner ?? '')]),
  };
  const wide: ReportTable = {
    title: 'Grants never used',
    note: isKnown ? 'Of allow rules that are in use: destinations and callers that nobody needed.' : unknown,
    columns: [name('Rule'), text('Owner'), text('Destinations never reached'), text('Principals never seen')],
    rows: tooWide.map((row) => [
      of(row.rule),
      of(row.owner ?? ''),
      of(row.destinations.join(', ')),
      of(row.principals.join(', ')),
    ]),
  };
  const tried: ReportTable = {
    title: 'Rules that are tried out',
    note: 'Requests that they would have answered otherwise.',
    columns: [name('Rule'), number('Would allow'), number('Would refuse')],
    rows: shadow.map(({ rule, toAllow, toDeny }) => [of(rule), many(toAllow), many(toDeny)]),
  };
  return shadow.length > 0 ? [used, never, wide, tried] : [used, never, wide];
}

const EXCEPTION_STATES: Readonly<Record<string, string>> = { soon: 'expires within a week' };

export function exceptions({ exceptions: rows }: Report): ReportTable {
  return {
    title: 'Exceptions',
    note: 'In use, soon to expire, and over; as of the newest record.',
    columns: [
      name('Exception'),
      text('Owner'),
      text('State'),
      time('Expires'),
      number('Requests'),
      number('Identities'),
      number('Destinations'),
      time('Last used'),
    ],
    rows: rows.map((row) => [
      of(row.id),
      of(row.owner),
      of(EXCEPTION_STATES[row.state] ?? row.state),
      at(row.expires),
      many(row.requests),
      many(row.identities),
      many(row.destinations),
      at(row.lastUsed),
    ]),
  };
}

export function refusals({ refusals: { byReason, byIdentity, claims } }: Report): ReportTable[] {
  return [
    {
      title: 'By reason',
      note: 'Connections: refused before a request came.',
      columns: [name('Reason'), number('Requests'), number('Connections')],
      rows: byReason.map(({ reason, requests, connections }) => [
        of(reason),
        many(requests),
        many(connections),
      ]),
    },
    {
      title: 'By identity',
      note: 'Verified callers that were told no, and who was not verified.',
      columns: [name('Identity'), name('Destination'), name('Reason'), number('Requests'), time('Last')],
      rows: byIdentity.map((row) => [
        who(row.identity),
        where(row.destination),
        of(row.reason),
        many(row.requests),
        at(row.lastSeen),
      ]),
    },
    {
      title: 'Claims that nothing verified',
      note: 'Names in certificates that were refused: anybody can put them there.',
      columns: [name('Claimed name'), name('Reason'), number('Times'), time('Last')],
      rows: claims.map(({ claim, reason, times, lastSeen }) => [
        of(claim),
        of(reason),
        many(times),
        at(lastSeen),
      ]),
    },
  ];
}
