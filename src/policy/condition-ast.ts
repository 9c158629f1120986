import type { ASTNode } from '@marcbachmann/cel-js';

export type CelNode = ASTNode;

/** The parts of an expression, as they stand in the text. */
export function childrenOf(node: CelNode): readonly CelNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'map':
      return node.args.flat();
    case '!_':
    case '-_':
      return [node.args];
    default:
      return node.args;
  }
}

/** What a node says beside its parts: a value, a name, a field, a function. */
function wordOf(node: CelNode): unknown {
  switch (node.op) {
    case 'value':
    case 'id':
      return node.args;
    case '.':
    case '.?':
      return node.args[1];
    case 'call':
    case 'rcall':
      return node.args[0];
    default:
      return undefined;
  }
}

/**
 * Does `node` say what `original` says, but for the parts that `slotAt` names, each of which must be that slot's name?
 * So the text that is evaluated is proved to be the text that was checked.
 */
export function isSameBut(
  original: CelNode,
  node: CelNode,
  slotAt: (original: CelNode) => string | undefined,
): boolean {
  const slot = slotAt(original);
  if (slot !== undefined) return node.op === 'id' && node.args === slot;
  if (original.op !== node.op || wordOf(original) !== wordOf(node)) return false;
  const parts = childrenOf(original);
  const others = childrenOf(node);
  return (
    parts.length === others.length && parts.every((part, index) => isSameBut(part, others[index]!, slotAt))
  );
}
