import type { SpiffeId } from '../identity/spiffe-id.js';
import type { Effect, Policy } from './policy.js';

/** The question: may this principal do this, there, now? */
export interface AccessRequest {
  readonly principal: SpiffeId;
  readonly behalfOf?: undefined;
  readonly method: string;
  /** Canonical, byte-exact: the same string that is forwarded. */
  readonly path: string;
  /** The other reading of a path that holds %2F; both must be allowed. */
  readonly decodedSlashPath?: string | undefined;
  readonly route: string;
  /** Name of the upstream. */
  readonly destination: string;
  readonly listener: string;
  readonly nowMs: number;
}

export interface Decision {
  readonly effect: Effect;
  /** Id of the deciding rule; `default` where no rule matched. */
  readonly rule: string;
  /** `external_allowed` is never of `evaluate`: see authorizeExternally. */
  readonly reason: 'rule_allowed' | 'external_allowed' | 'policy_denied' | 'no_rule_matched';
  readonly policyRevision: string;
  readonly shadow?: undefined;
  readonly exception?: undefined;
}

/** Decides: deny beats allow, no match is the named rule `default`. Never throws, allocates next to nothing. */
export function evaluate(policy: Policy, request: AccessRequest): Decision {
  const index = policy.index.find(request);
  return policy.decisions[index] ?? policy.defaultDecision;
}
