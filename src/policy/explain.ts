import { type AccessRequest, type Decision, evaluate } from './decision.js';
import { matchPath, matchPathFolded, matchPrincipal } from './pattern.js';
import type { Effect, Policy, Rule } from './policy.js';

/** The first thing of a rule that the request does not meet. */
export type Mismatch = 'principal' | 'destination' | 'method' | 'path' | 'decoded_path';

export interface RuleExplanation {
  readonly rule: string;
  readonly effect: Effect;
  readonly owner: string | undefined;
  readonly matched: boolean;
  readonly mismatch: Mismatch | undefined;
  readonly text: string;
  readonly decides: boolean;
}

export interface Explanation {
  readonly decision: Decision;
  readonly rules: readonly RuleExplanation[];
}

/** Says of every rule whether it matched and, if not, the first thing that did not; reads all rules one by one. */
export function explain(policy: Policy, request: AccessRequest): Explanation {
  const decision = evaluate(policy, request);
  const decodedAllowed = isDecodedAllowed(policy.rules, request);
  const rules = policy.rules.map((rule) => explainRule(rule, request, decision, decodedAllowed));
  return { decision, rules };
}

function explainRule(
  rule: Rule,
  request: AccessRequest,
  decision: Decision,
  decodedAllowed: boolean,
): RuleExplanation {
  const mismatch = findMismatch(rule, request, decodedAllowed);
  const matched = mismatch === undefined;
  const decides = matched && rule.id === decision.rule;
  const text = matched ? matchText(rule, decides, decision) : mismatchText(rule, request, mismatch);
  return { rule: rule.id, effect: rule.effect, owner: rule.owner, matched, mismatch, decides, text };
}

/** True when there is no second reading of the path, or some rule allows it: without that no allow rule counts. */
export function isDecodedAllowed(rules: readonly Rule[], request: AccessRequest): boolean {
  if (request.decodedSlashPath === undefined) return true;
  const decoded = { ...request, path: request.decodedSlashPath, decodedSlashPath: undefined };
  return rules.some((rule) => rule.effect === 'allow' && findMismatch(rule, decoded, true) === undefined);
}

/** The plain reading of one rule against one request: what the index must agree with. */
export function findMismatch(
  rule: Rule,
  request: AccessRequest,
  decodedAllowed: boolean,
): Mismatch | undefined {
  if (!rule.principals.some((pattern) => matchPrincipal(pattern, request.principal))) return 'principal';
  if (!rule.destinations.has(request.destination) && !rule.destinations.has(request.route)) {
    return 'destination';
  }
  if (rule.methods !== undefined && !rule.methods.has(request.method)) return 'method';
  const { path, decodedSlashPath } = request;
  if (rule.effect === 'deny') {
    const either = matchesPath(rule, path) || (decodedSlashPath && matchesPath(rule, decodedSlashPath));
    return either ? undefined : 'path';
  }
  if (!matchesPath(rule, path)) return 'path';
  return decodedAllowed ? undefined : 'decoded_path';
}

function matchesPath(rule: Rule, path: string): boolean {
  const match = rule.effect === 'deny' ? matchPathFolded : matchPath;
  return rule.paths === undefined || rule.paths.some((pattern) => match(pattern, path));
}

function matchText(rule: Rule, decides: boolean, decision: Decision): string {
  if (decides) return `matches and decides: ${rule.effect}`;
  if (decision.effect === rule.effect) return `matches too, after ${decision.rule}`;
  return `matches, but ${decision.rule} denies and deny wins`;
}

function mismatchText(rule: Rule, request: AccessRequest, mismatch: Mismatch): string {
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
    default:
      return mismatch satisfies never;
  }
}

const LISTED = 5;

function list(values: readonly string[]): string {
  const shown = values.slice(0, LISTED).join(', ');
  return values.length > LISTED ? `${shown} and ${values.length - LISTED} more` : shown;
}
