import { z } from 'zod';
import type { Problem } from './problem.js';
import type { KeyPath, YamlText } from './yaml-text.js';

type Issue = z.core.$ZodIssue;

/** Who mends these asks again. A large file may hold a hundred thousand. */
const MAX_PROBLEMS = 1000;

/** Checks `text` against `schema` and turns each thing wrong into a problem with its place. */
export function checkShape<S extends z.ZodType>(
  schema: S,
  text: YamlText,
): { readonly value: z.output<S> | undefined; readonly problems: readonly Problem[] } {
  if (text.problems.length > 0) return { value: undefined, problems: text.problems };
  const result = schema.safeParse(text.value, { reportInput: true });
  if (result.success) return { value: result.data, problems: [] };
  const { issues } = result.error;
  const keysAt = knownKeysOf(schema);
  const problems = issues.slice(0, MAX_PROBLEMS).flatMap((issue) => describe(issue, keysAt, text));
  return { value: undefined, problems: issues.length > MAX_PROBLEMS ? withMore(problems) : problems };
}

const withMore = (problems: readonly Problem[]): readonly Problem[] =>
  problems.map((problem, i) =>
    i < problems.length - 1
      ? problem
      : { ...problem, message: `${problem.message}; further problems are not shown` },
  );

function describe(issue: Issue, keysAt: KeysAt, text: YamlText): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => text.problemAtKey(issue.path, key, unknownKey(issue.path, key, keysAt)));
  }
  if (issue.code === 'invalid_key') {
    const key = String(issue.path[issue.path.length - 1]);
    const why = issue.issues[0]?.message ?? 'cannot be used';
    return [text.problemAtKey(issue.path.slice(0, -1), key, `the name ${why}`)];
  }
  return [text.problemAt(issue.path, message(issue))];
}

function message(issue: Issue): string {
  const said = issue.message;
  // Messages of our own begin in lower case; those of zod say "Invalid …" and are put in our words here.
  if (!/^(Invalid|Too|Unrecognized)\b/.test(said)) return said;
  if (issue.input === undefined) return 'is required';
  if (issue.input === null) return 'has no value';
  if (issue.code === 'invalid_value') return `must be ${oneOf(issue.values)}, not ${show(issue.input)}`;
  if (issue.code === 'invalid_type') return `must be ${nameOf(issue.expected)}, not ${show(issue.input)}`;
  return said;
}

const oneOf = (values: readonly unknown[]): string =>
  values.length === 1 ? String(values[0]) : `one of ${values.map(String).join(', ')}`;

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
};

const nameOf = (type: string): string => (Object.hasOwn(TYPE_NAMES, type) ? TYPE_NAMES[type]! : type);

function show(input: unknown): string {
  if (Array.isArray(input)) return 'a list';
  if (typeof input === 'object') return 'a mapping';
  const text = JSON.stringify(input) ?? String(input);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function unknownKey(path: KeyPath, key: string, keysAt: KeysAt): string {
  const nearest = nearestKey(key, keysAt(path));
  const hint = nearest === undefined ? '' : `; did you mean \`${nearest}\`?`;
  return `unknown key \`${key}\`${hint}`;
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | boolean;
}

type KeysAt = (path: KeyPath) => string[];

/** What keys a schema knows at a path; written out once, and only where something is wrong: that takes a millisecond. */
function knownKeysOf(schema: z.ZodType): KeysAt {
  let whole: SchemaNode | undefined;
  return (path) => {
    whole ??= z.toJSONSchema(schema, { io: 'input' }) as SchemaNode;
    let at: SchemaNode | undefined = whole;
    for (const key of path) {
      const further: SchemaNode | boolean | undefined =
        typeof key === 'number' ? at?.items : (at?.properties?.[String(key)] ?? at?.additionalProperties);
      at = typeof further === 'object' ? further : undefined;
    }
    return Object.keys(at?.properties ?? {});
  };
}

/** The known key within a third of its length in typing errors, if there is one. */
export function nearestKey(key: string, known: readonly string[]): string | undefined {
  if (key.length > 40) return undefined;
  const folded = key.toLowerCase().replaceAll(/[-_]/g, '');
  let best: string | undefined;
  let least = Math.floor(Math.max(3, folded.length) / 3) + 1;
  for (const candidate of known) {
    const distance = editDistance(folded, candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Insertions, deletions, changes and swaps of neighbours (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + change);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) least = Math.min(least, before[j - 2]! + 1);
      row.push(least);
    }
    before = last;
    last = row;
  }
  return last[b.length]!;
}
