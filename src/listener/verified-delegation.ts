import type { DelegationFields } from '../audit/record.js';
import type { Delegation } from '../policy/delegation.js';
import type { Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';

/** That the caller acts on somebody's behalf, and what makes it true. */
export interface VerifiedDelegation {
  readonly delegation: Delegation;
  /** Why it holds no more at this moment (Unix milliseconds), or undefined. */
  judge(snapshot: Snapshot, nowMs: number): Refusal | undefined;
  fields(snapshot: Snapshot): DelegationFields;
  readonly notAfterMs: number;
}
