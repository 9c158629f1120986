import { createHash } from 'node:crypto';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type { Decision } from './decision.js';
import type { PathPattern, PrincipalPattern } from './pattern.js';
import { PolicyIndex } from './policy-index.js';

export type Effect = 'allow' | 'deny';

/** A rule as somebody wrote it, read and checked; `undefined` means any. */
export interface RuleInput {
  readonly id: string;
  readonly owner?: string | undefined;
  readonly effect: Effect;
  readonly principals: readonly PrincipalPattern[];
  readonly destinations: readonly string[];
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly PathPattern[] | undefined;
}

export interface Rule {
  readonly id: string;
  readonly owner: string | undefined;
  readonly effect: Effect;
  readonly mode: 'enforce';
  readonly principals: readonly PrincipalPattern[];
  readonly destinations: ReadonlySet<string>;
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly PathPattern[] | undefined;
  /** Place in the file: the first matching rule of the winning effect is the one that is named. */
  readonly index: number;
}

export interface Policy {
  readonly rules: readonly Rule[];
  /** SHA-256 (16 hex digits) of what the policy says, not of how it is written: comments and spacing do not move it. */
  readonly revision: string;
  readonly exceptions: readonly never[];
  /** Compiled forms; only the functions of this folder read them. */
  readonly index: PolicyIndex;
  readonly decisions: readonly Decision[];
  readonly defaultDecision: Decision;
}

/** Compiles checked rules. Rules keep their order; ids must be unique (the file reader sees to it). */
export function compilePolicy(inputs: readonly RuleInput[]): Policy {
  const rules = inputs.map(toRule);
  const revision = createHash('sha256').update(canonicalText(rules)).digest('hex').slice(0, 16);
  return {
    rules,
    revision,
    exceptions: [],
    index: new PolicyIndex(rules),
    decisions: rules.map((rule) => decisionOf(rule, revision)),
    defaultDecision: {
      effect: 'deny',
      rule: DEFAULT_RULE,
      reason: 'no_rule_matched',
      policyRevision: revision,
    },
  };
}

/** The named rule that decides where no other does. */
export const DEFAULT_RULE = 'default';

/** Could this identity still reach anything at all? Conservative: an allow that only narrow denies touch counts. */
export function hasAnyAllow(policy: Policy, principal: SpiffeId): boolean {
  return policy.index.hasAnyAllow(principal);
}

const toRule = (input: RuleInput, index: number): Rule => ({
  id: input.id,
  owner: input.owner,
  effect: input.effect,
  mode: 'enforce',
  principals: input.principals,
  destinations: new Set(input.destinations),
  methods: input.methods === undefined ? undefined : new Set(input.methods),
  paths: input.paths,
  index,
});

const decisionOf = (rule: Rule, policyRevision: string): Decision => ({
  effect: rule.effect,
  rule: rule.id,
  reason: rule.effect === 'allow' ? 'rule_allowed' : 'policy_denied',
  policyRevision,
});

/** Order of rules counts (it names the deciding one); order inside a rule's lists does not. */
function canonicalText(rules: readonly Rule[]): string {
  return JSON.stringify(
    rules.map((rule) => [
      rule.id,
      rule.owner ?? null,
      rule.effect,
      sorted(rule.principals.map((pattern) => pattern.text)),
      sorted(rule.destinations),
      rule.methods === undefined ? null : sorted(rule.methods),
      rule.paths === undefined ? null : sorted(rule.paths.map((pattern) => pattern.text)),
    ]),
  );
}

const sorted = (values: Iterable<string>): string[] => [...new Set(values)].sort();
