import { createTrustBundle, type TrustBundle } from './create-trust-bundle.js';

export interface UpdateJudgement {
  readonly outcome: 'replace' | 'keep' | 'no-change';
  /** What an operator should hear: always there for `keep`, for a replacement only where it is out of the ordinary. */
  readonly why?: string;
}

/**
 * Judges a bundle that was just retrieved against the one in force (SPIFFE Federation 4.2, 6.2): `spiffe_sequence` orders them and
 * never goes back; without one on either side the latest retrieval wins. A replacement is whole: what it lacks is revoked.
 */
export function judgeBundleUpdate(current: TrustBundle | undefined, fetched: TrustBundle): UpdateJudgement {
  if (current === undefined) return replacement(fetched);
  // Never one domain's bundle in another's place (Federation 4.2, 7.3).
  if (current.trustDomain !== fetched.trustDomain)
    return { outcome: 'keep', why: `the bundle is that of ${fetched.trustDomain}` };
  const isSame = contentRevision(current) === contentRevision(fetched);
  const [before, after] = [current.sequence, fetched.sequence];
  if (isSame && before === after) return { outcome: 'no-change' };
  if (before === undefined) return replacement(fetched);
  if (after === undefined)
    return replacement(fetched, `the bundle no longer carries a sequence number; the last one was ${before}`);
  // An old bundle, replayed or from a lagging mirror, would bring back authorities that were revoked.
  if (after < before)
    return {
      outcome: 'keep',
      why: `its sequence number ${after} is older than ${before}, which is in force`,
    };
  return after > before
    ? replacement(fetched)
    : replacement(fetched, `the bundle changed without a new sequence number (${after})`); // SPIFFE TD&B 4.1.1
}

function replacement(fetched: TrustBundle, why?: string): UpdateJudgement {
  // A sound bundle without authorities is a revocation of all of them, not a mistake to overlook (SPIFFE TD&B 4.1.3).
  const empty =
    fetched.authorities.length === 0
      ? `the bundle holds no X.509 authority: every X509-SVID of ${fetched.trustDomain} is refused`
      : undefined;
  const said = [why, empty].filter((part) => part !== undefined).join('; ');
  return said === '' ? { outcome: 'replace' } : { outcome: 'replace', why: said };
}

/** The revision of what was published: without revocation lists, which are configured beside it, and without the sequence. */
function contentRevision({ trustDomain, authorities, jwtKeys }: TrustBundle): string {
  return createTrustBundle({ trustDomain, authorities, jwtKeys }).revision;
}

/** Milliseconds. Without a hint, and between which ends a hint counts. */
export interface RefreshBounds {
  readonly defaultMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/** Five minutes without a hint (Federation 4.1). A hint cannot make us hammer an endpoint, nor sleep through a revocation for days. */
const REFRESH_BOUNDS: RefreshBounds = { defaultMs: 300_000, minMs: 10_000, maxMs: 86_400_000 };

/** How long to wait for the next poll, in milliseconds: the bundle's hint, clamped at both ends (SPIFFE TD&B 4.1.2). */
export function refreshIntervalMs(
  bundle: TrustBundle | undefined,
  bounds: RefreshBounds = REFRESH_BOUNDS,
): number {
  const hintSeconds = bundle?.refreshHintSeconds;
  if (hintSeconds === undefined) return bounds.defaultMs;
  return Math.min(Math.max(hintSeconds * 1000, bounds.minMs), bounds.maxMs);
}
