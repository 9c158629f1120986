import type { NamingTemplate } from '../policy/naming.js';
import { patternKey, type RegistryEntry, type RegistryInput } from '../policy/registry.js';
import { checkShape } from './issues.js';
import type { Problem } from './problem.js';
import { type RawRegistry, registrySchema } from './registry-schema.js';
import { readYamlOrJson } from './yaml-or-json.js';
import type { KeyPath } from './yaml-text.js';

export interface RegistryFile {
  /** In the order of the file; undefined when there are problems. */
  readonly input?: RegistryInput;
  readonly naming: readonly NamingTemplate[];
  readonly problems: readonly Problem[];
  /** Place of a key in the file, for what only shows beside the policy. */
  problemAt(path: KeyPath, message: string): Problem;
}

/** Reads a registry file whole: who owns which identity, or every problem in it. */
export function readRegistryFile(text: string | Uint8Array, file: string): RegistryFile {
  const yaml = readYamlOrJson(text, file);
  const { problemAt } = yaml;
  const { value, problems } = checkShape(registrySchema, yaml);
  if (value === undefined) return { naming: [], problems, problemAt };
  const { unregistered, naming = [], identities } = value;
  const twice = checkPatterns(identities, problemAt);
  if (twice.length > 0) return { naming, problems: twice, problemAt };
  return { input: { unregistered, entries: identities.map(toEntry) }, naming, problems: [], problemAt };
}

type RawIdentity = RawRegistry['identities'][number];

function checkPatterns(identities: readonly RawIdentity[], problemAt: RegistryFile['problemAt']): Problem[] {
  const problems: Problem[] = [];
  const firstWith = new Map<string, number>();
  for (const [i, { id }] of identities.entries()) {
    const key = patternKey(id);
    const first = firstWith.get(key);
    if (first === undefined) firstWith.set(key, i);
    else problems.push(problemAt(['identities', i, 'id'], `"${id.text}" is also identities[${first}]`));
  }
  return problems;
}

const toEntry = ({ id, owner, environment, contact, purpose, delegations }: RawIdentity): RegistryEntry => ({
  pattern: id,
  owner,
  environment,
  contact,
  purpose,
  delegations,
});
