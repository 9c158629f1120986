import type { AccessRequest, ConditionError } from './decision.js';
import { isLive } from './exception.js';
import { ConditionFault } from './facts.js';
import { matchPrincipal, type PrincipalPattern } from './pattern.js';
import type { Rule } from './policy.js';
import type { Registry, RegistryEntry } from './registry.js';

/** Errors of one request that its record names: a caller must not choose how large the record is, nor what finding them costs. */
const MAX_ERRORS = 16;

/** The conditions of one request, evaluated when the rest of their rule matches; what went wrong is kept for the record. */
export class ConditionRun {
  errors: ConditionError[] | undefined;
  readonly #request: AccessRequest;
  readonly #registry: Registry | undefined;
  #registered: RegistryEntry | undefined;
  #hasLooked = false;

  constructor(request: AccessRequest, registry: Registry | undefined) {
    this.#request = request;
    this.#registry = registry;
  }

  /** Whether a rule that matches otherwise counts at this moment. */
  holds(rule: Rule, path: string): boolean {
    const request = this.#request;
    const { term, condition, behalfOf } = rule;
    if (term !== undefined && !isLive(term, request.nowMs)) return false;
    if (behalfOf !== undefined && !isFor(behalfOf, request)) return false;
    if (condition === undefined) return true;
    try {
      return condition.evaluate({ request, path, registered: this.#entry() });
    } catch (cause) {
      if (!(cause instanceof ConditionFault)) throw cause;
      this.errors ??= [];
      if (this.errors.length < MAX_ERRORS && this.errors.every((known) => known.rule !== rule.id))
        this.errors.push({ rule: rule.id, error: cause.message });
      return rule.effect === 'deny';
    }
  }

  #entry(): RegistryEntry | undefined {
    if (!this.#hasLooked) {
      this.#hasLooked = true;
      this.#registered = this.#registry?.find(this.#request.principal);
    }
    return this.#registered;
  }
}

/** Whether the caller acts for one of these. */
export function isFor(patterns: readonly PrincipalPattern[], { behalfOf }: AccessRequest): boolean {
  if (behalfOf === undefined) return false;
  return patterns.some((pattern) => matchPrincipal(pattern, behalfOf.subject));
}
