import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { compileSteps, type Policy, type PolicyInput } from '../policy/policy.js';
import { listBundleFolder } from './bundle-folder.js';
import { compileConfig } from './compile-config.js';
import type { Config } from './config.js';
import { configSchema } from './config-schema.js';
import { crossCheck, crossCheckPolicy, crossWarn, crossWarnPolicy } from './cross-check.js';
import { type Environment, expandEnvironment } from './environment.js';
import { checkExceptions, readGrants, warnOfEnds, warnOfGrants } from './grants-check.js';
import { checkShape } from './issues.js';
import { type PolicyFile, type PolicyTest, readPolicyFile } from './policy-file.js';
import { compareProblems, type Problem } from './problem.js';
import { checkTrust, type FileRead, type FileReader, NO_SUCH_FILE } from './trust-check.js';
import { type KeyPath, readYaml, type YamlText } from './yaml-text.js';

interface Findings {
  /** The policies that the configuration names, also when one of them cannot be used; for whoever waits for a better version. */
  readonly policyFiles: readonly string[];
  readonly policyTests: readonly PolicyTest[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export interface LoadedConfig extends Findings {
  /** Undefined, like the policy, when there is any problem. */
  readonly config?: Config;
  readonly policy?: Policy;
}

/** The same before compilation: plain data, which can cross from one thread to another. */
export interface ConfigData extends Findings {
  readonly config?: Config;
  readonly input?: PolicyInput;
  /** What is tried out beside it. */
  readonly candidate?: PolicyInput;
}

/** Reads the configuration and the policy it names, and checks one against the other. Never throws for what it reads. */
export async function loadConfig(file: string, env: Environment, nowMs = Date.now()): Promise<LoadedConfig> {
  return compileData(await readConfigData(file, env, nowMs));
}

/**
 * `loadConfig`, and every file it names: bundles, CRLs, revocations, our own SVID, as they would be judged at `nowMs`.
 * Problems of a file without lines of its own stand at the key that names it.
 */
export async function loadAll(file: string, env: Environment, nowMs: number): Promise<LoadedConfig> {
  const draft = await loadDraft(file, env, nowMs);
  const { config } = draft;
  if (config === undefined) return compileData(finish(draft));
  const trust = await checkTrust(config, draft.problemAt, { read: readBytes, list: listBundleFolder }, nowMs);
  const grants = await readGrants(config, draft.problemAt, readBytes, nowMs);
  const problems = [...draft.problems, ...trust.problems, ...(grants?.problems ?? [])];
  const loaded = await compileData(
    finish({ ...draft, problems, warnings: [...draft.warnings, ...trust.warnings] }),
  );
  if (grants === undefined || loaded.policy === undefined) return loaded;
  const warnings = warnOfGrants(grants, { config, policy: loaded.policy }, nowMs);
  return { ...loaded, warnings: [...loaded.warnings, ...warnings].sort(compareProblems) };
}

/** The reading and checking, which for ten thousand rules takes over a second: for a thread of its own. */
export async function readConfigData(file: string, env: Environment, nowMs: number): Promise<ConfigData> {
  return finish(await loadDraft(file, env, nowMs));
}

/** No longer than this at a time: requests want their turn. */
const SLICE_MS = 4;

/** The rest, which takes a tenth of that, and is done in slices. */
export async function compileData({ input, candidate, ...rest }: ConfigData): Promise<LoadedConfig> {
  if (input === undefined) return rest;
  const steps = compileSteps(input, undefined, candidate);
  for (let until = performance.now() + SLICE_MS; ; ) {
    const step = steps.next();
    if (step.done) return { ...rest, policy: step.value };
    if (performance.now() < until) continue;
    await nextTurn();
    until = performance.now() + SLICE_MS;
  }
}

/** How many worker processes the configuration asks for, without reading anything else; 1 when it cannot be told. */
export async function readWorkers(file: string, env: Environment): Promise<Config['workers']> {
  const path = resolve(file);
  const read = await readBytes(path);
  if (!read.ok) return 1;
  const yaml = readYaml(read.value, path);
  const { value } = checkShape(configSchema, yaml);
  if (value === undefined) return 1;
  return compileConfig(value, yaml, dirname(path), env).config?.workers ?? 1;
}

interface Draft extends ConfigData {
  problemAt(path: KeyPath, message: string): Problem;
}

async function loadDraft(file: string, env: Environment, nowMs: number): Promise<Draft> {
  const path = resolve(file);
  const read = await readBytes(path);
  if (!read.ok) {
    const problem = { file: path, line: 1, column: 1, path: '', message: read.error };
    return { problems: [problem], warnings: [], policyFiles: [], policyTests: [], problemAt: () => problem };
  }
  const yaml = readYaml(read.value, path);
  const { problemAt } = yaml;
  const shape = checkShape(configSchema, yaml);
  const nothing = { warnings: [], policyTests: [], problemAt };
  if (shape.value === undefined) {
    const policy = await policiesAlone(yaml, dirname(path), env);
    return { ...nothing, ...policy, problems: [...shape.problems, ...policy.problems] };
  }
  const { config, problems } = compileConfig(shape.value, yaml, dirname(path), env);
  if (config === undefined) {
    const policy = await policiesAlone(yaml, dirname(path), env);
    return { ...nothing, ...policy, problems: [...problems, ...policy.problems] };
  }
  const problemsHere = crossCheck(config, problemAt);
  const warningsHere = crossWarn(config, problemAt);
  const policy = await readPolicy(config, 'policy', config.policyFile, problemAt, nowMs);
  const candidate =
    config.shadowPolicyFile === undefined
      ? undefined
      : await readPolicy(config, 'shadowPolicy', config.shadowPolicyFile, problemAt, nowMs);
  const files = [policy, ...(candidate === undefined ? [] : [candidate])];
  const twice = candidate === undefined ? [] : tryOutOnce(policy, problemAt);
  return {
    config,
    ...(policy.input === undefined ? {} : { input: policy.input }),
    ...(candidate?.input === undefined ? {} : { candidate: candidate.input }),
    policyFiles: files.map(({ file }) => file),
    policyTests: policy.tests,
    problems: [...problemsHere, ...twice, ...files.flatMap(({ problems }) => problems)],
    warnings: [...warningsHere, ...files.flatMap(({ warnings }) => warnings)],
    problemAt,
  };
}

interface PolicyRead extends Pick<PolicyFile, 'input' | 'tests' | 'problems'> {
  readonly file: string;
  readonly warnings: readonly Problem[];
}

/** A policy file, beside the configuration that names it under `key`. */
async function readPolicy(
  config: Config,
  key: string,
  file: string,
  problemAt: Draft['problemAt'],
  nowMs: number,
): Promise<PolicyRead> {
  const read = await readBytes(file);
  if (!read.ok) return { file, tests: [], problems: [problemAt([key], read.error)], warnings: [] };
  const policy = readPolicyFile(read.value, file);
  const exceptions = policy.input?.exceptions ?? [];
  const limit = { nowMs, maxLengthMs: config.exceptions.maxLengthMs };
  const problems = [
    ...policy.problems,
    ...crossCheckPolicy(config, policy),
    ...checkExceptions(exceptions, config, limit, policy.problemAt),
  ];
  const warnings = [...crossWarnPolicy(policy), ...warnOfEnds(exceptions, policy.problemAt, nowMs)];
  return { ...policy, file, problems, warnings };
}

/** Records have one place for what would have been decided. */
function tryOutOnce({ input, file }: PolicyRead, problemAt: Draft['problemAt']): Problem[] {
  const rule = input?.rules.find(({ mode }) => mode === 'shadow');
  if (rule === undefined) return [];
  const message = `rule "${rule.id}" of ${file} is in shadow too: try out the one or the other`;
  return [problemAt(['shadowPolicy'], message)];
}

/** A broken configuration must not hide what is wrong in the policies that it names: all problems come at once. */
async function policiesAlone(
  yaml: YamlText,
  directory: string,
  env: Environment,
): Promise<Pick<Findings, 'policyFiles' | 'problems'>> {
  const policyFiles: string[] = [];
  const problems: Problem[] = [];
  for (const key of ['policy', 'shadowPolicy'] as const) {
    const named = (yaml.value as Readonly<Record<string, unknown>> | null | undefined)?.[key];
    const expanded = typeof named === 'string' && named !== '' ? expandEnvironment(named, env) : undefined;
    if (expanded?.ok !== true) continue;
    const file = resolve(directory, expanded.value);
    policyFiles.push(file);
    const read = await readBytes(file);
    if (read.ok) problems.push(...readPolicyFile(read.value, file).problems);
    else problems.push(yaml.problemAt([key], read.error));
  }
  return { policyFiles, problems };
}

/** All or nothing: with a problem anywhere there is no configuration to run with. */
function finish({
  config,
  input,
  candidate,
  problemAt: _,
  ...draft
}: ConfigData & Partial<Draft>): ConfigData {
  const problems = [...draft.problems].sort(compareProblems);
  const warnings = [...draft.warnings].sort(compareProblems);
  const found = { ...draft, problems, warnings };
  if (problems.length > 0 || config === undefined || input === undefined) return found;
  return { ...found, config, input, ...(candidate === undefined ? {} : { candidate }) };
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: NO_SUCH_FILE,
  EACCES: 'may not be read',
  EISDIR: 'is a directory',
};

const readBytes: FileReader = async (path): Promise<FileRead> => {
  try {
    return { ok: true, value: await readFile(path) };
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    const why = Object.hasOwn(WHY, code) ? WHY[code] : (cause as Error).message;
    return { ok: false, error: `${path}: ${why}` };
  }
};
