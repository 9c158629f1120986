import type { PrincipalId } from '../identity/principal-id.js';
import type { ConditionRun } from './condition-run.js';
import type { AccessRequest } from './decision.js';
import type { Rule } from './policy.js';
import { PolicyIndex } from './policy-index.js';

/**
 * The rules that count for what a caller asks for itself, and those that count where it acts for somebody: an allow without
 * `behalfOf` is not among the second ones, so that no oversight in judging one can let a delegated call in by it.
 */
export class RuleIndexes {
  readonly #own = new PolicyIndex();
  readonly #delegated = new PolicyIndex();

  constructor(rules: readonly Rule[] = []) {
    for (const rule of rules) this.add(rule);
  }

  /** In the order of their index, and before anything is asked. */
  add(rule: Rule): void {
    if (rule.behalfOf === undefined) this.#own.add(rule);
    if (rule.behalfOf !== undefined || rule.effect === 'deny') this.#delegated.add(rule);
  }

  /**
   * Index of the deciding rule, or NO_RULE: the first deny in file order, else the first allow.
   * @param run judges conditions and subjects; needed where a rule has one.
   */
  find(request: AccessRequest, run: ConditionRun | undefined): number {
    return (request.behalfOf === undefined ? this.#own : this.#delegated).find(request, run);
  }

  /** True when some rule still lets this principal reach something, for itself or another; one with a condition may. */
  hasAnyAllow(principal: PrincipalId): boolean {
    return this.#own.hasAnyAllow(principal) || this.#delegated.hasAnyAllow(principal);
  }

  /** True when some rule that names this principal is of use at this moment. */
  hasAnyLive(principal: PrincipalId, nowMs: number): boolean {
    return this.#own.hasAnyLive(principal, nowMs) || this.#delegated.hasAnyLive(principal, nowMs);
  }
}
