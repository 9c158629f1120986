import { ok, type Refusal, type Result } from '../reasons.js';
import { type AccessRequest, type Decision, evaluate } from './decision.js';
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
  readonly reason: 'policy_denied' | 'no_rule_matched';
  readonly decision: Decision;
}

/** Evaluates and, where the answer is yes, makes the permit. */
export function authorize(policy: Policy, request: AccessRequest): Result<Permit, Denial> {
  const decision = evaluate(policy, request);
  if (decision.effect === 'allow') return ok({ [permitBrand]: true, decision, request });
  const reason = decision.reason === 'no_rule_matched' ? 'no_rule_matched' : 'policy_denied';
  return { ok: false, error: { reason, detail: decision.rule, decision } };
}
