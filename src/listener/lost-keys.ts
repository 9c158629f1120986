import type { TokenTrust, TrustedIssuer } from '../identity/token-trust.js';
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

/** What changed about the keys that verify tokens; empty where nothing did. */
export function keyChanges(next: Keys, before: Keys): readonly KeyChange[] {
  const now = keysByIssuer(next.tokens, next.bundles);
  const then = keysByIssuer(before.tokens, before.bundles);
  return [...new Set([...then.keys(), ...now.keys()])].flatMap((name) => {
    const [a, b] = [then.get(name) ?? NOTHING, now.get(name) ?? NOTHING];
    const gained = [...b.keys].filter((key) => !a.keys.has(key)).length;
    const lost = [...a.keys].filter((key) => !b.keys.has(key)).length;
    const isOutdated = b.isOutdated && !a.isOutdated;
    return gained + lost > 0 || isOutdated ? [{ name, gained, lost, isOutdated }] : [];
  });
}

interface IssuerKeys {
  /** Each with what it may be used for: under another kid or algorithm it verifies other tokens. */
  readonly keys: ReadonlySet<string>;
  readonly isOutdated: boolean;
}

const NOTHING: IssuerKeys = { keys: new Set(), isOutdated: false };

function keysByIssuer({ issuers, delegates }: TokenTrust, bundles: TrustBundleSet): Map<string, IssuerKeys> {
  const found = new Map<string, IssuerKeys>();
  for (const of of [...issuers, ...delegates.values()]) {
    if (of.issuer.kind !== 'jwt-svid') found.set(of.issuer.name, keysOf(of));
    else
      for (const [domain, bundle] of bundles)
        found.set(domain, { keys: jwtKeysOf(bundle), isOutdated: false });
  }
  return found;
}

const keysOf = ({ keys, stale }: TrustedIssuer): IssuerKeys => ({
  keys: new Set(keys?.keys.map(({ kid, alg, thumbprint }) => JSON.stringify([kid, alg, thumbprint]))),
  isOutdated: stale !== undefined,
});

const jwtKeysOf = ({ jwtKeys }: TrustBundle): ReadonlySet<string> =>
  new Set([...jwtKeys].map(([kid, { kty, crv, x, y, n, e }]) => JSON.stringify([kid, kty, crv, x, y, n, e])));
