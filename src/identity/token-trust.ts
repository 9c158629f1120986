import type { KeySet } from './key-set.js';
import type { TokenIssuer } from './token-issuer.js';

/** Somebody whose tokens count, with the keys that verify them now. */
export interface TrustedIssuer {
  readonly issuer: TokenIssuer;
  /** Undefined while none have come; of `jwt-svid`, whose keys stand in the trust bundles, always. */
  readonly keys: KeySet | undefined;
  /** Why the keys count no more, though they are there. */
  readonly stale: string | undefined;
}

/** Whose tokens count. What did not change from one snapshot to the next keeps its object. */
export interface TokenTrust {
  /** Of `tokens`, by their order. */
  readonly issuers: readonly TrustedIssuer[];
  /** Of `trustedPeers.delegates` that forward assertions, by the presenter's SPIFFE ID. */
  readonly delegates: ReadonlyMap<string, TrustedIssuer>;
}

export const NO_TOKENS: TokenTrust = { issuers: [], delegates: new Map() };
