import type { ASTNode, ParseResult } from '@marcbachmann/cel-js';
import { type CelNode, childrenOf } from './condition-ast.js';
import { durationMethods, isMacro } from './condition-functions.js';
import { TYPE_WORDS } from './condition-schema.js';
import type { ConditionProblem } from './condition-shape.js';

/**
 * What the library's type checker lets pass and may not: any part of a type that is not listed (`dyn` above all: it fits
 * everything), texts put in order or together, times subtracted from each other (wrong below zero in the library).
 */
export function checkTypes(root: CelNode): ConditionProblem | undefined {
  const own = checkNode(root);
  if (own !== undefined) return { message: own, offset: root.pos };
  for (const part of typedPartsOf(root)) {
    const problem = checkTypes(part);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The argument of has() is a name, and so is the first of a macro: neither has a type. */
function typedPartsOf(node: CelNode): readonly CelNode[] {
  if (node.op === 'call' && node.args[0] === 'has') return [];
  if (node.op === 'rcall' && isMacro(node.args[0])) return [node.args[1], node.args[2][1]!];
  return childrenOf(node);
}

function checkNode(node: CelNode): string | undefined {
  if (typeOf(node) === undefined) return 'its type is none that a condition may use';
  switch (node.op) {
    case '<':
    case '<=':
    case '>':
    case '>=':
      return isOrdered(typeOf(node.args[0]))
        ? undefined
        : `${node.op} compares numbers, timestamps and durations, not ${typeOf(node.args[0])}`;
    case '+':
      return isOrdered(typeOf(node.args[0]))
        ? undefined
        : `+ adds numbers, timestamps and durations, not ${typeOf(node.args[0])}`;
    case '-':
      return typeOf(node.args[0]) === 'timestamp' && typeOf(node.args[1]) === 'timestamp'
        ? 'times cannot be subtracted from each other: read credential.age or credential.remaining, or compare with a time plus a duration'
        : undefined;
    case 'in':
      return typeOf(node.args[0]) === 'string' || typeOf(node.args[0]) === 'int'
        ? undefined
        : `in looks for texts and numbers, not ${typeOf(node.args[0])}`;
    case 'call':
      return node.args[0] === 'size' ? checkSize(node.args[1][0]!) : undefined;
    case 'rcall':
      return checkMethodTypes(node.args[0], node.args[1]);
    default:
      return undefined;
  }
}

function checkMethodTypes(name: string, receiver: CelNode): string | undefined {
  if (name === 'size') return checkSize(receiver);
  if (typeOf(receiver) === 'duration' && !durationMethods.has(name))
    return `${name}() is for timestamps; a duration has ${[...durationMethods].join(', ')}`;
  return undefined;
}

const checkSize = (of: CelNode): string | undefined =>
  typeOf(of)?.startsWith('list<')
    ? undefined
    : 'size() is for lists: the length of a text says little, and takes time';

const isOrdered = (type: string | undefined): boolean =>
  type === 'int' || type === 'timestamp' || type === 'duration';

/** The type that the library found, in our words; undefined where it is none of ours, or none was found. */
const typeOf = (node: CelNode): string | undefined =>
  TYPE_WORDS.get(
    (node as ASTNode & { readonly checkedType?: { readonly name: string } }).checkedType?.name ?? '',
  );

/** @returns the problem that the library's own checker finds, or that the whole is neither true nor false. */
export function checkWhole(
  parsed: ParseResult,
  describe: (error: unknown) => ConditionProblem,
): ConditionProblem | undefined {
  const { valid, type, error } = parsed.check();
  if (!valid) return describe(error);
  if (type !== 'bool')
    return {
      message: `gives ${TYPE_WORDS.get(type ?? '') ?? 'something else'}, not true or false`,
      offset: 0,
    };
  return checkTypes(parsed.ast);
}
