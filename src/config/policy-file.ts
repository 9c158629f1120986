import { compileCondition } from '../policy/condition.js';
import { DEFAULT_RULE, type PolicyInput, REGISTRY_RULE, type RuleInput } from '../policy/policy.js';
import { toExceptionInput } from './exception-schema.js';
import { checkShape } from './issues.js';
import { policySchema, type RawPolicy } from './policy-schema.js';
import { type PolicyTest, toPolicyTest } from './policy-test.js';
import type { Problem } from './problem.js';
import { type KeyPath, readYaml, type YamlText } from './yaml-text.js';

export interface PolicyFile {
  /** Plain data, which another thread may have read; undefined when there are problems. */
  readonly input?: PolicyInput;
  readonly tests: readonly PolicyTest[];
  readonly problems: readonly Problem[];
  /** Place of a key in the file, for what only shows beside the configuration. */
  problemAt(path: KeyPath, message: string): Problem;
}

/** A rule is indexed under each principal and destination: bounds what a file of a few lines can make us hold. */
const MAX_INDEX_ENTRIES = 1_000_000;

/** Reads a policy file whole: its rules, or every problem in it. */
export function readPolicyFile(text: string | Uint8Array, file: string): PolicyFile {
  const yaml = readYaml(text, file);
  const { problemAt } = yaml;
  const { value, problems } = checkShape(policySchema, yaml);
  if (value === undefined) return { tests: [], problems, problemAt };
  const wrong = [...checkRules(value, problemAt), ...checkConditions(value, yaml)];
  const tests = value.tests.map((test, i) => toPolicyTest(test, problemAt(['tests', i], '')));
  if (wrong.length > 0) return { tests, problems: wrong, problemAt };
  return {
    input: {
      rules: value.rules.map(toRuleInput),
      exceptions: value.exceptions.map((raw) => toExceptionInput(raw, 'policy')),
      reads: value.reads,
    },
    tests,
    problems: [],
    problemAt,
  };
}

/** Ids that decisions name where no rule of the file decides. */
const RESERVED_IDS: ReadonlyMap<string, string> = new Map([
  [DEFAULT_RULE, '`default` is the name of the rule that denies everything else'],
  [REGISTRY_RULE, '`registry` is named where the registry refuses'],
]);

function checkRules(raw: RawPolicy, problemAt: PolicyFile['problemAt']): Problem[] {
  const problems: Problem[] = [];
  const firstWith = new Map<string, string>();
  const checkId = (id: string, list: 'rules' | 'exceptions', i: number): void => {
    const taken = RESERVED_IDS.get(id);
    if (taken !== undefined) problems.push(problemAt([list, i, 'id'], taken));
    const first = firstWith.get(id);
    if (first === undefined) firstWith.set(id, `${list}[${i}]`);
    else problems.push(problemAt([list, i, 'id'], `"${id}" is also the id of ${first}`));
  };
  let entries = 0;
  for (const [i, rule] of raw.rules.entries()) {
    checkId(rule.id, 'rules', i);
    entries += rule.principals.length * rule.destinations.length;
  }
  for (const [i, { id, allow }] of raw.exceptions.entries()) {
    checkId(id, 'exceptions', i);
    entries += allow.principals.length * allow.destinations.length;
  }
  if (entries > MAX_INDEX_ENTRIES) {
    problems.push(
      problemAt(
        ['rules'],
        `is too large: principals times destinations come to more than ${MAX_INDEX_ENTRIES}`,
      ),
    );
  }
  for (const [i, test] of raw.tests.entries()) {
    if (test.rule !== undefined && !RESERVED_IDS.has(test.rule) && !firstWith.has(test.rule)) {
      problems.push(problemAt(['tests', i, 'rule'], `there is no rule or exception "${test.rule}"`));
    }
    if (test.exception !== undefined && !raw.exceptions.some(({ id }) => id === test.exception)) {
      problems.push(problemAt(['tests', i, 'exception'], `there is no exception "${test.exception}"`));
    }
  }
  return problems;
}

/** Each text once, however many rules say it; a problem stands where each of them does. */
function checkConditions(raw: RawPolicy, { problemInside }: YamlText): Problem[] {
  const problems: Problem[] = [];
  const known = new Map<string, ReturnType<typeof compileCondition>>();
  const conditions: readonly (readonly [KeyPath, string | undefined])[] = [
    ...raw.rules.map(({ when }, i) => [['rules', i, 'when'], when] as const),
    ...raw.exceptions.map(({ allow }, i) => [['exceptions', i, 'allow', 'when'], allow.when] as const),
  ];
  for (const [path, when] of conditions) {
    if (when === undefined) continue;
    const compiled = known.get(when) ?? compileCondition(when, raw.reads);
    known.set(when, compiled);
    if (compiled.ok) continue;
    const { offset, message } = compiled.error;
    problems.push(problemInside(path, offset, message));
  }
  return problems;
}

const toRuleInput = (rule: RawPolicy['rules'][number]): RuleInput => ({
  id: rule.id,
  owner: rule.owner,
  effect: rule.effect,
  principals: rule.principals,
  behalfOf: rule.behalfOf,
  destinations: rule.destinations,
  methods: rule.methods,
  paths: rule.paths,
  mode: rule.mode,
  when: rule.when,
});
