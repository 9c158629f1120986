import { ConditionRun } from './condition-run.js';
import { type AccessRequest, type Decision, evaluate } from './decision.js';
import { stateOf } from './exception.js';
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
}

export interface Explanation {
  /** undefined where it hangs on a fact that is not known. */
  readonly decision: Decision | undefined;
  /** That fact. */
  readonly unknown: string | undefined;
  /** Who owns the caller, by the registry. */
  readonly registered: RegistryEntry | undefined;
  readonly rules: readonly RuleExplanation[];
}

/** Says of every rule and exception whether it matched and, if not, the first thing that did not; reads all one by one. */
export function explain(policy: Policy, request: AccessRequest): Explanation {
  const { decision, unknown } = decisionOf(policy, request);
  const ofRules = explainAll(policy, policy.rules, request, decision);
  const ofExceptions = explainAll(policy, policy.exceptionRules, request, decision);
  const registered = policy.registry?.find(request.principal);
  return { decision, unknown, registered, rules: [...ofRules, ...ofExceptions] };
}

function decisionOf(policy: Policy, request: AccessRequest): Pick<Explanation, 'decision' | 'unknown'> {
  try {
    return { decision: evaluate(policy, request), unknown: undefined };
  } catch (cause) {
    if (!(cause instanceof UnknownFact)) throw cause;
    return { decision: undefined, unknown: cause.fact };
  }
}

function explainAll(
  policy: Policy,
  rules: readonly Rule[],
  request: AccessRequest,
  decision: Decision | undefined,
): RuleExplanation[] {
  const enforced = rules.filter(({ mode }) => mode === 'enforce');
  const run = new ConditionRun(request, policy.registry);
  const decodedAllowed = isDecodedAllowed(enforced, request, run);
  return rules.map((rule) => explainRule(rule, request, decision, decodedAllowed, policy));
}

function explainRule(
  rule: Rule,
  request: AccessRequest,
  decision: Decision | undefined,
  decodedAllowed: boolean,
  policy: Policy,
): RuleExplanation {
  const run = new ConditionRun(request, policy.registry);
  const mismatch = mismatchOf(rule, request, decodedAllowed, run);
  const matched = mismatch === undefined;
  const decides = matched && rule.mode === 'enforce' && rule.id === decision?.rule;
  const error = run.errors?.[0]?.error;
  const text = matched
    ? matchText(rule, decides, decision, error)
    : mismatchText(rule, request, mismatch, error);
  const isException = rule.term !== undefined;
  const { id, effect, owner, mode } = rule;
  return { rule: id, effect, owner, mode, isException, matched, mismatch, decides, text };
}

/** True when there is no second reading of the path, or some rule allows it: without that no allow rule counts. */
export function isDecodedAllowed(rules: readonly Rule[], request: AccessRequest, run: ConditionRun): boolean {
  if (request.decodedSlashPath === undefined) return true;
  const decoded = { ...request, path: request.decodedSlashPath, decodedSlashPath: undefined };
  return rules.some((rule) => rule.effect === 'allow' && mismatchOf(rule, decoded, true, run) === undefined);
}

function mismatchOf(
  rule: Rule,
  request: AccessRequest,
  decodedAllowed: boolean,
  run: ConditionRun,
): Mismatch | undefined {
  try {
    return findMismatch(rule, request, decodedAllowed, run);
  } catch (cause) {
    if (!(cause instanceof UnknownFact)) throw cause;
    return 'undecidable';
  }
}

/** The plain reading of one rule against one request: what the index must agree with. */
export function findMismatch(
  rule: Rule,
  request: AccessRequest,
  decodedAllowed: boolean,
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
    return matching.some((reading) => run.holds(rule, reading)) ? undefined : 'condition';
  }
  if (!matchesPath(rule, path)) return 'path';
  if (!run.holds(rule, path)) return whyNot(rule, request, run);
  return decodedAllowed ? undefined : 'decoded_path';
}

function whyNot(rule: Rule, { nowMs }: AccessRequest, run: ConditionRun): Mismatch {
  const state = rule.term === undefined ? undefined : stateOf(rule.term, nowMs);
  if (state === 'pending' || state === 'expired') return state;
  return run.errors?.some((error) => error.rule === rule.id) ? 'condition_error' : 'condition';
}

function matchesPath(rule: Rule, path: string): boolean {
  const match = rule.effect === 'deny' ? matchPathFolded : matchPath;
  return rule.paths === undefined || rule.paths.some((pattern) => match(pattern, path));
}

function matchText(
  rule: Rule,
  decides: boolean,
  decision: Decision | undefined,
  error: string | undefined,
): string {
  const why =
    error === undefined ? '' : ` (its condition cannot be evaluated, which counts in a deny: ${error})`;
  if (rule.mode === 'shadow') return `matches, and is only tried out${why}`;
  if (decides) return `matches and decides: ${rule.effect}${why}`;
  if (decision === undefined) return `matches${why}`;
  if (decision.effect === rule.effect) return `matches too, after ${decision.rule}${why}`;
  return `matches, but ${decision.rule} denies and deny wins`;
}

function mismatchText(
  rule: Rule,
  request: AccessRequest,
  mismatch: Mismatch,
  error: string | undefined,
): string {
  switch (mismatch) {
    case 'principal':
      return `principal ${request.principal.uri} is none of ${list(rule.principals.map((p) => p.text))}`;
    case 'destination':
      return `destination ${request.destination} (route ${request.route}) is none of ${list([...rule.destinations])}`;
    case 'method':
      return `method ${request.method} is none of ${list([...(rule.methods ?? [])])}`;
    case 'path':
      return `path ${request.path} is none of ${list((rule.paths ?? []).map((p) => p.text))}`;
    case 'decoded_path':
      return `path ${request.path} matches, but no rule allows ${request.decodedSlashPath}, which is how it reads with %2F decoded`;
    case 'pending':
      return `starts at ${iso(rule.term?.startsMs)}`;
    case 'expired':
      return `is dead since ${iso(rule.term?.expiresMs)}`;
    case 'condition':
      return `its condition does not hold: ${rule.condition?.text}`;
    case 'condition_error':
      return `its condition cannot be evaluated: ${error}`;
    case 'undecidable':
      return `its condition reads what is not known: ${rule.condition?.text}`;
    default:
      return mismatch satisfies never;
  }
}

const iso = (ms = 0): string => new Date(ms).toISOString();
const LISTED = 5;

function list(values: readonly string[]): string {
  const shown = values.slice(0, LISTED).join(', ');
  return values.length > LISTED ? `${shown} and ${values.length - LISTED} more` : shown;
}
