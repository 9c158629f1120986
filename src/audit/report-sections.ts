import type { Report } from './report-model.js';
import { countText, durationText, numberText, timeText } from './report-wording.js';

/** How a column is set and sorted. */
export interface ReportColumn {
  readonly title: string;
  /** `name`: an identity or another word of a record. `number`: set to the right. */
  readonly kind: 'name' | 'text' | 'number' | 'time';
}

export interface ReportCell {
  readonly text: string;
  /** What it is sorted by, where that is not the text. */
  readonly order?: number | string;
}

export interface ReportTable {
  readonly title: string;
  /** What the table tells, and what follows from it being empty. */
  readonly note: string;
  readonly columns: readonly ReportColumn[];
  readonly rows: readonly (readonly ReportCell[])[];
}

/** One question that the report answers. */
export interface ReportSection {
  readonly id: string;
  readonly title: string;
  readonly tables: readonly ReportTable[];
}

const name = (title: string): ReportColumn => ({ title, kind: 'name' });
const text = (title: string): ReportColumn => ({ title, kind: 'text' });
const number = (title: string): ReportColumn => ({ title, kind: 'number' });
const time = (title: string): ReportColumn => ({ title, kind: 'time' });

const of = (value: string): ReportCell => ({ text: value === '' ? '–' : value });
const who = (identity: string): ReportCell => ({ text: identity === '' ? 'not verified' : identity });
const where = (destination: string): ReportCell => ({
  text: destination === '' ? 'none found' : destination,
});
const many = (count: number): ReportCell => ({ text: numberText(count), order: count });
const at = (value: string): ReportCell => ({ text: value === '' ? '–' : timeText(value), order: value });
const span = (ms: number | undefined): ReportCell => ({ text: durationText(ms), order: ms ?? -1 });

/** Every table of the report, in the order in which it is read: text and HTML show the same. */
export function reportSections(report: Report): ReportSection[] {
  return [
    { id: 'identities', title: 'Who called', tables: [identities(report)] },
    { id: 'paths', title: 'Paths and destinations', tables: [paths(report), destinations(report)] },
    { id: 'first-seen', title: 'First seen', tables: firstSeen(report) },
    { id: 'rules', title: 'Rules and grants', tables: rules(report) },
    { id: 'exceptions', title: 'Exceptions', tables: [exceptions(report)] },
    { id: 'refusals', title: 'Refusals', tables: refusals(report) },
    { id: 'credentials', title: 'Credentials', tables: credentials(report) },
    { id: 'secrets', title: 'Static secrets', tables: [secrets(report)] },
    { id: 'revocations', title: 'Revocations', tables: revocations(report) },
    { id: 'authorities', title: 'Authorities', tables: [authorities(report)] },
    { id: 'revisions', title: 'Policy and trust in force', tables: revisions(report) },
    { id: 'evidence', title: 'Evidence', tables: evidence(report) },
    { id: 'timeline', title: 'What happened', tables: [timeline(report)] },
  ];
}

function identities({ identities: rows }: Report): ReportTable {
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
      at(row.firstSeen),
      at(row.lastSeen),
    ]),
  };
}

function paths({ paths: rows }: Report): ReportTable {
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

function destinations({ destinations: rows }: Report): ReportTable {
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

function firstSeen({ identities: callers, paths: edges }: Report): ReportTable[] {
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

function rules({ rules: rows, leastPrivilege, shadow }: Report): ReportTable[] {
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

function exceptions({ exceptions: rows }: Report): ReportTable {
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

function refusals({ refusals: { byReason, byIdentity, claims } }: Report): ReportTable[] {
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

function credentials({ credentials: known }: Report): ReportTable[] {
  return [
    {
      title: 'Longest-lived',
      note: `${countText(known.known, 'credential')} seen, half of them living ${durationText(known.medianMs)} or longer.`,
      columns: [
        name('Identity'),
        name('Serial'),
        number('Lifetime'),
        time('Not after'),
        number('Requests'),
        number('Addresses'),
        time('Last used'),
      ],
      rows: known.longest.map((row) => [
        who(row.identity),
        of(row.serial),
        span(row.lifetimeMs),
        at(row.notAfter),
        many(row.requests),
        many(row.addresses.length),
        at(row.lastUsed),
      ]),
    },
    {
      title: 'Used near their end',
      note: 'Told by credential.near_expiry: a connection was opened with a certificate that should have been renewed.',
      columns: [name('Identity'), name('Serial'), time('Seen'), time('Not after')],
      rows: known.nearExpiry.map((row) => [
        who(row.identity),
        of(row.serial),
        at(row.seen),
        at(row.notAfter),
      ]),
    },
    {
      title: 'Shared',
      note: 'Told by credential.shared as it happened: one credential from several addresses at once, one key under several IDs, one ID with unusually many certificates.',
      columns: [name('Identity'), text('Shared by'), number('Times'), time('Last'), text('Detail')],
      rows: known.shared.map((row) => [
        who(row.identity),
        of(row.kind),
        many(row.times),
        at(row.last),
        of(row.detail),
      ]),
    },
    {
      title: 'One key, several IDs',
      note: 'Seen in the requests themselves.',
      columns: [name('Key (SHA-256)'), number('IDs'), text('Identities')],
      rows: known.keysOfSeveral.map(({ keySha256, identities: ids }) => [
        of(keySha256),
        many(ids.length),
        of(ids.join(', ')),
      ]),
    },
  ];
}

function secrets({ secrets: rows }: Report): ReportTable {
  return {
    title: 'Static secrets still arriving',
    note: 'What kind, from whom, on which route; never the secret.',
    columns: [name('Identity'), name('Route'), text('Kind'), number('Requests'), time('Last seen')],
    rows: rows.map((row) => [
      who(row.identity),
      of(row.route),
      of(row.kind),
      many(row.requests),
      at(row.lastSeen),
    ]),
  };
}

function revocations({ revocations: { changes, ended } }: Report): ReportTable[] {
  return [
    {
      title: 'What took access away',
      note: 'Until the last connection that it ended was gone; “–”: no record says so.',
      columns: [
        time('Time'),
        name('Event'),
        number('Took'),
        number('Connections'),
        text('Detail'),
        text('Stream'),
      ],
      rows: changes.map((row) => [
        at(row.time),
        of(row.event),
        span(row.tookMs),
        many(row.connections ?? 0),
        of(row.detail),
        of(row.stream),
      ]),
    },
    {
      title: 'Connections that were ended',
      note: 'From when the cause was seen to the end of the connection.',
      columns: [name('Reason'), number('Connections'), number('Median'), number('95 %'), number('Longest')],
      rows: ended.map((row) => [
        of(row.reason),
        many(row.connections),
        span(row.latencyMs.p50),
        span(row.latencyMs.p95),
        span(row.maxMs),
      ]),
    },
  ];
}

function authorities({ authorities: rows }: Report): ReportTable {
  return {
    title: 'Who depends on which authority',
    note: 'By the credentials that were used: whoever stands here is locked out when the authority goes.',
    columns: [
      name('Authority (SHA-256)'),
      text('Issuers'),
      number('Identities'),
      number('Credentials'),
      number('Requests'),
      time('Last used'),
    ],
    rows: rows.map((row) => [
      of(row.authority),
      of(row.issuers.join('; ')),
      many(row.identities),
      many(row.credentials),
      many(row.requests),
      at(row.lastUsed),
    ]),
  };
}

function revisions({ revisions: { policy, trust } }: Report): ReportTable[] {
  const table = (title: string, rows: Report['revisions']['policy']): ReportTable => ({
    title,
    note: 'Requests that were judged under it.',
    columns: [name('Revision'), number('Requests'), time('First'), time('Last')],
    rows: rows.map((row) => [of(row.revision), many(row.requests), at(row.firstSeen), at(row.lastSeen)]),
  });
  return [table('Policy', policy), table('Trust', trust)];
}

function evidence({ evidence: { streams, gaps, seals, corrected } }: Report): ReportTable[] {
  const sealed =
    seals === 0
      ? 'No seal is among these lines.'
      : `${countText(seals, 'seal')}: run countersign audit verify to prove the files.`;
  const mended = corrected === 0 ? '' : ` ${countText(corrected, 'answer')} corrected by a later record.`;
  return [
    {
      title: 'Streams',
      note: `Each is one process since one start: host, boot, worker. ${sealed}${mended}`,
      columns: [
        name('Stream'),
        number('Records'),
        number('From'),
        number('To'),
        number('Missing'),
        number('Not declared'),
        number('Seals'),
        time('First'),
        time('Last'),
      ],
      rows: streams.map((row) => [
        of(row.stream),
        many(row.records),
        many(row.from),
        many(row.to),
        many(row.missing),
        many(row.undeclared),
        many(row.seals),
        at(row.first),
        at(row.last),
      ]),
    },
    {
      title: 'Losses',
      note: 'What the sidecar itself said that was lost.',
      columns: [time('Time'), name('Stream'), text('Why'), number('Records'), text('Detail')],
      rows: gaps.map((row) => [
        at(row.time),
        of(row.stream),
        of(row.why),
        row.records === undefined ? of('') : many(row.records),
        of(row.detail),
      ]),
    },
  ];
}

function timeline({ timeline: rows }: Report): ReportTable {
  return {
    title: 'Timeline',
    note: 'Everything but requests, in order.',
    columns: [time('Time'), name('Event'), name('About'), text('Detail'), text('Stream')],
    rows: rows.map((row) => [at(row.time), of(row.event), of(row.about), of(row.detail), of(row.stream)]),
  };
}
