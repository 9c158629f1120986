import { setImmediate as nextTurn } from 'node:timers/promises';
import { compileSteps, type Policy } from '../policy/policy.js';
import { compileRegistrySteps, type PackedRegistry } from '../policy/registry.js';
import type { Config } from './config.js';
import { type PackedPolicy, unpackPolicy } from './packed-policy.js';
import type { PolicyTest } from './policy-test.js';
import type { Problem } from './problem.js';

export interface Findings {
  /** Policies and registry that the configuration names, also when one of them cannot be used; for whoever waits for a better version. */
  readonly namedFiles: readonly string[];
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
  readonly input?: PackedPolicy;
  /** What is tried out beside it. */
  readonly candidate?: PackedPolicy;
  readonly registry?: PackedRegistry;
}

/** The rest, which takes a tenth of that, and is done in slices. */
export function compileData({ input, candidate, registry, ...rest }: ConfigData): Promise<LoadedConfig> {
  return inSlices(compileInSteps(rest, input, candidate, registry));
}

function* compileInSteps(
  found: Omit<ConfigData, 'input' | 'candidate' | 'registry'>,
  input: PackedPolicy | undefined,
  candidate: PackedPolicy | undefined,
  packed: PackedRegistry | undefined,
): Generator<undefined, LoadedConfig> {
  if (input === undefined) return found;
  const registry = packed === undefined ? undefined : yield* compileRegistrySteps(packed);
  const tried = candidate === undefined ? undefined : yield* unpackPolicy(candidate);
  return { ...found, policy: yield* compileSteps(yield* unpackPolicy(input), registry, tried) };
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
