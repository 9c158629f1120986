import { type Fields, fieldsOf } from '../record-line.js';
import { CappedMap, nameOf, OTHER } from './capped-map.js';
import type { EventTally } from './event-tally.js';
import { greatest, groupBy, sum } from './report-access.js';
import type { CredentialTally } from './report-callers.js';
import type { AuthorityRow, CredentialRow, Credentials, NearExpiryRow, SharedRow } from './report-model.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Upper ends of the classes of lifetimes; the last has none. */
const CLASSES_MS = [HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS, 90 * DAY_MS, 365 * DAY_MS];
const MAX_ROWS = 200;
const MAX_SHARED = 500;

export function credentialsOf(tallies: readonly CredentialTally[], events: EventTally): Credentials {
  const known = tallies.filter(({ sha256, lifetimeMs }) => sha256 !== OTHER && lifetimeMs !== undefined);
  const rows = known
    .map(credentialRow)
    .sort((a, b) => b.lifetimeMs - a.lifetimeMs || (a.sha256 < b.sha256 ? -1 : 1));
  return {
    known: rows.length,
    lifetimes: lifetimeClasses(rows),
    medianMs: rows[Math.floor(rows.length / 2)]?.lifetimeMs,
    longest: longestOfEach(rows).slice(0, MAX_ROWS),
    nearExpiry: nearExpiryRows(events),
    keysOfSeveral: keysOfSeveral(known),
    shared: sharedRows(events),
  };
}

/** One of each identity: its others live as long, or less. */
function longestOfEach(rows: readonly CredentialRow[]): CredentialRow[] {
  const seen = new Set<string>();
  return rows.filter(({ identity }) => !seen.has(identity) && seen.add(identity));
}

function lifetimeClasses(rows: readonly CredentialRow[]): Credentials['lifetimes'] {
  return [...CLASSES_MS, undefined].map((upToMs, index) => {
    const above = index === 0 ? -1 : CLASSES_MS[index - 1]!;
    const within = rows.filter(
      ({ lifetimeMs }) => lifetimeMs > above && (upToMs === undefined || lifetimeMs <= upToMs),
    );
    return { upToMs, credentials: within.length, requests: sum(within, ({ requests }) => requests) };
  });
}

function credentialRow(tally: CredentialTally): CredentialRow {
  const { identity, serial, sha256, notBefore, notAfter, lifetimeMs = 0, requests, last, addresses } = tally;
  const shown = { identity, serial, sha256, notBefore, notAfter, lifetimeMs, requests };
  return { ...shown, lastUsed: last, addresses: [...addresses] };
}

/** Told by records alone: a request on a connection that was opened long ago says nothing of renewal. */
function nearExpiryRows(events: EventTally): NearExpiryRow[] {
  const rows = new Map<string, NearExpiryRow>();
  for (const { identity, time, fields } of events.told('credential.near_expiry')) {
    const { serial, sha256, notAfter } = fieldsOf(fields.principal);
    const row = { identity, serial: nameOf(serial), notAfter: nameOf(notAfter), seen: time };
    rows.set(nameOf(sha256) || `${identity} ${row.serial}`, row);
  }
  return [...rows.values()].reverse();
}

function keysOfSeveral(tallies: readonly CredentialTally[]): Credentials['keysOfSeveral'] {
  const keys = [...groupBy(tallies, ({ keySha256 }) => keySha256)].filter(([key]) => key !== '');
  return keys
    .map(([keySha256, of]) => ({
      keySha256,
      identities: [...new Set(of.map(({ identity }) => identity))].sort(),
    }))
    .filter(({ identities }) => identities.length > 1);
}

/** One row for all findings of one kind about one identity. */
function sharedRows(events: EventTally): SharedRow[] {
  interface Draft {
    identity: string;
    kind: string;
    detail: string;
    times: number;
    last: string;
  }
  const rows = new CappedMap<Draft>(MAX_SHARED, () => ({
    identity: OTHER,
    kind: OTHER,
    detail: '',
    times: 0,
    last: '',
  }));
  for (const { identity, time, detail, fields } of events.told('credential.shared')) {
    const shared = fieldsOf(fields.shared);
    const kind = nameOf(shared.kind);
    const key = `${identity}\n${kind}`;
    const row = rows.at(key);
    if (rows.get(key) === row) Object.assign(row, { identity, kind });
    row.times++;
    row.last = time;
    row.detail = [detail, sharedAmong(shared)].filter(Boolean).join(': ');
  }
  return rows.values();
}

function sharedAmong({ addresses, ids }: Fields): string {
  const names: unknown = addresses ?? ids;
  return (Array.isArray(names) ? names : []).map(nameOf).filter(Boolean).slice(0, 8).join(', ');
}

/** Who depends on which authority, told by the credentials that were used. */
export function authorityRows(tallies: readonly CredentialTally[]): AuthorityRow[] {
  const groups = groupBy(
    tallies.filter(({ authority, requests }) => authority !== '' && requests > 0),
    ({ authority }) => authority,
  );
  return [...groups]
    .map(([authority, of]) => ({
      authority,
      issuers: [...new Set(of.map(({ issuer }) => issuer))].sort().slice(0, 5),
      identities: new Set(of.map(({ identity }) => identity)).size,
      credentials: of.length,
      requests: sum(of, ({ requests }) => requests),
      lastUsed: greatest(of.map(({ last }) => last)),
    }))
    .sort((a, b) => b.requests - a.requests);
}
