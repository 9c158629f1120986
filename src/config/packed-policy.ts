import type { PolicyInput, RuleInput } from '../policy/policy.js';

/** A policy as it crosses from one thread to another: as text, which costs the receiver nothing until a part is read. */
export interface PackedPolicy extends Omit<PolicyInput, 'rules'> {
  readonly ruleChunks: readonly string[];
}

/** About a millisecond's worth to read. */
const RULES_IN_A_CHUNK = 100;

export function packPolicy({ rules, ...rest }: PolicyInput): PackedPolicy {
  const ruleChunks: string[] = [];
  for (let i = 0; i < rules.length; i += RULES_IN_A_CHUNK)
    ruleChunks.push(JSON.stringify(rules.slice(i, i + RULES_IN_A_CHUNK)));
  return { ...rest, ruleChunks };
}

/** In steps, so that requests get their turn. */
export function* unpackPolicy({ ruleChunks, ...rest }: PackedPolicy): Generator<undefined, PolicyInput> {
  const rules: RuleInput[] = [];
  for (const chunk of ruleChunks) {
    rules.push(...(JSON.parse(chunk) as RuleInput[]));
    yield;
  }
  return { ...rest, rules };
}
