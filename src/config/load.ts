import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { withGrants } from '../policy/policy.js';
import { packRegistry } from '../policy/registry.js';
import { checkAssertionKey } from './assertion-check.js';
import { listBundleFolder } from './bundle-folder.js';
import { compileConfig } from './compile-config.js';
import type { Config } from './config.js';
import { type ConfigData, compileData, type Findings, type LoadedConfig } from './config-data.js';
import { configSchema } from './config-schema.js';
import { crossCheck, crossCheckPolicy, crossWarn, crossWarnPolicy } from './cross-check.js';
import { type Environment, expandEnvironment } from './environment.js';
import {
  checkExceptions,
  obstaclesIn,
  readGrants,
  warnOfEnds,
  warnOfGrants,
  whyUnusable,
} from './grants-check.js';
import { checkShape } from './issues.js';
import { lintWarnings } from './lint-warnings.js';
import { packPolicy } from './packed-policy.js';
import { type PolicyFile, readPolicyFile } from './policy-file.js';
import { compareProblems, type Problem } from './problem.js';
import { crossWarnRegistry } from './registry-check.js';
import { type RegistryFile, readRegistryFile } from './registry-file.js';
import { checkSealKey } from './seal-check.js';
import { checkTokenFiles } from './token-files-check.js';
import { checkTrust, type FileRead, type FileReader, NO_SUCH_FILE } from './trust-check.js';
import { formatPath, type KeyPath, readYaml, type YamlText } from './yaml-text.js';

/** Reads the configuration and the policy it names, and checks one against the other. Never throws for what it reads. */
export async function loadConfig(file: string, env: Environment, nowMs = Date.now()): Promise<LoadedConfig> {
  return compileData(await readConfigData(file, env, nowMs));
}

/** `loadConfig` with what is granted beside the policy: what a request would be judged by. A broken grants file is a problem here. */
export async function loadConfigWithGrants(
  file: string,
  env: Environment,
  nowMs: number,
): Promise<LoadedConfig> {
  const loaded = await loadConfig(file, env, nowMs);
  const { config, policy } = loaded;
  if (config === undefined || policy === undefined) return loaded;
  const at = (path: KeyPath, message: string): Problem => ({
    file: config.file,
    line: 1,
    column: 1,
    path: formatPath(path),
    message,
  });
  const read = await readGrants(config, at, readBytes, nowMs);
  if (read === undefined) return loaded;
  const { policy: _, ...rest } = loaded;
  if (read.list === undefined) return { ...rest, problems: read.problems };
  const obstacles = obstaclesIn(policy);
  const usable = read.list.grants.filter((grant) => whyUnusable(grant, obstacles) === undefined);
  return { ...loaded, policy: withGrants(policy, usable) };
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
  const seal = await checkSealKey(config, draft.problemAt, readBytes, modeOf);
  const signer = await checkAssertionKey(config, draft.problemAt, readBytes, modeOf);
  const tokens = await checkTokenFiles(config, draft.problemAt, { read: readBytes, modeOf }, nowMs);
  const files = [trust, seal, signer, tokens];
  const problems = [
    ...draft.problems,
    ...(grants?.problems ?? []),
    ...files.flatMap((found) => found.problems),
  ];
  const loaded = await compileData(
    finish({
      ...draft,
      problems,
      warnings: [...draft.warnings, ...draft.lint(), ...files.flatMap((found) => found.warnings)],
    }),
  );
  if (grants === undefined || loaded.policy === undefined) return loaded;
  const warnings = warnOfGrants(grants, { config, policy: loaded.policy }, nowMs);
  return { ...loaded, warnings: [...loaded.warnings, ...warnings].sort(compareProblems) };
}

/** The reading and checking, which for ten thousand rules takes over a second: for a thread of its own. */
export async function readConfigData(file: string, env: Environment, nowMs: number): Promise<ConfigData> {
  return finish(await loadDraft(file, env, nowMs));
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
  /** Further warnings, for who asks for them. */
  lint(): readonly Problem[];
}

const NO_LINT = (): readonly Problem[] => [];

async function loadDraft(file: string, env: Environment, nowMs: number): Promise<Draft> {
  const path = resolve(file);
  const read = await readBytes(path);
  if (!read.ok) {
    const problem = { file: path, line: 1, column: 1, path: '', message: read.error };
    const nothing = { warnings: [], namedFiles: [], policyTests: [], lint: NO_LINT };
    return { ...nothing, problems: [problem], problemAt: () => problem };
  }
  const yaml = readYaml(read.value, path);
  const { problemAt } = yaml;
  const shape = checkShape(configSchema, yaml);
  const nothing = { warnings: [], policyTests: [], problemAt, lint: NO_LINT };
  if (shape.value === undefined) {
    const policy = await filesAlone(yaml, dirname(path), env);
    return { ...nothing, ...policy, problems: [...shape.problems, ...policy.problems] };
  }
  const { config, problems } = compileConfig(shape.value, yaml, dirname(path), env);
  if (config === undefined) {
    const policy = await filesAlone(yaml, dirname(path), env);
    return { ...nothing, ...policy, problems: [...problems, ...policy.problems] };
  }
  const problemsHere = [...crossCheck(config, problemAt), ...(await checkRecordsPlace(config, problemAt))];
  const warningsHere = crossWarn(config, problemAt);
  const policy = await readPolicy(config, 'policy', config.policyFile, problemAt, nowMs);
  const candidate =
    config.shadowPolicyFile === undefined
      ? undefined
      : await readPolicy(config, 'shadowPolicy', config.shadowPolicyFile, problemAt, nowMs);
  const registry =
    config.registryFile === undefined ? undefined : await readRegistry(config.registryFile, problemAt);
  const files = [policy, candidate, registry].filter((file) => file !== undefined);
  const owned =
    registry?.read === undefined || policy.read === undefined
      ? []
      : crossWarnRegistry(registry.read, policy.read);
  const twice = candidate === undefined ? [] : tryOutOnce(policy, problemAt);
  return {
    config,
    ...(policy.read?.input === undefined ? {} : { input: packPolicy(policy.read.input) }),
    ...(candidate?.read?.input === undefined ? {} : { candidate: packPolicy(candidate.read.input) }),
    ...(registry?.read?.input === undefined ? {} : { registry: packRegistry(registry.read.input) }),
    namedFiles: files.map(({ file }) => file),
    policyTests: policy.read?.tests ?? [],
    problems: [...problemsHere, ...twice, ...files.flatMap(({ problems }) => problems)],
    warnings: [...warningsHere, ...owned, ...files.flatMap(({ warnings }) => warnings)],
    problemAt,
    lint: () =>
      [policy, candidate].flatMap((file) =>
        file?.read === undefined ? [] : lintWarnings(config, file.read),
      ),
  };
}

/** What records are synced to has to be there to sync; one that is not there yet will be a regular file. */
async function checkRecordsPlace({ audit }: Config, at: Draft['problemAt']): Promise<Problem[]> {
  if (audit.durability !== 'synced' || audit.file === '-') return [];
  const isRegular = await stat(audit.file).then(
    (found) => found.isFile(),
    () => true,
  );
  return isRegular ? [] : [at(['audit', 'durability'], `synced needs a regular file: ${audit.file} is none`)];
}

/** A file beside the configuration, and what is wrong with it there. */
interface NamedFile<T> {
  readonly file: string;
  /** undefined where it cannot be read at all. */
  readonly read: T | undefined;
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
}

/** A policy file, beside the configuration that names it under `key`. */
async function readPolicy(
  config: Config,
  key: string,
  file: string,
  problemAt: Draft['problemAt'],
  nowMs: number,
): Promise<NamedFile<PolicyFile>> {
  const read = await readBytes(file);
  if (!read.ok) return unreadable(file, problemAt([key], read.error));
  const policy = readPolicyFile(read.value, file);
  const exceptions = policy.input?.exceptions ?? [];
  const limit = { nowMs, maxLengthMs: config.exceptions.maxLengthMs };
  const problems = [
    ...policy.problems,
    ...crossCheckPolicy(config, policy),
    ...checkExceptions(exceptions, config, limit, policy.problemAt),
  ];
  const warnings = [...crossWarnPolicy(policy), ...warnOfEnds(exceptions, policy.problemAt, nowMs)];
  return { file, read: policy, problems, warnings };
}

async function readRegistry(file: string, problemAt: Draft['problemAt']): Promise<NamedFile<RegistryFile>> {
  const read = await readBytes(file);
  if (!read.ok) return unreadable(file, problemAt(['registry'], read.error));
  const registry = readRegistryFile(read.value, file);
  return { file, read: registry, problems: registry.problems, warnings: [] };
}

const unreadable = (file: string, problem: Problem): NamedFile<never> => ({
  file,
  read: undefined,
  problems: [problem],
  warnings: [],
});

/** Records have one place for what would have been decided. */
function tryOutOnce({ read, file }: NamedFile<PolicyFile>, problemAt: Draft['problemAt']): Problem[] {
  const rule = read?.input?.rules.find(({ mode }) => mode === 'shadow');
  if (rule === undefined) return [];
  const message = `rule "${rule.id}" of ${file} is in shadow too: try out the one or the other`;
  return [problemAt(['shadowPolicy'], message)];
}

/** A broken configuration must not hide what is wrong in the files that it names: all problems come at once. */
async function filesAlone(
  yaml: YamlText,
  directory: string,
  env: Environment,
): Promise<Pick<Findings, 'namedFiles' | 'problems'>> {
  const namedFiles: string[] = [];
  const problems: Problem[] = [];
  for (const key of ['policy', 'shadowPolicy', 'registry'] as const) {
    const named = (yaml.value as Readonly<Record<string, unknown>> | null | undefined)?.[key];
    const expanded = typeof named === 'string' && named !== '' ? expandEnvironment(named, env) : undefined;
    if (expanded?.ok !== true) continue;
    const file = resolve(directory, expanded.value);
    namedFiles.push(file);
    const read = await readBytes(file);
    const readIt = key === 'registry' ? readRegistryFile : readPolicyFile;
    if (read.ok) problems.push(...readIt(read.value, file).problems);
    else problems.push(yaml.problemAt([key], read.error));
  }
  return { namedFiles, problems };
}

/** All or nothing: with a problem anywhere there is no configuration to run with. */
function finish({
  config,
  input,
  candidate,
  registry,
  problemAt: _,
  lint: __,
  ...draft
}: ConfigData & Partial<Draft>): ConfigData {
  const problems = [...draft.problems].sort(compareProblems);
  const warnings = [...draft.warnings].sort(compareProblems);
  const found = { ...draft, problems, warnings };
  if (problems.length > 0 || config === undefined || input === undefined) return found;
  const beside = { ...(candidate && { candidate }), ...(registry && { registry }) };
  return { ...found, config, input, ...beside };
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

const modeOf = (file: string): Promise<number | undefined> =>
  stat(file).then(
    ({ mode }) => mode,
    () => undefined,
  );
