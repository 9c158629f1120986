import type { Certificate } from '../identity/certificate.js';
import {
  createRevocationList,
  type RevocationEntry,
  type RevocationList,
  type RevocationPolicy,
} from '../identity/revocation.js';
import type { Snapshot } from '../snapshot.js';
import type { Credential } from './credential.js';
import { hasLostKeys } from './lost-keys.js';

/** What a change of snapshots can take access from. What it cannot reach is not looked at again. */
export interface Affected {
  /** Revoked by name by what is new in the list. */
  readonly ids: readonly string[];
  /** Nobody but those who are named. */
  readonly isOnlyIds: boolean;
  /** What rests on a token must be looked at: keys are gone, or something was revoked that a token may be. */
  readonly tokens: boolean;
  mayTouch(credential: Credential, nowMs: number): boolean;
}

/** @returns undefined where the change takes nothing from anybody. */
export function affectedBy(next: Snapshot, before: Snapshot): Affected | undefined {
  if (next.config !== before.config || next.policy !== before.policy)
    return { ids: [], isOnlyIds: false, tokens: true, mayTouch: () => true };
  const revoked = addedRevocations(next.revocations, before.revocations);
  const domains = changedDomains(next, before);
  const tokens = hasLostKeys(next, before) || revoked.some(mayBeToken);
  if (revoked.length === 0 && domains.size === 0 && !tokens) return undefined;
  const added = createRevocationList(revoked, '');
  const ids = revoked.map(({ id }) => id).filter((id) => id !== undefined);
  return {
    ids,
    isOnlyIds: domains.size === 0 && ids.length === revoked.length,
    tokens,
    mayTouch: ({ svid }, nowMs) =>
      svid !== undefined && (domains.has(svid.id.trustDomain) || added.find(svid, nowMs) !== undefined),
  };
}

/** A serial or a key is that of a certificate. */
const mayBeToken = ({ id, idPrefix, sha256 }: RevocationEntry): boolean =>
  id !== undefined || idPrefix !== undefined || sha256 !== undefined;

/** Entries of `next` that `before` had not. */
function addedRevocations(next: RevocationList, before: RevocationList): readonly RevocationEntry[] {
  if (next === before) return [];
  const known = new Set(before.entries.map((entry) => JSON.stringify(entry)));
  return next.entries.filter((entry) => !known.has(JSON.stringify(entry)));
}

/** Whether a change of trust took something from anybody who might come, here or not: an entry, an authority, a list. */
export function isNarrower(next: Snapshot, before: Snapshot): boolean {
  if (addedRevocations(next.revocations, before.revocations).length > 0) return true;
  if (hasLostKeys(next, before)) return true;
  for (const [domain, bundle] of before.bundles) {
    if (authoritiesLost(next.bundles.get(domain)?.authorities ?? [], bundle.authorities).length > 0)
      return true;
    if (!isSamePolicy(next.revocationPolicies.get(domain), before.revocationPolicies.get(domain)))
      return true;
  }
  return false;
}

export function authoritiesLost(
  next: readonly Certificate[],
  before: readonly Certificate[],
): readonly Certificate[] {
  const left = new Set(next.map(({ sha256 }) => sha256));
  return before.filter(({ sha256 }) => !left.has(sha256));
}

function changedDomains(next: Snapshot, before: Snapshot): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const domain of new Set([...before.bundles.keys(), ...next.bundles.keys()])) {
    const isSame =
      next.bundles.get(domain) === before.bundles.get(domain) &&
      isSamePolicy(next.revocationPolicies.get(domain), before.revocationPolicies.get(domain));
    if (!isSame) changed.add(domain);
  }
  return changed;
}

function isSamePolicy(next: RevocationPolicy | undefined, before: RevocationPolicy | undefined): boolean {
  const a = next?.crls ?? [];
  const b = before?.crls ?? [];
  return a.length === b.length && a.every((crl, i) => crl.sha256 === b[i]?.sha256);
}
