import type { CelNode } from './condition-ast.js';

export type MethodNode = CelNode & { op: 'rcall' };

/** Texts to look for: longer ones make a search cost the product of both lengths. */
const MAX_NEEDLE = 128;

const macros: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one']);
export const isMacro = (name: string): boolean => macros.has(name);

/** Functions that may be called, with the number of their arguments. Whatever is not here is refused by its name. */
const calls: ReadonlyMap<string, number> = new Map([
  ['has', 1],
  ['size', 1],
  ['duration', 1],
  ['timestamp', 1],
]);

const clockMethods = [
  'getFullYear',
  'getMonth',
  'getDate',
  'getDayOfMonth',
  'getDayOfWeek',
  'getHours',
  'getMinutes',
  'getSeconds',
  'getMilliseconds',
];
const methods: ReadonlyMap<string, number> = new Map([
  ['startsWith', 1],
  ['endsWith', 1],
  ['contains', 1],
  ['size', 0],
  ...[...macros].map((name) => [name, 2] as const),
  ...clockMethods.map((name) => [name, 0] as const),
]);
/** On a duration, the library reads milliseconds otherwise than CEL says. */
export const durationMethods: ReadonlySet<string> = new Set(['getHours', 'getMinutes', 'getSeconds']);

const advice: ReadonlyMap<string, string> = new Map([
  ['matches', 'a pattern can take seconds; use startsWith, endsWith, contains, segments or a list'],
  ['getDayOfYear', 'use getMonth() and getDate()'],
  ['map', 'use all, exists or exists_one'],
  ['filter', 'use all, exists or exists_one'],
  ['lowerAscii', 'compare with the spellings that you mean'],
  ['upperAscii', 'compare with the spellings that you mean'],
  ['int', 'compare texts as they are'],
  ['dyn', 'types are checked on load'],
]);

/** @returns why the function may not be called so; its types are checked later. */
export function checkCall(name: string, args: readonly CelNode[]): string | undefined {
  const count = calls.get(name);
  if (count === undefined) return unknown(name, calls);
  if (args.length !== count) return wrongCount(name, count);
  const [argument] = args;
  if ((name === 'duration' || name === 'timestamp') && !isText(argument))
    return `${name}() takes a text that is written out, in quotes`;
  return undefined;
}

/** The same for `receiver.name(…)`. */
export function checkMethod(name: string, args: readonly CelNode[]): string | undefined {
  const count = methods.get(name);
  if (count === undefined) return unknown(name, methods);
  if (args.length !== count) {
    if (clockMethods.includes(name)) return `${name}() takes no time zone: it reads UTC`;
    return wrongCount(name, count);
  }
  const [argument] = args;
  if (name === 'contains' && !(isText(argument) && argument.args.length <= MAX_NEEDLE))
    return `contains() takes a text that is written out, of at most ${MAX_NEEDLE} characters`;
  return undefined;
}

const isText = (node: CelNode | undefined): node is CelNode & { op: 'value'; args: string } =>
  node?.op === 'value' && typeof node.args === 'string';

const unknown = (name: string, known: ReadonlyMap<string, number>): string =>
  `${name}() cannot be used in a condition: ${advice.get(name) ?? `there are ${[...known.keys()].join(', ')}`}`;

const wrongCount = (name: string, count: number): string =>
  `${name}() takes ${count === 0 ? 'no argument' : count === 1 ? 'one argument' : `${count} arguments`}`;
