import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { compilePolicy, type Policy, type RuleInput } from '../policy/policy.js';
import {
  compileRegistrySteps,
  type PackedRegistry,
  packRegistry,
  type Registry,
} from '../policy/registry.js';
import { listBundleFolder } from './bundle-folder.js';
import { compileConfig } from './compile-config.js';
import type { Config } from './config.js';
import { configSchema } from './config-schema.js';
import { crossCheck, crossCheckPolicy, crossWarn, crossWarnPolicy } from './cross-check.js';
import { type Environment, expandEnvironment } from './environment.js';
import { checkShape } from './issues.js';
import { type PolicyTest, readPolicyFile } from './policy-file.js';
import { compareProblems, type Problem } from './problem.js';
import { crossWarnRegistry } from './registry-check.js';
import { type RegistryFile, readRegistryFile } from './registry-file.js';
import { checkTrust, type FileRead, type FileReader, NO_SUCH_FILE } from './trust-check.js';
import { type KeyPath, readYaml, type YamlText } from './yaml-text.js';

interface Findings {
  /** The policy that the configuration names, also when one of them cannot be used; for whoever waits for a better version. */
  readonly policyFile?: string;
  /** The registry likewise. */
  readonly registryFile?: string;
  readonly policyTests: readonly PolicyTest[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

export interface LoadedConfig extends Findings {
  /** Undefined, like the policy and the registry, when there is any problem. */
  readonly config?: Config;
  readonly policy?: Policy;
  /** Undefined also where the configuration names none. */
  readonly registry?: Registry;
}

/** The same before compilation: plain data, which can cross from one thread to another. */
export interface ConfigData extends Findings {
  readonly config?: Config;
  readonly rules?: readonly RuleInput[];
  readonly packedRegistry?: PackedRegistry;
}

/** Reads the configuration and the policy it names, and checks one against the other. Never throws for what it reads. */
export async function loadConfig(file: string, env: Environment): Promise<LoadedConfig> {
  return compileData(await readConfigData(file, env));
}

/**
 * `loadConfig`, and every file it names: bundles, CRLs, revocations, our own SVID, as they would be judged at `nowMs`.
 * Problems of a file without lines of its own stand at the key that names it.
 */
export async function loadAll(file: string, env: Environment, nowMs: number): Promise<LoadedConfig> {
  const draft = await loadDraft(file, env);
  if (draft.config === undefined) return compileData(finish(draft));
  const trust = await checkTrust(
    draft.config,
    draft.problemAt,
    { read: readBytes, list: listBundleFolder },
    nowMs,
  );
  const problems = [...draft.problems, ...trust.problems];
  return compileData(finish({ ...draft, problems, warnings: [...draft.warnings, ...trust.warnings] }));
}

/** The reading and checking, which for ten thousand rules takes over a second: for a thread of its own. */
export async function readConfigData(file: string, env: Environment): Promise<ConfigData> {
  return finish(await loadDraft(file, env));
}

/** The rest, which takes a tenth of that. */
export async function compileData({
  rules,
  packedRegistry: packed,
  ...rest
}: ConfigData): Promise<LoadedConfig> {
  if (rules === undefined) return rest;
  const registry = packed === undefined ? {} : { registry: await inSlices(compileRegistrySteps(packed)) };
  return { ...rest, ...registry, policy: compilePolicy(rules) };
}

/** No longer than this at a time: requests want their turn. */
const SLICE_MS = 4;

async function inSlices<T>(steps: Generator<undefined, T>): Promise<T> {
  for (let until = performance.now() + SLICE_MS; ; ) {
    const step = steps.next();
    if (step.done) return step.value;
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

async function loadDraft(file: string, env: Environment): Promise<Draft> {
  const path = resolve(file);
  const read = await readBytes(path);
  if (!read.ok) {
    const problem = { file: path, line: 1, column: 1, path: '', message: read.error };
    return { problems: [problem], warnings: [], policyTests: [], problemAt: () => problem };
  }
  const yaml = readYaml(read.value, path);
  const { problemAt } = yaml;
  const shape = checkShape(configSchema, yaml);
  const nothing = { warnings: [], policyTests: [], problemAt };
  if (shape.value === undefined) {
    const named = await namedAlone(yaml, dirname(path), env);
    return { ...nothing, ...named, problems: [...shape.problems, ...named.problems] };
  }
  const { config, problems } = compileConfig(shape.value, yaml, dirname(path), env);
  if (config === undefined) {
    const named = await namedAlone(yaml, dirname(path), env);
    return { ...nothing, ...named, problems: [...problems, ...named.problems] };
  }
  const own = { problems: crossCheck(config, problemAt), warnings: crossWarn(config, problemAt) };
  const registry = await readRegistry(config.registryFile, problemAt);
  const files = { policyFile: config.policyFile, ...registry.named };
  const policyRead = await readBytes(config.policyFile);
  if (!policyRead.ok) {
    const missing = problemAt(['policy'], policyRead.error);
    const problems = [...own.problems, ...registry.problems, missing];
    return { ...nothing, config, ...files, problems, warnings: own.warnings };
  }
  const policyFile = readPolicyFile(policyRead.value, config.policyFile);
  const beside = [...crossCheckPolicy(config, policyFile), ...registry.problems];
  const oddities = registry.file === undefined ? [] : crossWarnRegistry(registry.file, policyFile);
  return {
    config,
    ...(policyFile.rules === undefined ? {} : { rules: policyFile.rules }),
    ...(registry.file?.input === undefined ? {} : { packedRegistry: packRegistry(registry.file.input) }),
    ...files,
    policyTests: policyFile.tests,
    problems: [...own.problems, ...policyFile.problems, ...beside],
    warnings: [...own.warnings, ...crossWarnPolicy(policyFile), ...oddities],
    problemAt,
  };
}

interface RegistryRead {
  readonly named: { readonly registryFile?: string };
  readonly file?: RegistryFile;
  readonly problems: readonly Problem[];
}

async function readRegistry(
  registryFile: string | undefined,
  problemAt: Draft['problemAt'],
): Promise<RegistryRead> {
  if (registryFile === undefined) return { named: {}, problems: [] };
  const read = await readBytes(registryFile);
  if (!read.ok) return { named: { registryFile }, problems: [problemAt(['registry'], read.error)] };
  const file = readRegistryFile(read.value, registryFile);
  return { named: { registryFile }, file, problems: file.problems };
}

/** A broken configuration must not hide what is wrong in the policy and registry that it names: all problems come at once. */
async function namedAlone(
  yaml: YamlText,
  directory: string,
  env: Environment,
): Promise<Pick<Findings, 'policyFile' | 'registryFile' | 'problems'>> {
  const policyFile = fileNamedAt('policy', yaml, directory, env);
  const registry = await readRegistry(fileNamedAt('registry', yaml, directory, env), yaml.problemAt);
  if (policyFile === undefined) return { ...registry.named, problems: registry.problems };
  const read = await readBytes(policyFile);
  const problems = read.ok
    ? readPolicyFile(read.value, policyFile).problems
    : [yaml.problemAt(['policy'], read.error)];
  return { policyFile, ...registry.named, problems: [...problems, ...registry.problems] };
}

function fileNamedAt(
  key: 'policy' | 'registry',
  yaml: YamlText,
  directory: string,
  env: Environment,
): string | undefined {
  const named = (yaml.value as { readonly [of in typeof key]?: unknown } | null | undefined)?.[key];
  const expanded = typeof named === 'string' && named !== '' ? expandEnvironment(named, env) : undefined;
  return expanded?.ok === true ? resolve(directory, expanded.value) : undefined;
}

/** All or nothing: with a problem anywhere there is no configuration to run with. */
function finish({
  config,
  rules,
  packedRegistry,
  problemAt: _,
  ...draft
}: ConfigData & Partial<Draft>): ConfigData {
  const problems = [...draft.problems].sort(compareProblems);
  const warnings = [...draft.warnings].sort(compareProblems);
  const found = { ...draft, problems, warnings };
  if (problems.length > 0 || config === undefined || rules === undefined) return found;
  return { ...found, config, rules, ...(packedRegistry === undefined ? {} : { packedRegistry }) };
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
