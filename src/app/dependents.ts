import type { Credential } from '../listener/credential.js';

/** One identity by its newest credential that was let in. */
export interface Dependent {
  readonly id: string;
  /** Open connections by this authority. */
  readonly connections: number;
  readonly lastSeenMs: number;
  /** notBefore and notAfter of the newest. */
  readonly issuedMs: number;
  readonly notAfterMs: number;
}

/** Who depends on one authority: what an operator asks before removing it. */
export interface AuthorityUse {
  readonly trustDomain: string;
  /** SHA-256 of the authority, lower-case hex. */
  readonly authority: string;
  /** Open connections that it verified. */
  readonly connections: number;
  readonly lastSeenMs: number;
  /** Identities whose newest credential it verified, most recent first: removing it locks them out. */
  readonly dependents: readonly Dependent[];
  /** Identities that it verified once, and whose newest credential another authority verified. */
  readonly moved: number;
}

export const authorityKey = (trustDomain: string, sha256: string): string => `${trustDomain} ${sha256}`;

/** What of a credential counts here. */
type Seen = Pick<Credential, 'svid' | 'connections' | 'seenAtMs' | 'isRefused'>;

interface Draft {
  readonly trustDomain: string;
  readonly authority: string;
  connections: number;
  lastSeenMs: number;
  readonly ids: Map<string, Dependent>;
}

/** Who still depends on which authority: live connections, and the identities seen last, by the trust domain's authorities. */
export function authoritiesInUse(credentials: Iterable<Seen>): ReadonlyMap<string, AuthorityUse> {
  const drafts = new Map<string, Draft>();
  const newest = new Map<string, Seen>();
  for (const credential of credentials) {
    // A refused one depends on nothing any more.
    if (credential.svid === undefined || credential.isRefused) continue;
    take(drafts, credential);
    const { uri } = credential.svid.id;
    const known = newest.get(uri);
    if (known === undefined || isNewer(credential, known)) newest.set(uri, credential);
  }
  return new Map([...drafts].map(([key, draft]) => [key, finish(draft, newest)]));
}

function take(drafts: Map<string, Draft>, { svid, connections, seenAtMs }: Seen): void {
  if (svid === undefined) return;
  const { trustDomain, uri: id } = svid.id;
  const authority = svid.authority.sha256;
  const key = authorityKey(trustDomain, authority);
  let draft = drafts.get(key);
  if (draft === undefined) {
    draft = { trustDomain, authority, connections: 0, lastSeenMs: 0, ids: new Map() };
    drafts.set(key, draft);
  }
  draft.connections += connections.size;
  draft.lastSeenMs = Math.max(draft.lastSeenMs, seenAtMs);
  const known = draft.ids.get(id);
  draft.ids.set(id, {
    id,
    connections: (known?.connections ?? 0) + connections.size,
    lastSeenMs: Math.max(known?.lastSeenMs ?? 0, seenAtMs),
    issuedMs: Math.max(known?.issuedMs ?? 0, svid.leaf.notBeforeMs),
    notAfterMs: Math.max(known?.notAfterMs ?? 0, svid.leaf.notAfterMs),
  });
}

function finish({ ids, ...use }: Draft, newest: ReadonlyMap<string, Seen>): AuthorityUse {
  const all = [...ids.values()];
  const dependents = all
    .filter(({ id }) => newest.get(id)?.svid?.authority.sha256 === use.authority)
    .sort((a, b) => b.lastSeenMs - a.lastSeenMs);
  return { ...use, dependents, moved: all.length - dependents.length };
}

/** By when it was issued: an old credential may well be shown after a new one, by the last replica that has not restarted. */
const isNewer = (a: Seen, b: Seen): boolean => {
  const [issuedA, issuedB] = [a.svid?.leaf.notBeforeMs ?? 0, b.svid?.leaf.notBeforeMs ?? 0];
  return issuedA > issuedB || (issuedA === issuedB && a.seenAtMs > b.seenAtMs);
};
