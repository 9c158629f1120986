import { type DescribedRead, describeRead } from './condition-reads.js';
import { ConditionRun, isFor } from './condition-run.js';
import { type AccessRequest, type Decision, evaluate } from './decision.js';
import { stateOf } from './exception.js';
import { matchText, mismatchText } from './explain-text.js';
import { UnknownFact } from './facts.js';
import { matchPath, matchPathFolded, matchPrincipal } from './pattern.js';
import type { Effect, Policy, Rule } from './policy.js';
import type { RegistryEntry } from './registry.js';

/** The first thing of a rule that the request does not meet. */
export type Mismatch =
  | 'principal'
  | 'destination'
  | 'method'
  | 'path'
  | 'behalf_of'
  | 'decoded_path'
  | 'pending'
  | 'expired'
  | 'condition'
  | 'condition_error'
  | 'undecidable';

export interface RuleExplanation {
  readonly rule: string;
  readonly effect: Effect;
  readonly owner: string | undefined;
  readonly mode: 'enforce' | 'shadow';
  readonly isException: boolean;
  readonly matched: boolean;
  readonly mismatch: Mismatch | undefined;
  readonly text: string;
  readonly decides: boolean;
  /** What its condition speaks of; where the rest of the rule matches. */
  readonly reads: readonly DescribedRead[];
}

export interface Verdict {
  /** undefined where it hangs on a fact that is not known; known also where whatever that fact is, it is the same. */
  readonly effect: Effect | undefined;
  /** undefined where effect or rule hang on a fact that is not known. Without its shadow. */
  readonly decision: Decision | undefined;
  /** That fact. */
  readonly unknown: string | undefined;
}

export interface Explanation extends Verdict {
  /** Who owns the caller, by the registry. */
  readonly registered: RegistryEntry | undefined;
  readonly rules: readonly RuleExplanation[];
  /** What the policy that is tried out says; its rules where they are those of another file. */
  readonly shadow: (Verdict & { readonly rules: readonly RuleExplanation[] }) | undefined;
}

/** Says of every rule and exception whether it matched and, if not, the first thing that did not; reads all one by one. */
export function explain(policy: Policy, request: AccessRequest): Explanation {
  const { shadow } = policy;
  const registered = policy.registry?.find(request.principal);
  const own = explainAlone(policy, request, false);
  if (shadow === undefined) return { ...own, registered, shadow: undefined };
  const isSameFile = shadow.rules === policy.rules;
  const tried = explainAlone(shadow, request, isSameFile);
  return { ...own, registered, shadow: isSameFile ? { ...tried, rules: [] } : tried };
}

/** `all`: its rules in shadow count as well. */
function explainAlone(
  policy: Policy,
  request: AccessRequest,
  all: boolean,
): Verdict & { readonly rules: readonly RuleExplanation[] } {
  const { decision, unknown } = decide(policy, request);
  const sets = [policy.rules, policy.exceptionRules];
  const rules = sets.flatMap((set) => explainSet(policy, set, request, all, decision));
  const effect = decision?.effect ?? impliedEffect(rules.filter(({ mode }) => all || mode === 'enforce'));
  return { effect, decision, unknown, rules };
}

function decide(policy: Policy, request: AccessRequest): Pick<Verdict, 'decision' | 'unknown'> {
  try {
    return { decision: evaluate({ ...policy, shadow: undefined }, request), unknown: undefined };
  } catch (cause) {
    if (!(cause instanceof UnknownFact)) throw cause;
    return { decision: undefined, unknown: cause.fact };
  }
}

/** What holds whatever the unknown facts are: each can only make a rule count or not. */
export function impliedEffect(
  rules: readonly Pick<RuleExplanation, 'effect' | 'matched' | 'mismatch'>[],
): Effect | undefined {
  const denies = rules.filter(({ effect }) => effect === 'deny');
  const allows = rules.filter(({ effect }) => effect === 'allow');
  const mayMatch = ({ matched, mismatch }: (typeof rules)[number]): boolean =>
    matched || mismatch === 'undecidable';
  if (denies.some(({ matched }) => matched) || !allows.some(mayMatch)) return 'deny';
  if (allows.some(({ matched }) => matched) && !denies.some(mayMatch)) return 'allow';
  return undefined;
}

/** One of the two lists, each of which must allow both readings of a path by itself. */
function explainSet(
  policy: Policy,
  rules: readonly Rule[],
  request: AccessRequest,
  all: boolean,
  decision: Decision | undefined,
): RuleExplanation[] {
  const run = new ConditionRun(request, policy.registry);
  const inForce = all ? rules : rules.filter(({ mode }) => mode === 'enforce');
  const decodedAllowed = isDecodedAllowed(inForce, request, run);
  const ifTried = inForce === rules ? decodedAllowed : isDecodedAllowed(rules, request, run);
  return rules.map((rule) => {
    const isTried = !all && rule.mode === 'shadow';
    return explainRule(policy, rule, request, isTried ? ifTried : decodedAllowed, isTried, decision);
  });
}

function explainRule(
  policy: Policy,
  rule: Rule,
  request: AccessRequest,
  decodedAllowed: boolean | undefined,
  isTried: boolean,
  decision: Decision | undefined,
): RuleExplanation {
  const run = new ConditionRun(request, policy.registry);
  const { mismatch, unknown } = judge(rule, request, decodedAllowed, run);
  const matched = mismatch === undefined;
  const decides = matched && !isTried && rule.id === decision?.rule;
  const error = run.errors?.[0]?.error;
  const text = matched
    ? matchText(rule, { decides, isTried, decision, error })
    : mismatchText(rule, request, mismatch, unknown ?? error);
  const isException = rule.term !== undefined;
  const { id, effect, owner, mode } = rule;
  const reads = readsOf(policy, rule, request, mismatch);
  return { rule: id, effect, owner, mode, isException, matched, mismatch, decides, text, reads };
}

const BEFORE_CONDITION: ReadonlySet<Mismatch | undefined> = new Set<Mismatch>([
  'principal',
  'destination',
  'method',
  'path',
  'behalf_of',
  'pending',
  'expired',
]);

function readsOf(
  policy: Policy,
  { condition }: Rule,
  request: AccessRequest,
  mismatch: Mismatch | undefined,
): readonly DescribedRead[] {
  if (condition === undefined || BEFORE_CONDITION.has(mismatch)) return [];
  const registered = policy.registry?.find(request.principal);
  return describeRead(condition, { request, path: request.path, registered });
}

/**
 * True when there is no second reading of the path, or some rule allows it: without that no allow rule counts. undefined
 * where that hangs on a fact that is not known.
 */
export function isDecodedAllowed(
  rules: readonly Rule[],
  request: AccessRequest,
  run: ConditionRun,
): boolean | undefined {
  if (request.decodedSlashPath === undefined) return true;
  const decoded = { ...request, path: request.decodedSlashPath, decodedSlashPath: undefined };
  const allows = rules.filter(({ effect }) => effect === 'allow');
  const found = allows.map((rule) => judge(rule, decoded, true, run).mismatch);
  if (found.includes(undefined)) return true;
  return found.includes('undecidable') ? undefined : false;
}

interface Judged {
  readonly mismatch: Mismatch | undefined;
  readonly unknown?: string;
}

function judge(
  rule: Rule,
  request: AccessRequest,
  decodedAllowed: boolean | undefined,
  run: ConditionRun,
): Judged {
  try {
    return { mismatch: findMismatch(rule, request, decodedAllowed, run) };
  } catch (cause) {
    if (!(cause instanceof UnknownFact)) throw cause;
    return { mismatch: 'undecidable', unknown: cause.fact };
  }
}

/** The plain reading of one rule against one request: what the index must agree with. */
export function findMismatch(
  rule: Rule,
  request: AccessRequest,
  decodedAllowed: boolean | undefined,
  run: ConditionRun,
): Mismatch | undefined {
  if (!rule.principals.some((pattern) => matchPrincipal(pattern, request.principal))) return 'principal';
  if (!rule.destinations.has(request.destination) && !rule.destinations.has(request.route)) {
    return 'destination';
  }
  if (rule.methods !== undefined && !rule.methods.has(request.method)) return 'method';
  const { path, decodedSlashPath } = request;
  if (rule.effect === 'deny') {
    const readings = [path, ...(decodedSlashPath === undefined ? [] : [decodedSlashPath])];
    const matching = readings.filter((reading) => matchesPath(rule, reading));
    if (matching.length === 0) return 'path';
    if (!isOfDelegation(rule, request)) return 'behalf_of';
    return matching.some((reading) => run.holds(rule, reading)) ? undefined : 'condition';
  }
  if (!matchesPath(rule, path)) return 'path';
  if (!isOfDelegation(rule, request)) return 'behalf_of';
  if (!run.holds(rule, path)) return whyNot(rule, request, run);
  if (decodedAllowed === undefined) return 'undecidable';
  return decodedAllowed ? undefined : 'decoded_path';
}

/** Whether the rule is for calls like this one: of the caller's own, or for this subject. A deny without `behalfOf` is for both. */
const isOfDelegation = (rule: Rule, request: AccessRequest): boolean =>
  rule.behalfOf === undefined
    ? request.behalfOf === undefined || rule.effect === 'deny'
    : isFor(rule.behalfOf, request);

function whyNot(rule: Rule, { nowMs }: AccessRequest, run: ConditionRun): Mismatch {
  const state = rule.term === undefined ? undefined : stateOf(rule.term, nowMs);
  if (state === 'pending' || state === 'expired') return state;
  return run.errors?.some((error) => error.rule === rule.id) ? 'condition_error' : 'condition';
}

function matchesPath(rule: Rule, path: string): boolean {
  const match = rule.effect === 'deny' ? matchPathFolded : matchPath;
  return rule.paths === undefined || rule.paths.some((pattern) => match(pattern, path));
}
