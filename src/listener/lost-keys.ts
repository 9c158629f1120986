import type { TrustedIssuer } from '../identity/token-trust.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import type { Snapshot } from '../snapshot.js';

/** How the keys of one issuer of tokens, or of JWT-SVIDs of one trust domain, changed. */
export interface KeyChange {
  /** Of the entry of `tokens`, or the trust domain. */
  readonly name: string;
  readonly gained: number;
  readonly lost: number;
  /** They are there and count no more. */
  readonly isOutdated: boolean;
}

type Keys = Pick<Snapshot, 'tokens' | 'bundles'>;

/** Whether some token that counted before may count no more: a key has gone, or its issuer, or the time of both is over. */
export const hasLostKeys = (next: Keys, before: Keys): boolean =>
  keyChanges(next, before).some(({ lost, isOutdated }) => lost > 0 || isOutdated);

/** What changed about the keys that verify tokens; empty where nothing did. What kept its object is not looked into. */
export function keyChanges(next: Keys, before: Keys): readonly KeyChange[] {
  return [
    ...compare(issuersOf(next), issuersOf(before), keysOf),
    ...compare(domainsOf(next), domainsOf(before), jwtKeysOf),
  ];
}

interface CountingKeys {
  /** Each with what it may be used for: under another kid or algorithm it verifies other tokens. */
  readonly keys: ReadonlySet<string>;
  readonly isOutdated: boolean;
}

function compare<T>(
  next: ReadonlyMap<string, T>,
  before: ReadonlyMap<string, T>,
  read: (of: T) => CountingKeys,
): KeyChange[] {
  return [...new Set([...before.keys(), ...next.keys()])].flatMap((name) => {
    const [then, now] = [before.get(name), next.get(name)];
    if (then === now) return [];
    const a = then === undefined ? NOTHING : read(then);
    const b = now === undefined ? NOTHING : read(now);
    const gained = [...b.keys].filter((key) => !a.keys.has(key)).length;
    const lost = [...a.keys].filter((key) => !b.keys.has(key)).length;
    const isOutdated = b.isOutdated && !a.isOutdated;
    return gained + lost > 0 || isOutdated ? [{ name, gained, lost, isOutdated }] : [];
  });
}

const NOTHING: CountingKeys = { keys: new Set(), isOutdated: false };

const all = ({ tokens: { issuers, delegates } }: Keys): readonly TrustedIssuer[] => [
  ...issuers,
  ...delegates.values(),
];

const issuersOf = (of: Keys): ReadonlyMap<string, TrustedIssuer> =>
  new Map(all(of).flatMap((one) => (one.issuer.kind === 'jwt-svid' ? [] : [[one.issuer.name, one]])));

/** Of JWT-SVIDs, where such tokens count at all. */
const domainsOf = (of: Keys): TrustBundleSet =>
  all(of).some(({ issuer }) => issuer.kind === 'jwt-svid') ? of.bundles : new Map();

const keysOf = ({ keys, stale }: TrustedIssuer): CountingKeys => ({
  keys: new Set(keys?.keys.map(({ kid, alg, thumbprint }) => JSON.stringify([kid, alg, thumbprint]))),
  isOutdated: stale !== undefined,
});

const jwtKeysOf = ({ jwtKeys }: TrustBundle): CountingKeys => ({
  keys: new Set(
    [...jwtKeys].map(([kid, { kty, crv, x, y, n, e }]) => JSON.stringify([kid, kty, crv, x, y, n, e])),
  ),
  isOutdated: false,
});
