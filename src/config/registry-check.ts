import { environmentsOf, type NamingTemplate } from '../policy/naming.js';
import type { PrincipalPattern } from '../policy/pattern.js';
import type { RegistryEntry } from '../policy/registry.js';
import { conflictKey, RegistryLint } from '../policy/registry-lint.js';
import type { PolicyFile } from './policy-file.js';
import type { Problem } from './problem.js';
import type { RegistryFile } from './registry-file.js';

/** Of each file; who mends these runs `check` again. */
const MAX_WARNINGS = 100;

/** What a registry says that is rarely meant, by itself and beside the policy. */
export function crossWarnRegistry(file: RegistryFile, policy: PolicyFile | undefined): Problem[] {
  if (file.input === undefined) return [];
  const lint = new RegistryLint(file.input.entries);
  const own = firstOf(warnEntries(file, file.input.entries, lint));
  return policy === undefined ? own : [...own, ...firstOf(warnPrincipals(policy, file.naming, lint))];
}

export function firstOf(warnings: Iterable<Problem>): Problem[] {
  const first: Problem[] = [];
  for (const warning of warnings) {
    if (first.length === MAX_WARNINGS) {
      const last = first[MAX_WARNINGS - 1]!;
      first[MAX_WARNINGS - 1] = { ...last, message: `${last.message}; further warnings are not shown` };
      break;
    }
    first.push(warning);
  }
  return first;
}

function* warnEntries(
  { naming, problemAt }: RegistryFile,
  entries: readonly RegistryEntry[],
  lint: RegistryLint,
): Generator<Problem> {
  const rivals = new Map<string, RegistryEntry>();
  for (const [i, entry] of entries.entries()) {
    const path = ['identities', i, 'id'];
    const { text, segments } = entry.pattern;
    if (segments.length === 0) {
      const message = `names the trust domain, not a workload, and matches nobody; write ${text}/** for all of them`;
      yield problemAt(path, message);
      continue;
    }
    const shadow = lint.shadowOf(entry);
    if (shadow !== undefined) {
      const message = `is never used: more specific entries, such as ${shadow.pattern.text}, match all that it matches`;
      yield problemAt(path, message);
    }
    const rival = findRival(entry, rivals);
    if (rival !== undefined) {
      const message = `is as specific as ${rival.pattern.text}, whose owner is ${rival.owner}, and may match the same identity`;
      yield problemAt(path, message);
    }
    const unfit = judgeName(naming, entry.pattern, entry);
    if (unfit !== undefined)
      yield problemAt(unfit.isEnvironment ? ['identities', i, 'environment'] : path, unfit.message);
  }
}

/** An earlier entry that claims the same for another owner. */
function findRival(entry: RegistryEntry, rivals: Map<string, RegistryEntry>): RegistryEntry | undefined {
  const key = conflictKey(entry);
  if (key === undefined) return undefined;
  const first = rivals.get(key);
  if (first === undefined) rivals.set(key, entry);
  return first?.owner === entry.owner ? undefined : first;
}

function* warnPrincipals(
  { input, problemAt }: PolicyFile,
  naming: readonly NamingTemplate[],
  lint: RegistryLint,
): Generator<Problem> {
  /** One principal stands in many rules. */
  const judged = new Map<string, string | undefined>();
  for (const [i, rule] of (input?.rules ?? []).entries()) {
    for (const [j, pattern] of rule.principals.entries()) {
      if (pattern.segments.length === 0) continue; // has a warning already
      if (!judged.has(pattern.text)) judged.set(pattern.text, judgePrincipal(pattern, naming, lint));
      const message = judged.get(pattern.text);
      if (message !== undefined) yield problemAt(['rules', i, 'principals', j], message);
    }
    for (const [j, pattern] of (rule.behalfOf ?? []).entries()) {
      if (pattern.segments.length === 0 || lint.letsActFor(pattern)) continue;
      yield problemAt(
        ['rules', i, 'behalfOf', j],
        'no entry of the registry lets anybody act for it (`delegations`): every such call is refused',
      );
    }
  }
}

function judgePrincipal(
  pattern: PrincipalPattern,
  naming: readonly NamingTemplate[],
  lint: RegistryLint,
): string | undefined {
  const unfit = judgeName(naming, pattern, undefined);
  if (unfit !== undefined) return unfit.message;
  return lint.touches(pattern) ? undefined : 'no entry of the registry covers it';
}

interface Unfit {
  readonly isEnvironment: boolean;
  readonly message: string;
}

/** What is wrong with a pattern by the naming; of an entry also with its environment. */
function judgeName(
  naming: readonly NamingTemplate[],
  pattern: PrincipalPattern,
  entry: RegistryEntry | undefined,
): Unfit | undefined {
  if (naming.length === 0) return undefined;
  const fitting = naming.flatMap((template) => environmentsOf(template, pattern) ?? []);
  if (fitting.length === 0)
    return { isEnvironment: false, message: 'fits none of the templates under `naming` of the registry' };
  if (entry === undefined || fitting.some((found) => found.size === 0 || found.has(entry.environment ?? '*')))
    return undefined;
  const named = [...new Set(fitting.flatMap((found) => [...found]))].map((name) =>
    name === '*' ? 'any environment' : `environment "${name}"`,
  );
  const says = `the \`id\` says ${named.join(' or ')} by \`naming\``;
  return entry.environment === undefined
    ? { isEnvironment: false, message: `${says}, and the entry says none` }
    : { isEnvironment: true, message: `is "${entry.environment}", and ${says}` };
}
