import type { Report } from './report-model.js';
import { at, many, name, number, of, type ReportTable, text, time, where, who } from './report-table.js';

export function tokens({ tokens: rows }: Report): ReportTable {
  return {
    title: 'Tokens',
    note: 'Requests that came with a verified token, by the entry of `tokens`. Bound: good with the caller’s certificate alone; the others are good in anybody’s hands.',
    columns: [
      name('Entry'),
      text('Issuer'),
      number('Identities'),
      number('Requests'),
      number('Bound'),
      time('Last seen'),
    ],
    rows: rows.map((row) => [
      of(row.entry),
      of(row.issuer),
      many(row.identities),
      many(row.requests),
      many(row.bound),
      at(row.lastSeen),
    ]),
  };
}

export function delegations({ delegations: rows }: Report): ReportTable {
  return {
    title: 'Who acted for whom',
    note: 'Calls on behalf of another. Actors: the longest chain, the caller included.',
    columns: [
      name('Caller'),
      name('On behalf of'),
      text('Told by'),
      number('Actors'),
      number('Requests'),
      number('Refused'),
      time('Last seen'),
    ],
    rows: rows.map((row) => [
      who(row.caller),
      of(row.subject),
      of(row.by),
      many(row.depth),
      many(row.requests),
      many(row.refused),
      at(row.lastSeen),
    ]),
  };
}

export function injected({ injected: rows }: Report): ReportTable {
  return {
    title: 'Secrets put in for the service',
    note: 'Callers have none of these any more; the service still wants it: what is left to be taken out.',
    columns: [name('Route'), name('Destination'), text('Header'), number('Requests'), time('Last seen')],
    rows: rows.map((row) => [
      of(row.route),
      where(row.destination),
      of(row.header),
      many(row.requests),
      at(row.lastSeen),
    ]),
  };
}
