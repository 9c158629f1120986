import type { BorrowedTally } from './borrowed-tally.js';
import type { DelegationRow, InjectedRow, TokenRow } from './report-rows.js';

interface Counted {
  readonly requests: number;
  readonly lastSeen: string;
}

const mostFirst = (a: Counted, b: Counted): number =>
  b.requests - a.requests || (a.lastSeen < b.lastSeen ? 1 : -1);

/** Who acted for whom, most requests first. */
export const delegationRows = ({ delegations }: BorrowedTally): DelegationRow[] =>
  delegations
    .values()
    .map(({ last, ...row }) => ({ ...row, lastSeen: last }))
    .sort(mostFirst);

/** Entries of `tokens` that were used. */
export const tokenRows = ({ tokens }: BorrowedTally): TokenRow[] =>
  tokens
    .values()
    .map(({ last, callers, ...row }) => ({ ...row, identities: callers.size, lastSeen: last }))
    .sort(mostFirst);

/** Secrets that services still want. */
export const injectedRows = ({ injected }: BorrowedTally): InjectedRow[] =>
  injected
    .values()
    .map(({ last, ...row }) => ({ ...row, lastSeen: last }))
    .sort(mostFirst);
