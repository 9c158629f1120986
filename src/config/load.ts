import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { compilePolicy, type Policy, type RuleInput } from '../policy/policy.js';
import { compileConfig } from './compile-config.js';
import type { Config } from './config.js';
import { configSchema } from './config-schema.js';
import { crossCheck, crossCheckPolicy, crossWarn, crossWarnPolicy } from './cross-check.js';
import { type Environment, expandEnvironment } from './environment.js';
import { checkShape } from './issues.js';
import { type PolicyTest, readPolicyFile } from './policy-file.js';
import { compareProblems, type Problem } from './problem.js';
import { checkTrust, type FileRead, type FileReader } from './trust-check.js';
import { type KeyPath, readYaml, type YamlText } from './yaml-text.js';

interface Findings {
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
  readonly rules?: readonly RuleInput[];
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
  const trust = await checkTrust(draft.config, draft.problemAt, readBytes, nowMs);
  const problems = [...draft.problems, ...trust.problems];
  return compileData(finish({ ...draft, problems, warnings: [...draft.warnings, ...trust.warnings] }));
}

/** The reading and checking, which for ten thousand rules takes over a second: for a thread of its own. */
export async function readConfigData(file: string, env: Environment): Promise<ConfigData> {
  return finish(await loadDraft(file, env));
}

/** The rest, which takes a tenth of that. */
export function compileData({ rules, ...rest }: ConfigData): LoadedConfig {
  return rules === undefined ? rest : { ...rest, policy: compilePolicy(rules) };
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
    return { ...nothing, problems: [...shape.problems, ...(await policyProblems(yaml, dirname(path), env))] };
  }
  const { config, problems } = compileConfig(shape.value, yaml, dirname(path), env);
  if (config === undefined) {
    return { ...nothing, problems: [...problems, ...(await policyProblems(yaml, dirname(path), env))] };
  }
  const own = { problems: crossCheck(config, problemAt), warnings: crossWarn(config, problemAt) };
  const policyRead = await readBytes(config.policyFile);
  if (!policyRead.ok) {
    const missing = problemAt(['policy'], policyRead.error);
    return { ...nothing, config, problems: [...own.problems, missing], warnings: own.warnings };
  }
  const policyFile = readPolicyFile(policyRead.value, config.policyFile);
  return {
    config,
    ...(policyFile.rules === undefined ? {} : { rules: policyFile.rules }),
    policyTests: policyFile.tests,
    problems: [...own.problems, ...policyFile.problems, ...crossCheckPolicy(config, policyFile)],
    warnings: [...own.warnings, ...crossWarnPolicy(policyFile)],
    problemAt,
  };
}

/** A broken configuration must not hide what is wrong in the policy that it names: all problems come at once. */
async function policyProblems(
  yaml: YamlText,
  directory: string,
  env: Environment,
): Promise<readonly Problem[]> {
  const named = (yaml.value as { readonly policy?: unknown } | null | undefined)?.policy;
  const expanded = typeof named === 'string' && named !== '' ? expandEnvironment(named, env) : undefined;
  if (expanded?.ok !== true) return [];
  const file = resolve(directory, expanded.value);
  const read = await readBytes(file);
  return read.ok ? readPolicyFile(read.value, file).problems : [yaml.problemAt(['policy'], read.error)];
}

/** All or nothing: with a problem anywhere there is no configuration to run with. */
function finish({ config, rules, policyTests, ...draft }: ConfigData): ConfigData {
  const problems = [...draft.problems].sort(compareProblems);
  const warnings = [...draft.warnings].sort(compareProblems);
  if (problems.length > 0 || config === undefined || rules === undefined) {
    return { policyTests, problems, warnings };
  }
  return { config, rules, policyTests, problems, warnings };
}

const WHY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
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
