import { compileCondition } from '../policy/condition.js';
import type { PolicyReads } from '../policy/condition-shape.js';
import type { ExceptionInput } from '../policy/exception.js';
import { DEFAULT_RULE, type Policy, REGISTRY_RULE } from '../policy/policy.js';
import type { Config } from './config.js';
import { checkWrittenExpiry, type ExceptionLimit, warnOfEnd } from './exception-schema.js';
import { type ParsedGrants, parseGrants } from './grants.js';
import { nearestKey } from './issues.js';
import { KnownNames } from './known-names.js';
import type { Problem } from './problem.js';
import { type FileReader, isYetToBeMade } from './trust-check.js';
import type { KeyPath } from './yaml-text.js';

export interface GrantProblem {
  readonly path: KeyPath;
  readonly message: string;
}

/** What grants are held against besides themselves. */
export interface GrantSurroundings {
  readonly config: Config;
  /** Without any grants. */
  readonly policy: Policy;
}

/** What of a policy stands in the way of a grant. */
export interface GrantObstacles {
  /** Ids that something else has, and what. */
  readonly taken: ReadonlyMap<string, string>;
  /** What conditions may read. */
  readonly reads: PolicyReads;
}

/** What is wrong with grants beside this configuration and policy: names that lead nowhere, an id that is taken. */
export function checkGrants(
  grants: readonly ExceptionInput[],
  { config, policy }: GrantSurroundings,
): GrantProblem[] {
  const obstacles = obstaclesIn(policy);
  const destinations = destinationsOf(config);
  return grants.flatMap((grant, i) =>
    [whyUnusable(grant, obstacles) ?? [], checkNames(grant, config, destinations)]
      .flat()
      .map(({ path, message }) => ({ path: ['exceptions', i, ...path], message })),
  );
}

export function obstaclesIn({ rules, exceptions, parts }: Policy): GrantObstacles {
  const taken = new Map<string, string>([
    [DEFAULT_RULE, 'the name of the rule that denies everything else'],
    [REGISTRY_RULE, 'what is named where the registry refuses'],
  ]);
  for (const { id } of rules) taken.set(id, 'the id of a rule of the policy');
  for (const { id, origin } of exceptions)
    if (origin === 'policy') taken.set(id, 'the id of an exception of the policy');
  return { taken, reads: parts.reads };
}

/** Why a grant cannot be in force beside a policy: its use could not be told from another's, or it cannot be judged. */
export function whyUnusable(
  { id, when }: ExceptionInput,
  { taken, reads }: GrantObstacles,
): GrantProblem | undefined {
  const known = taken.get(id);
  if (known !== undefined) return { path: ['id'], message: `"${id}" is ${known}` };
  if (when === undefined) return undefined;
  const compiled = compileCondition(when, reads);
  return compiled.ok ? undefined : { path: ['allow', 'when'], message: compiled.error.message };
}

/** What is wrong with the policy file's own exceptions: names that lead nowhere, an end that is too far ahead. */
export function checkExceptions(
  exceptions: readonly ExceptionInput[],
  config: Config,
  limit: ExceptionLimit,
  at: (path: KeyPath, message: string) => Problem,
): Problem[] {
  const destinations = destinationsOf(config);
  return exceptions.flatMap((exception, i) => {
    const end = checkWrittenExpiry(exception.expiresMs, limit);
    const far = end.ok ? [] : { path: ['expires'], message: end.error };
    return [far, checkNames(exception, config, destinations)]
      .flat()
      .map(({ path, message }) => at(['exceptions', i, ...path], message));
  });
}

/** The grants file as `check` reads it; undefined where none is configured, or nothing was granted yet. */
export async function readGrants(
  { exceptions: { file, maxLengthMs } }: Config,
  at: (path: KeyPath, message: string) => Problem,
  read: FileReader,
  nowMs: number,
): Promise<ParsedGrants | undefined> {
  if (file === undefined) return undefined;
  const bytes = await read(file);
  if (bytes.ok) return parseGrants(bytes.value, file, { nowMs, maxLengthMs });
  if (await isYetToBeMade(file, bytes.error, read)) return undefined;
  return { problems: [at(['exceptions', 'file'], bytes.error)], problemAt: at };
}

/** What `check` says of grants that can be read: they are left out where they do not fit, and hold nothing else up. */
export function warnOfGrants(
  { list, problemAt }: ParsedGrants,
  surroundings: GrantSurroundings,
  nowMs: number,
): Problem[] {
  const grants = list?.grants ?? [];
  const unfit = checkGrants(grants, surroundings).map(({ path, message }) => problemAt(path, message));
  return [...unfit, ...warnOfEnds(grants, problemAt, nowMs)];
}

/** Of the exceptions of a file: which are dead, and which soon will be. */
export const warnOfEnds = (
  exceptions: readonly ExceptionInput[],
  at: (path: KeyPath, message: string) => Problem,
  nowMs: number,
): Problem[] =>
  exceptions.flatMap((exception, i) => {
    const warning = warnOfEnd(exception, nowMs);
    return warning === undefined ? [] : at(['exceptions', i, 'expires'], warning);
  });

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
  const names = new KnownNames(config);
  for (const [i, pattern] of grant.principals.entries()) {
    const message = names.whyNoCaller(pattern);
    if (message !== undefined) problems.push({ path: ['allow', 'principals', i], message });
  }
  for (const [i, pattern] of (grant.behalfOf ?? []).entries()) {
    const message = names.whyNoSubject(pattern);
    if (message !== undefined) problems.push({ path: ['allow', 'behalfOf', i], message });
  }
  return problems;
}

const destinationsOf = ({ upstreams, listeners }: Config): ReadonlySet<string> =>
  new Set([...upstreams.keys(), ...listeners.flatMap(({ routes }) => routes.map(({ name }) => name))]);
