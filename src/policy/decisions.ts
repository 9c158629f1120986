import type { Decision, DecisionReason } from './decision.js';
import type { Effect, Rule } from './policy.js';

/** The named rule that decides where no other does. */
export const DEFAULT_RULE = 'default';
/** What is named where the registry says no. */
export const REGISTRY_RULE = 'registry';

/** One decision a rule, made when it is first taken: they are shared by all requests it decides. */
export class Decisions {
  readonly byDefault: Decision;
  readonly unregistered: Decision;
  readonly undelegated: Decision;
  readonly #ofRule: (Decision | undefined)[] = [];
  readonly #ofException: (Decision | undefined)[] = [];

  constructor(
    readonly rules: readonly Rule[],
    readonly exceptionRules: readonly Rule[],
    readonly revision: string,
  ) {
    this.byDefault = this.#decision('deny', DEFAULT_RULE, 'no_rule_matched');
    this.unregistered = this.#decision('deny', REGISTRY_RULE, 'identity_unregistered');
    this.undelegated = this.#decision('deny', REGISTRY_RULE, 'delegation_denied');
  }

  ofRule(index: number): Decision | undefined {
    const known = this.#ofRule[index];
    const rule = this.rules[index];
    if (known !== undefined || rule === undefined) return known;
    const made = this.#decision(
      rule.effect,
      rule.id,
      rule.effect === 'allow' ? 'rule_allowed' : 'policy_denied',
    );
    this.#ofRule[index] = made;
    return made;
  }

  ofException(index: number): Decision | undefined {
    const known = this.#ofException[index];
    const rule = this.exceptionRules[index];
    if (known !== undefined || rule === undefined) return known;
    const made = { ...this.#decision('allow', rule.id, 'exception_allowed'), exception: rule.id };
    this.#ofException[index] = made;
    return made;
  }

  #decision(effect: Effect, rule: string, reason: DecisionReason): Decision {
    return { effect, rule, reason, policyRevision: this.revision };
  }
}
