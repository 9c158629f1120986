import type { Report } from './report-model.js';
import { at, many, name, number, of, type ReportTable, span, text, time, who } from './report-table.js';
import { countText, durationText } from './report-wording.js';

export function credentials({ credentials: known }: Report): ReportTable[] {
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

export function secrets({ secrets: rows }: Report): ReportTable {
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

export function revocations({ revocations: { changes, ended } }: Report): ReportTable[] {
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

export function authorities({ authorities: rows }: Report): ReportTable {
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

export function revisions({ revisions: { policy, trust } }: Report): ReportTable[] {
  const table = (title: string, rows: Report['revisions']['policy']): ReportTable => ({
    title,
    note: 'Requests that were judged under it.',
    columns: [name('Revision'), number('Requests'), time('First'), time('Last')],
    rows: rows.map((row) => [of(row.revision), many(row.requests), at(row.firstSeen), at(row.lastSeen)]),
  });
  return [table('Policy', policy), table('Trust', trust)];
}

export function evidence({ evidence: { streams, gaps, seals, corrected } }: Report): ReportTable[] {
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

export function timeline({ timeline: rows }: Report): ReportTable {
  return {
    title: 'Timeline',
    note: 'Everything but requests, in order.',
    columns: [time('Time'), name('Event'), name('About'), text('Detail'), text('Stream')],
    rows: rows.map((row) => [at(row.time), of(row.event), of(row.about), of(row.detail), of(row.stream)]),
  };
}
