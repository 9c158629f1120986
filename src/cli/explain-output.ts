import type { AccessRequest } from '../policy/decision.js';
import type { Explanation, Mismatch, RuleExplanation, Verdict } from '../policy/explain.js';
import type { Policy } from '../policy/policy.js';
import { optionFor } from './told-facts.js';

export interface Explained {
  readonly request: AccessRequest;
  readonly policy: Policy;
  readonly explanation: Explanation;
}

/** For a program: every rule, in the order of the file. */
export function explanationJson({ request, policy, explanation }: Explained): unknown {
  const { shadow, rules } = explanation;
  return {
    ...verdictJson(explanation),
    policyRevision: policy.revision,
    ...(shadow !== undefined && { shadow: { ...verdictJson(shadow), rules: shadow.rules } }),
    registry: registryJson(policy, explanation),
    request: {
      principal: request.principal.uri,
      behalfOf: request.behalfOf?.subject.uri,
      listener: request.listener,
      route: request.route,
      destination: request.destination,
      method: request.method,
      host: request.host,
      path: request.path,
      decodedSlashPath: request.decodedSlashPath,
      at: new Date(request.nowMs).toISOString(),
    },
    rules,
  };
}

const verdictJson = ({ effect, decision, unknown }: Verdict): Readonly<Record<string, unknown>> => ({
  effect: effect ?? 'undecidable',
  ...decision,
  ...(unknown !== undefined && { unknown, tell: optionFor(unknown) }),
});

function registryJson({ registry }: Policy, { registered }: Explanation): unknown {
  if (registry === undefined) return undefined;
  const { unregistered } = registry;
  if (registered === undefined) return { registered: false, unregistered };
  const { pattern, owner, environment, contact, purpose } = registered;
  return { registered: true, unregistered, entry: pattern.text, owner, environment, contact, purpose };
}

/** Rules that are shown where not all are asked for. */
const MAX_SHOWN = 25;

/** For a person: what decides first, then what matches, then what almost did. */
export function explanationText(explained: Explained, all: boolean): string {
  const { request, policy, explanation } = explained;
  const { principal, method, host, path, decodedSlashPath, listener, route, destination } = request;
  const also = decodedSlashPath === undefined ? '' : `, which may be read as ${decodedSlashPath}`;
  const at = policy.isTimeBound ? `, at ${new Date(request.nowMs).toISOString()}` : '';
  const { shadow } = explanation;
  const behalf = request.behalfOf === undefined ? '' : ` on behalf of ${request.behalfOf.subject.uri}`;
  return [
    verdictText(explanation, policy),
    `${principal.uri}${behalf} ${method} ${host}${path}${also}`,
    `listener ${listener}, route ${route}, destination ${destination}${at}`,
    ...registryText(explained),
    ...ruleLines(explanation, explanation.rules, all),
    ...(shadow === undefined ? [] : ['', `tried out: ${verdictText(shadow, policy.shadow ?? policy)}`]),
    ...(shadow === undefined || shadow.rules.length === 0 ? [] : ruleLines(shadow, shadow.rules, all)),
    '',
  ].join('\n');
}

function verdictText({ effect, decision, unknown = '' }: Verdict, { revision }: Policy): string {
  if (decision !== undefined)
    return `${decision.effect}: ${decision.reason}, rule ${decision.rule}, policy ${revision}`;
  if (effect !== undefined)
    return `${effect}: whatever ${unknown} is, which is not known; policy ${revision}`;
  return `undecidable: hangs on ${unknown}, which is not known; tell it with ${optionFor(unknown)}`;
}

function registryText({ policy: { registry }, explanation: { registered } }: Explained): string[] {
  if (registry === undefined) return [];
  if (registered === undefined) return [`registry: not registered (unregistered: ${registry.unregistered})`];
  const { pattern, owner, environment } = registered;
  const where = environment === undefined ? '' : `, environment ${environment}`;
  return [`registry: owner ${owner}${where}, by ${pattern.text}`];
}

function ruleLines({ decision }: Verdict, rules: readonly RuleExplanation[], all: boolean): string[] {
  const ordered = nearestFirst(rules);
  const shown = all ? ordered : ordered.slice(0, MAX_SHOWN);
  const width = Math.max('default'.length, ...shown.map(({ rule }) => rule.length));
  const line = (mark: string, id: string, effect: string, text: string): string =>
    `${mark} ${id.padEnd(width)}  ${effect.padEnd(5)}  ${text}`;
  const lines = shown.flatMap((rule) => [
    line(rule.decides ? '=>' : rule.matched ? ' +' : ' -', rule.rule, rule.effect, kindOf(rule) + rule.text),
    ...rule.reads.map(({ name, value }) => `${' '.repeat(width + 12)}${name} = ${value}`),
  ]);
  const left = ordered.slice(shown.length);
  if (left.length > 0) lines.push(` … ${left.length} more, ${matching(left)}; --all shows them`);
  const why = decision === undefined ? undefined : WITHOUT_RULE[decision.reason];
  return why === undefined || decision === undefined
    ? lines
    : [line('=>', decision.rule, 'deny', why), ...lines];
}

const WITHOUT_RULE: Readonly<Record<string, string>> = {
  no_rule_matched: 'no rule allows this: what is not allowed is denied',
  identity_unregistered: 'the registry does not know the caller, and says unregistered: deny',
  delegation_denied:
    'the registry does not let the caller act for this subject there (`delegations` of its entry)',
};

const kindOf = ({ isException, mode }: RuleExplanation): string =>
  isException ? 'exception: ' : mode === 'shadow' ? 'in shadow: ' : '';

function matching(rules: readonly RuleExplanation[]): string {
  const count = rules.filter(({ matched }) => matched).length;
  return count === 0 ? 'none of which matches' : `${count} of which match`;
}

/** How far a rule is from counting: the further a request got in it, the nearer it is. */
const DISTANCE: Readonly<Record<Mismatch, number>> = {
  undecidable: 2,
  condition: 3,
  condition_error: 3,
  decoded_path: 3,
  pending: 3,
  expired: 3,
  behalf_of: 3,
  path: 4,
  method: 5,
  destination: 6,
  principal: 7,
};

/** What decides, what matches, then what almost did; alike ones in the order of the file. */
export const nearestFirst = (rules: readonly RuleExplanation[]): readonly RuleExplanation[] =>
  rules
    .map((rule, index) => ({ rule, index, rank: rankOf(rule) }))
    .sort((a, b) => a.rank - b.rank || a.index - b.index)
    .map(({ rule }) => rule);

const rankOf = ({ decides, mismatch }: RuleExplanation): number =>
  decides ? 0 : mismatch === undefined ? 1 : DISTANCE[mismatch];
