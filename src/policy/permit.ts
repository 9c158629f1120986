import { ok, type Refusal, type Result } from '../reasons.js';
import { type AccessRequest, type Decision, type DecisionReason, evaluate } from './decision.js';
import type { Policy } from './policy.js';

const permitBrand: unique symbol = Symbol('permit');

/** Leave to forward one request. Only `authorize` makes one, and `upstream.forward` takes nothing less. */
export interface Permit {
  readonly [permitBrand]: true;
  readonly decision: Decision;
  readonly request: AccessRequest;
}

/** A refusal by policy: `detail` is the rule's id, for the log alone. */
export interface Denial extends Refusal {
  readonly reason: Exclude<DecisionReason, 'rule_allowed' | 'exception_allowed'>;
  readonly decision: Decision;
}

/** Evaluates and, where the answer is yes, makes the permit. */
export function authorize(policy: Policy, request: AccessRequest): Result<Permit, Denial> {
  const decision = evaluate(policy, request);
  if (decision.effect === 'allow') return ok({ [permitBrand]: true, decision, request });
  const { rule, reason } = decision;
  const isAllowing = reason === 'rule_allowed' || reason === 'exception_allowed';
  return { ok: false, error: { reason: isAllowing ? 'policy_denied' : reason, detail: rule, decision } };
}
