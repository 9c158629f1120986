import { createHash } from 'node:crypto';
import type { PrincipalId } from '../identity/principal-id.js';
import { type Condition, compileCondition } from './condition.js';
import type { PolicyReads } from './condition-shape.js';
import { Decisions } from './decisions.js';
import type { ExceptionInput, ExceptionSpan } from './exception.js';
import type { PathPattern, PrincipalPattern } from './pattern.js';
import { addTo, canonicalText, revisionOf } from './policy-revision.js';
import { isTurnedAway, type Registry } from './registry.js';
import { RuleIndexes } from './rule-indexes.js';

export type Effect = 'allow' | 'deny';

/** A rule as somebody wrote it, read and checked; `undefined` means any. Plain data. */
export interface RuleInput {
  readonly id: string;
  readonly owner?: string | undefined;
  readonly effect: Effect;
  /** `shadow`: it decides nothing, and records say what it would have decided. */
  readonly mode?: 'enforce' | 'shadow' | undefined;
  readonly principals: readonly PrincipalPattern[];
  /** Only for calls on behalf of one of these. Without it an allow is for calls of the caller's own alone, a deny for all. */
  readonly behalfOf?: readonly PrincipalPattern[] | undefined;
  readonly destinations: readonly string[];
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly PathPattern[] | undefined;
  readonly when?: string | undefined;
}

/** Everything that one policy says, as plain data. */
export interface PolicyInput {
  readonly rules: readonly RuleInput[];
  readonly exceptions?: readonly ExceptionInput[] | undefined;
  readonly reads?: PolicyReads | undefined;
}

export interface Rule {
  readonly id: string;
  readonly owner: string | undefined;
  readonly effect: Effect;
  readonly mode: 'enforce' | 'shadow';
  readonly principals: readonly PrincipalPattern[];
  readonly behalfOf: readonly PrincipalPattern[] | undefined;
  readonly destinations: ReadonlySet<string>;
  readonly methods: ReadonlySet<string> | undefined;
  readonly paths: readonly PathPattern[] | undefined;
  readonly condition: Condition | undefined;
  /** Of an exception: when it counts. */
  readonly term: ExceptionSpan | undefined;
  /** It has a condition or a term: whether it counts is asked each time. */
  readonly isConditional: boolean;
  /** Place in the file: the first matching rule of the winning effect is the one that is named. */
  readonly index: number;
}

export interface Policy {
  /** All of the file, those in shadow too. */
  readonly rules: readonly Rule[];
  /** Of the file, then what was granted beside it. */
  readonly exceptions: readonly ExceptionInput[];
  /** The exceptions as the rules they are. */
  readonly exceptionRules: readonly Rule[];
  readonly registry: Registry | undefined;
  /** What conditions read, those of the policy that is tried out too. */
  readonly reads: PolicyReads;
  /**
   * SHA-256 (16 hex digits) of what rules, exceptions and registry say, not of how it is written: comments and spacing do
   * not move it, and replicas that say the same show the same.
   */
  readonly revision: string;
  /** An answer may change with nothing but time. */
  readonly isTimeBound: boolean;
  /** Evaluated beside this one and recorded: the same with its rules in shadow in force, or another policy file. */
  readonly shadow: Policy | undefined;
  /** Compiled forms; only the functions of this folder read them. */
  readonly hasConditions: boolean;
  readonly index: RuleIndexes;
  readonly exceptionIndex: RuleIndexes | undefined;
  readonly decisions: Decisions;
  readonly parts: PolicyParts;
}

/** What a policy is put together from, and can be again with other grants. */
export interface PolicyParts {
  readonly rules: CompiledRules;
  readonly exceptions: readonly ExceptionInput[];
  readonly reads: PolicyReads;
  readonly registry: Registry | undefined;
  readonly candidate: Policy | undefined;
}

/** The rules of one file: whatever is granted beside them, they stay as they are. */
interface CompiledRules {
  readonly all: readonly Rule[];
  readonly digest: string;
  readonly enforced: RuleIndexes;
  /** All of them, as if those in shadow were in force; there when there are any. */
  readonly tried: RuleIndexes | undefined;
  readonly hasConditions: boolean;
  readonly isTimeBound: boolean;
}

export { DEFAULT_RULE, REGISTRY_RULE } from './decisions.js';

/** Rules compiled in one step: a millisecond or two where each has a condition of its own. */
const RULES_A_STEP = 25;
const NOTHING_READ: PolicyReads = { headers: [], query: [], claims: [] };

/** Compiles what was read and checked; ids must be unique. `candidate` is tried out beside it. */
export function compilePolicy(input: PolicyInput, registry?: Registry, candidate?: PolicyInput): Policy {
  const steps = compileSteps(input, registry, candidate);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** `compilePolicy` in small steps, so that requests can be served in between. */
export function* compileSteps(
  input: PolicyInput,
  registry?: Registry,
  candidate?: PolicyInput,
): Generator<undefined, Policy> {
  const tried =
    candidate === undefined ? undefined : assemble(yield* partsOf(candidate, registry, undefined));
  return assemble(yield* partsOf(input, registry, tried));
}

/** The same policy with these grants beside its own exceptions, and no others. */
export function withGrants(policy: Policy, grants: readonly ExceptionInput[]): Policy {
  if (grants.length === 0 && policy.exceptions.length === policy.parts.exceptions.length) return policy;
  const { parts } = policy;
  const { candidate: tried } = parts;
  // What is only tried out may let conditions read less: there such a grant is left out, and stays in force here.
  const isFit = ({ when }: ExceptionInput): boolean =>
    when === undefined || compileCondition(when, tried?.parts.reads ?? NOTHING_READ).ok;
  const candidate = tried && withGrants(tried, grants.filter(isFit));
  return assemble({ ...parts, candidate }, grants);
}

/** Could this identity still reach anything at all? Conservative: an allow that only narrow denies touch counts. */
export function hasAnyAllow(policy: Policy, principal: PrincipalId, nowMs: number): boolean {
  const { registry, index, exceptionIndex } = policy;
  if (isTurnedAway(registry, principal)) return false;
  return index.hasAnyAllow(principal) || exceptionIndex?.hasAnyLive(principal, nowMs) === true;
}

function* partsOf(
  input: PolicyInput,
  registry: Registry | undefined,
  candidate: Policy | undefined,
): Generator<undefined, PolicyParts> {
  const { exceptions = [], reads = NOTHING_READ } = input;
  return { rules: yield* compileRules(input.rules, reads), exceptions, reads, registry, candidate };
}

function* compileRules(
  inputs: readonly RuleInput[],
  reads: PolicyReads,
): Generator<undefined, CompiledRules> {
  const conditions = new ConditionTexts(reads);
  const enforced = new RuleIndexes();
  const tried = inputs.some(({ mode }) => mode === 'shadow') ? new RuleIndexes() : undefined;
  const all: Rule[] = [];
  const digest = createHash('sha256');
  for (const [index, input] of inputs.entries()) {
    if (index % RULES_A_STEP === RULES_A_STEP - 1) yield;
    const rule = toRule(input, index, conditions);
    all.push(rule);
    if (rule.mode === 'enforce') enforced.add(rule);
    tried?.add(rule);
    addTo(digest, canonicalText(rule));
  }
  const { isAny, isTimeBound } = conditions;
  return { all, digest: digest.digest('hex'), enforced, tried, hasConditions: isAny, isTimeBound };
}

function assemble(parts: PolicyParts, grants: readonly ExceptionInput[] = []): Policy {
  const { rules, reads, registry, candidate } = parts;
  const exceptions = [...parts.exceptions, ...grants];
  const conditions = new ConditionTexts(reads);
  const exceptionRules = exceptions.map((exception, index) => toExceptionRule(exception, index, conditions));
  const revision = revisionOf(parts, exceptions);
  const exceptionIndex = exceptions.length === 0 ? undefined : new RuleIndexes(exceptionRules);
  const policy: Omit<Policy, 'shadow'> = {
    rules: rules.all,
    exceptions,
    exceptionRules,
    registry,
    reads: candidate === undefined ? reads : joinReads(reads, candidate.reads),
    revision,
    isTimeBound: rules.isTimeBound || exceptions.length > 0,
    hasConditions: rules.hasConditions || exceptions.length > 0,
    index: rules.enforced,
    exceptionIndex,
    decisions: new Decisions(rules.all, exceptionRules, revision),
    parts,
  };
  const shadow = rules.tried === undefined ? candidate : { ...policy, index: rules.tried, shadow: undefined };
  return { ...policy, shadow };
}

const joinReads = (a: PolicyReads, b: PolicyReads): PolicyReads => ({
  headers: [...new Set([...a.headers, ...b.headers])],
  query: [...new Set([...a.query, ...b.query])],
  claims: [...new Set([...a.claims, ...b.claims])],
});

/** Conditions by their text: many rules say the same one. */
class ConditionTexts {
  isAny = false;
  isTimeBound = false;
  readonly #byText = new Map<string, Condition>();

  constructor(readonly reads: PolicyReads) {}

  compile(text: string): Condition {
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const compiled = compileCondition(text, this.reads);
    if (!compiled.ok) throw new Error(`a condition that was not checked: ${compiled.error.message}`);
    this.isAny = true;
    this.isTimeBound ||= compiled.value.isTimeBound;
    this.#byText.set(text, compiled.value);
    return compiled.value;
  }
}

const toRule = (input: RuleInput, index: number, conditions: ConditionTexts): Rule => ({
  id: input.id,
  owner: input.owner,
  effect: input.effect,
  mode: input.mode ?? 'enforce',
  principals: input.principals,
  behalfOf: input.behalfOf,
  destinations: new Set(input.destinations),
  methods: input.methods === undefined ? undefined : new Set(input.methods),
  paths: input.paths,
  condition: input.when === undefined ? undefined : conditions.compile(input.when),
  term: undefined,
  isConditional: input.when !== undefined || input.behalfOf !== undefined,
  index,
});

const toExceptionRule = (exception: ExceptionInput, index: number, conditions: ConditionTexts): Rule => ({
  ...toRule({ ...exception, effect: 'allow' }, index, conditions),
  term: { startsMs: exception.startsMs, expiresMs: exception.expiresMs },
  isConditional: true,
});
