import type { ExceptionInput } from '../policy/exception.js';
import { DEFAULT_RULE, type Policy } from '../policy/policy.js';
import type { Config } from './config.js';
import { nearestKey } from './issues.js';
import type { KeyPath } from './yaml-text.js';

export interface GrantProblem {
  readonly path: KeyPath;
  readonly message: string;
}

/** What grants are held against besides themselves. */
export interface GrantSurroundings {
  readonly config: Config;
  readonly policy: Policy;
}

/** What is wrong with grants beside this configuration and policy: names that lead nowhere, an id that is taken. */
export function checkGrants(
  grants: readonly ExceptionInput[],
  { config, policy }: GrantSurroundings,
): GrantProblem[] {
  const taken = takenIds(policy);
  const destinations = destinationsOf(config);
  return grants.flatMap((grant, i) =>
    [whyUnusable(grant, taken) ?? [], checkNames(grant, config, destinations)]
      .flat()
      .map(({ path, message }) => ({ path: ['exceptions', i, ...path], message })),
  );
}

function checkNames(
  grant: ExceptionInput,
  config: Config,
  destinations: ReadonlySet<string>,
): GrantProblem[] {
  const problems: GrantProblem[] = [];
  for (const [i, name] of grant.destinations.entries()) {
    if (destinations.has(name)) continue;
    const near = nearestKey(name, [...destinations]);
    const hint = near === undefined ? '' : `; did you mean "${near}"?`;
    const message = `there is no upstream or route "${name}"${hint}`;
    problems.push({ path: ['allow', 'destinations', i], message });
  }
  if (config.trustFolders.length > 0) return problems; // any domain may come
  const domains = new Set<string>(config.trust.map(({ trustDomain }) => trustDomain));
  for (const [i, { trustDomain }] of grant.principals.entries()) {
    if (domains.has(trustDomain)) continue;
    const message = `trust domain ${trustDomain} is not configured under \`trust\``;
    problems.push({ path: ['allow', 'principals', i], message });
  }
  return problems;
}

/** What has an id of the policy already; grants must not share it. */
export function takenIds({ rules, exceptions }: Policy): ReadonlyMap<string, string> {
  const taken = new Map<string, string>([[DEFAULT_RULE, 'the name of the rule that denies everything else']]);
  for (const { id } of rules) taken.set(id, 'the id of a rule of the policy');
  const all: readonly ExceptionInput[] = exceptions;
  for (const { id, origin } of all)
    if (origin === 'policy') taken.set(id, 'the id of an exception of the policy');
  return taken;
}

/** Why a grant cannot be in force beside a policy: whatever used it could not be told apart, or not judged. */
export function whyUnusable(
  { id }: ExceptionInput,
  taken: ReadonlyMap<string, string>,
): GrantProblem | undefined {
  const known = taken.get(id);
  return known === undefined ? undefined : { path: ['id'], message: `"${id}" is ${known}` };
}

const destinationsOf = ({ upstreams, listeners }: Config): ReadonlySet<string> =>
  new Set([...upstreams.keys(), ...listeners.flatMap(({ routes }) => routes.map(({ name }) => name))]);
