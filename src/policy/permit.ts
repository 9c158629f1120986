import { ok, type Refusal, type Result } from '../reasons.js';
import { type AccessRequest, type Decision, type DecisionReason, evaluate } from './decision.js';
import type { Policy } from './policy.js';

const permitBrand: unique symbol = Symbol('permit');

/** Leave to forward one request. Only `authorize` and `authorizeExternally` make one, and `upstream.forward` takes nothing less. */
export interface Permit {
  readonly [permitBrand]: true;
  readonly decision: Decision;
  readonly request: AccessRequest;
}

type AllowingReason = 'rule_allowed' | 'exception_allowed' | 'external_allowed';

/** A refusal by policy: `detail` is the rule's id, for the log alone. */
export interface Denial extends Refusal {
  readonly reason: Exclude<DecisionReason, AllowingReason> | 'external_denied' | 'external_unavailable';
  readonly decision: Decision;
}

/** Evaluates and, where the answer is yes, makes the permit. */
export function authorize(policy: Policy, request: AccessRequest): Result<Permit, Denial> {
  const decision = evaluate(policy, request);
  if (decision.effect === 'allow') return ok({ [permitBrand]: true, decision, request });
  const { rule, reason } = decision;
  return {
    ok: false,
    error: { reason: isAllowing(reason) ? 'policy_denied' : reason, detail: rule, decision },
  };
}

const isAllowing = (reason: DecisionReason): reason is AllowingReason =>
  reason === 'rule_allowed' || reason === 'exception_allowed' || reason === 'external_allowed';

/** What an external engine said of a request, and whether the configuration lets its yes stand where no rule matches. */
export interface ExternalVerdict {
  readonly result: 'allow' | 'deny' | 'unavailable';
  /** The engine's words, or why there is no answer: for the log alone. */
  readonly detail: string;
  readonly mayAllow: boolean;
}

/** Stands in the place of a rule's id, and can be none. */
const EXTERNAL_RULE = '(external)';

/**
 * The second door, for requests that an external engine was asked about. Policy is evaluated again: the engine can only take
 * away what it allows, and with `mayAllow` give where no rule matched. Nothing but its plain yes lets anything through.
 */
export function authorizeExternally(
  policy: Policy,
  request: AccessRequest,
  { result, detail, mayAllow }: ExternalVerdict,
): Result<Permit, Denial> {
  const local = authorize(policy, request);
  if (!local.ok && !(mayAllow && mayBeGiven(request, local.error.reason))) return local;
  const before = local.ok ? local.value.decision : local.error.decision;
  if (result !== 'allow') {
    const reason = result === 'deny' ? 'external_denied' : 'external_unavailable';
    return { ok: false, error: { reason, detail, decision: { ...before, effect: 'deny' } } };
  }
  if (local.ok) return local;
  const decision: Decision = {
    ...before,
    effect: 'allow',
    rule: EXTERNAL_RULE,
    reason: 'external_allowed',
  };
  return ok({ [permitBrand]: true, decision, request });
}

/**
 * Whether an engine's yes may stand where policy said this. Never for a call on behalf of another: an engine that does not
 * look at `behalfOf` would take it for the caller's own.
 */
const mayBeGiven = ({ behalfOf }: AccessRequest, reason: Denial['reason'] | DecisionReason): boolean =>
  reason === 'no_rule_matched' && behalfOf === undefined;

/** Whether what was permitted would be permitted at `nowMs` (Unix), as far as policy goes. @param mayAllow as it is now. */
export function isStillPermitted(policy: Policy, permit: Permit, nowMs: number, mayAllow: boolean): boolean {
  const { effect, reason } = evaluate(policy, { ...permit.request, nowMs });
  if (effect === 'allow') return true;
  return mayAllow && mayBeGiven(permit.request, reason) && permit.decision.reason === 'external_allowed';
}
