import type { LifecycleRecord } from '../audit/record.js';
import type { Certificate } from '../identity/certificate.js';
import { authoritiesLost } from '../listener/affected.js';
import type { CredentialIndex } from '../listener/credential.js';
import { keyChanges } from '../listener/lost-keys.js';
import type { Registry } from '../policy/registry.js';
import type { Snapshot } from '../snapshot.js';
import { type AuthorityUse, authoritiesInUse, authorityKey } from './dependents.js';
import { describeExceptionChange } from './exception-watch.js';
import { describeRevocationChange } from './revocations.js';

/** A trust bundle that lost authorities, and who that puts out. */
export interface Shrunk {
  readonly trustDomain: string;
  readonly before: number;
  readonly now: number;
  readonly left: readonly string[];
  /** Open connections that those who left had verified. */
  readonly connections: number;
  readonly dependents: number;
}

export interface Changes {
  readonly shrunk: readonly Shrunk[];
  readonly records: readonly Pick<LifecycleRecord, 'event' | 'detail' | 'connections'>[];
}

type Told = Changes['records'][number];

type Uses = ReadonlyMap<string, AuthorityUse>;

/** Who depended on what before a change of bundles ended any of it; undefined where they are the same. */
export function usesBefore(next: Snapshot, before: Snapshot, credentials: CredentialIndex): Uses | undefined {
  const isSame =
    next.bundles.size === before.bundles.size &&
    [...next.bundles].every(([domain, bundle]) => before.bundles.get(domain) === bundle);
  return isSame ? undefined : authoritiesInUse(credentials);
}

/** What one adoption changed, as the records say it. */
export function describeChanges(next: Snapshot, before: Snapshot, uses: Uses | undefined): Changes {
  const records: Told[] = [];
  if (next.own.leaf.sha256 !== before.own.leaf.sha256)
    records.push({ event: 'svid.rotated', detail: next.own.leaf.serial });
  const isRevocation = next.revocations.revision !== before.revocations.revision;
  if (isRevocation) {
    const detail = describeRevocationChange(next.revocations.entries, before.revocations.entries);
    records.push({ event: 'revocation.changed', detail });
  }
  const trust = describeTrust(next, before);
  if (next.trustRevision !== before.trustRevision && (!isRevocation || trust !== undefined))
    records.push({ event: 'trust.changed', detail: trust });
  const registry = describeRegistry(next.policy.registry, before.policy.registry);
  const exceptions = describeExceptionChange(next.policy.exceptions, before.policy.exceptions);
  if (next.policy.revision !== before.policy.revision || registry !== undefined) {
    const detail = [registry, exceptions].filter((part) => part !== undefined).join('; ') || undefined;
    records.push({ event: 'policy.changed', detail });
  }
  if (uses === undefined) return { records, shrunk: [] };
  const shrunk = shrunkBundles(next, before, uses);
  for (const { trustDomain, left, dependents, connections } of shrunk) {
    const detail = `${trustDomain} lost ${left.join('; ')}: ${dependents} identities depend on it`;
    records.push({ event: 'trust.shrunk', detail, connections });
  }
  for (const [domain, bundle] of next.bundles)
    if (bundle !== before.bundles.get(domain)) records.push(...tellUses(domain, bundle.authorities, uses));
  return { records, shrunk };
}

function shrunkBundles(next: Snapshot, before: Snapshot, uses: Uses): readonly Shrunk[] {
  return [...before.bundles].flatMap(([trustDomain, { authorities }]) => {
    const now = next.bundles.get(trustDomain)?.authorities ?? [];
    const lost = authoritiesLost(now, authorities);
    if (lost.length === 0) return [];
    const used = lost.map(({ sha256 }) => uses.get(authorityKey(trustDomain, sha256)));
    return {
      trustDomain,
      before: authorities.length,
      now: now.length,
      left: lost.map(({ sha256, subject }) => `${sha256.slice(0, 16)} ${subject}`),
      connections: sum(used, (use) => use?.connections),
      dependents: sum(used, (use) => use?.dependents.length),
    };
  });
}

const MAX_AUTHORITIES_TOLD = 32;

/** At every step of a rotation: who depends on which authority. */
const tellUses = (domain: string, authorities: readonly Certificate[], uses: Uses): Told[] =>
  authorities.slice(0, MAX_AUTHORITIES_TOLD).map(({ sha256, subject }) => {
    const use = uses.get(authorityKey(domain, sha256));
    const identities = use?.dependents.length ?? 0;
    const seen = use === undefined ? 'nobody seen' : `last seen ${new Date(use.lastSeenMs).toISOString()}`;
    const detail = `${domain} ${sha256.slice(0, 16)} ${subject}: ${identities} identities depend on it, ${seen}`;
    return { event: 'authority.in_use', detail, connections: use?.connections ?? 0 };
  });

function describeRegistry(next: Registry | undefined, before: Registry | undefined): string | undefined {
  if (next?.revision === before?.revision) return undefined;
  if (next === undefined) return 'no registry any more';
  const { entries, unregistered, revision } = next;
  return `registry ${revision}: ${entries.length} entries, unregistered: ${unregistered}`;
}

function describeTrust(next: Snapshot, before: Snapshot): string | undefined {
  const parts: string[] = [];
  for (const domain of new Set([...before.bundles.keys(), ...next.bundles.keys()])) {
    const [then, now] = [before.bundles.get(domain), next.bundles.get(domain)];
    if (then === now) continue;
    const gained = authoritiesLost(then?.authorities ?? [], now?.authorities ?? []).length;
    const lost = authoritiesLost(now?.authorities ?? [], then?.authorities ?? []).length;
    parts.push(`${domain} +${gained} -${lost} authorities`);
  }
  for (const { name, gained, lost, isOutdated } of keyChanges(next, before))
    parts.push(isOutdated ? `keys of ${name} are out of date` : `${name} +${gained} -${lost} keys`);
  return parts.join('; ') || undefined;
}

const sum = <T>(items: readonly T[], of: (item: T) => number | undefined): number =>
  items.reduce((total, item) => total + (of(item) ?? 0), 0);
