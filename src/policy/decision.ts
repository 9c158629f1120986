import type { PrincipalId } from '../identity/principal-id.js';
import { ConditionRun } from './condition-run.js';
import type { Delegation } from './delegation.js';
import type { RequestFacts } from './facts.js';
import type { Effect, Policy } from './policy.js';
import { isTurnedAway, mayActFor } from './registry.js';

/** The question: may this principal do this, there, now? */
export interface AccessRequest {
  readonly principal: PrincipalId;
  /** Undefined: it asks for itself. */
  readonly behalfOf?: Delegation | undefined;
  readonly method: string;
  /** Lower-case, without port; empty where the request names none. */
  readonly host: string;
  /** Canonical, byte-exact: the same string that is forwarded. */
  readonly path: string;
  /** The other reading of a path that holds %2F; both must be allowed. */
  readonly decodedSlashPath?: string | undefined;
  readonly route: string;
  /** Name of the upstream. */
  readonly destination: string;
  readonly listener: string;
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly facts: RequestFacts;
}

export type DecisionReason =
  | 'rule_allowed'
  | 'exception_allowed'
  /** Never of `evaluate`: see authorizeExternally. */
  | 'external_allowed'
  | 'policy_denied'
  | 'no_rule_matched'
  | 'identity_unregistered'
  /** The registry does not let the caller act for this subject. */
  | 'delegation_denied';

/** A condition that could not be evaluated: no match in an allow, a match in a deny. */
export interface ConditionError {
  readonly rule: string;
  readonly error: string;
}

/** What a policy that is only tried out would have said. */
export interface ShadowDecision {
  readonly effect: Effect;
  readonly rule: string;
  readonly reason: DecisionReason;
  readonly exception?: string;
  readonly policyRevision: string;
}

export interface Decision extends ShadowDecision {
  /** Id of the deciding rule, or of the exception; `default` where nothing matched, `registry` where the registry says no. */
  readonly rule: string;
  readonly shadow?: ShadowDecision;
  readonly conditionErrors?: readonly ConditionError[];
}

/**
 * Decides: deny beats allow and exceptions, a rule that allows comes before an exception, no match is the named rule
 * `default`. Throws only what a fact throws that is not known (UnknownFact); allocates next to nothing without conditions.
 */
export function evaluate(policy: Policy, request: AccessRequest): Decision {
  const decision = decide(policy, request);
  if (policy.shadow === undefined) return decision;
  return { ...decision, shadow: withoutErrors(decide(policy.shadow, request)) };
}

function decide(policy: Policy, request: AccessRequest): Decision {
  const { registry, decisions } = policy;
  if (isTurnedAway(registry, request.principal)) return decisions.unregistered;
  const isDelegated = request.behalfOf !== undefined;
  if (isDelegated && registry !== undefined) {
    if (isTurnedAway(registry, request.behalfOf.subject)) return decisions.unregistered;
    if (!mayActFor(registry, request, request.behalfOf.subject)) return decisions.undelegated;
  }
  const run = isDelegated || policy.hasConditions ? new ConditionRun(request, registry) : undefined;
  const index = policy.index.find(request, run);
  const decision = decisions.ofRule(index) ?? decideByException(policy, request, run);
  return run?.errors === undefined ? decision : { ...decision, conditionErrors: run.errors };
}

function decideByException(policy: Policy, request: AccessRequest, run: ConditionRun | undefined): Decision {
  const { decisions, exceptionIndex } = policy;
  if (exceptionIndex === undefined) return decisions.byDefault;
  return decisions.ofException(exceptionIndex.find(request, run)) ?? decisions.byDefault;
}

function withoutErrors({ conditionErrors, shadow, ...decision }: Decision): ShadowDecision {
  return decision;
}
