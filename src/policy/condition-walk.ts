import { type CelNode, childrenOf } from './condition-ast.js';
import { MAX_LIST } from './condition-bounds.js';
import { checkCall, checkMethod, isMacro, type MethodNode } from './condition-functions.js';
import { parseDurationLiteral, parseTimestampLiteral } from './condition-literals.js';
import {
  type FactList,
  factListNames,
  factListOf,
  factObjects,
  fieldsOf,
  hasField,
  isFactObject,
  isReadByName,
  type NamedField,
  namedSource,
} from './condition-schema.js';
import type { ConditionShape } from './condition-shape.js';
import { hasRoom } from './condition-slots.js';

const MAX_DEPTH = 64;
/** Of the library's small steps, 30-60 ns each: what the worst request can make one condition take. */
const MAX_STEPS = 4000;
/** Looking through the longest text, where what is looked for nearly fits everywhere. */
const SEARCH_STEPS = 31;
/** Of what can fault in a loop, once an item: a fault of the library's own takes 20 µs. */
const FAULT_STEPS = 40;
/** Sums of times: more could leave the range of dates, where every comparison is false. */
const MAX_SUMS = 16;
const MAX_INT = 9_223_372_036_854_775_807n;

/**
 * Walks an expression before its types are checked: allows what is listed and nothing else, notes what is read, and adds
 * up what evaluating can cost. The first problem is kept.
 */
export class ConditionWalk {
  #item: string | undefined;
  #sums = 0;

  constructor(private readonly found: ConditionShape) {}

  read(root: CelNode): void {
    const steps = this.#visit(root, 0);
    if (steps > MAX_STEPS)
      this.found.refuse(root, `costs ${steps} steps, more than ${MAX_STEPS}: make it simpler`);
  }

  /** @returns steps that evaluating it takes at most. */
  #visit(node: CelNode, depth: number): number {
    if (this.found.problem !== undefined) return 0;
    if (depth > MAX_DEPTH) return this.found.refuse(node, `is nested more than ${MAX_DEPTH} deep`);
    switch (node.op) {
      case 'value':
        return this.#visitValue(node);
      case 'id':
        return this.#visitName(node, node.args);
      case '.':
        return this.#visitField(node, node.args[0], node.args[1], depth);
      case '[]':
        return this.#visitIndex(node, node.args[0], node.args[1], depth);
      case 'call':
        return this.#visitCall(node, node.args[0], node.args[1], depth);
      case 'rcall':
        return this.#visitMethod(node, depth);
      case 'list':
        return this.#visitList(node, node.args, depth);
      case 'in':
        return this.#visitMembership(node, node.args[0], node.args[1], depth);
      case '.?':
      case '[?]':
      case 'map':
        return this.found.refuse(node, 'conditions have no maps and no optional values');
      case '+':
      case '-':
        if (++this.#sums > MAX_SUMS)
          return this.found.refuse(node, `a condition has at most ${MAX_SUMS} sums and differences`);
    }
    const canFault = this.#item !== undefined && '+-*/%'.includes(node.op);
    return this.#visitAll(childrenOf(node), depth) + (canFault ? FAULT_STEPS : 0);
  }

  #visitAll(nodes: readonly CelNode[], depth: number): number {
    let steps = 1;
    for (const node of nodes) steps += this.#visit(node, depth + 1);
    return steps;
  }

  #visitValue(node: CelNode & { op: 'value' }): number {
    const value = node.args;
    if (typeof value === 'string') this.found.texts.push(node);
    else if (typeof value === 'bigint') {
      if (value > MAX_INT) return this.found.refuse(node, 'the number is too large');
    } else if (typeof value !== 'boolean') {
      return this.found.refuse(
        node,
        'conditions have whole numbers, texts, true and false; this is none of them',
      );
    }
    return 1;
  }

  #visitName(node: CelNode, name: string): number {
    if (name === this.#item) return 1;
    if (name === 'now') return this.found.note({ name, object: 'now', field: name });
    if (isFactObject(name))
      return this.found.refuse(
        node,
        `name a field of ${name}: ${fieldsOf(name)
          .map((f) => `${name}.${f}`)
          .join(', ')}`,
      );
    return this.found.refuse(node, unknownName(name));
  }

  #visitField(node: CelNode, left: CelNode, field: string, depth: number): number {
    const source = this.#namedSource(left);
    if (source !== undefined) return this.found.noteNamed(node, 'value', source, field);
    if (left.op !== 'id' || left.args === this.#item) {
      const steps = this.#visit(left, depth + 1);
      return this.found.problem === undefined
        ? this.found.refuse(node, `there is no field ${field} here`)
        : steps;
    }
    const object = left.args;
    if (!isFactObject(object)) return this.found.refuse(left, unknownName(object));
    if (!hasField(object, field)) {
      return this.found.refuse(
        node,
        `${object} has no field ${field}; it has ${fieldsOf(object).join(', ')}`,
      );
    }
    if (isReadByName(object, field)) {
      return this.found.refuse(
        node,
        `${object}.${field} is read by name, as in ${object}.${field}["name"], or tested by "name" in ${object}.${field}`,
      );
    }
    return this.found.note({ name: `${object}.${field}`, object, field });
  }

  #visitIndex(node: CelNode, left: CelNode, index: CelNode, depth: number): number {
    const source = this.#namedSource(left);
    if (source !== undefined) {
      if (index.op === 'value' && typeof index.args === 'string') {
        this.found.texts.push(index);
        return this.found.noteNamed(node, 'value', source, index.args);
      }
      return this.found.refuse(index, `a name in ${namedSource(source)} must be written out, in quotes`);
    }
    const steps = this.#visitAll([left, index], depth);
    const list = listOf(left);
    if (this.found.problem === undefined && list !== undefined && index.op === 'value') {
      if (typeof index.args === 'bigint')
        return this.found.substitute(node, { kind: 'segment', of: list, index: Number(index.args) });
    }
    return steps + (this.#item === undefined ? 0 : FAULT_STEPS);
  }

  #visitMembership(node: CelNode, left: CelNode, right: CelNode, depth: number): number {
    const source = this.#namedSource(right);
    if (source === undefined) {
      const items = right.op === 'list' ? right.args.length : MAX_LIST;
      return this.#visitAll([left, right], depth) + items;
    }
    if (left.op !== 'value' || typeof left.args !== 'string')
      return this.found.refuse(left, `a name in ${namedSource(source)} must be written out, in quotes`);
    this.found.texts.push(left);
    return this.found.noteNamed(node, 'presence', source, left.args);
  }

  #visitCall(node: CelNode, name: string, args: readonly CelNode[], depth: number): number {
    const unfit = checkCall(name, args);
    if (unfit !== undefined) return this.found.refuse(node, unfit);
    const [first] = args;
    if (name === 'has') {
      const source = first?.op === '.' ? this.#namedSource(first.args[0]) : undefined;
      if (first?.op === '.' && source !== undefined)
        return this.found.noteNamed(node, 'presence', source, first.args[1]);
      return this.found.refuse(
        node,
        'has() is for request.headers.name, request.query.name and credential.claims.name: every other field is always there',
      );
    }
    if (
      (name === 'duration' || name === 'timestamp') &&
      first?.op === 'value' &&
      typeof first.args === 'string'
    ) {
      this.found.texts.push(first);
      const ms = name === 'duration' ? parseDurationLiteral(first.args) : parseTimestampLiteral(first.args);
      if (!ms.ok) return this.found.refuse(first, ms.error);
      return this.found.substitute(node, { kind: name, ms: ms.value });
    }
    return this.#visitAll(args, depth);
  }

  #visitMethod(node: MethodNode, depth: number): number {
    const [name, receiver, args] = node.args;
    const unfit = checkMethod(name, args);
    if (unfit !== undefined) return this.found.refuse(node, unfit);
    if (isMacro(name)) return this.#visitMacro(node, receiver, args, depth);
    const steps = this.#visitAll([receiver, ...args], depth);
    if (name !== 'contains') return steps;
    // the items of a list are short: together they are no longer than one text may be
    const isItem = receiver.op === 'id' && receiver.args === this.#item;
    return steps + (isItem ? 4 : SEARCH_STEPS);
  }

  #visitMacro(node: CelNode, receiver: CelNode, args: readonly CelNode[], depth: number): number {
    const [item, predicate] = args;
    if (item?.op !== 'id' || predicate === undefined)
      return this.found.refuse(node, 'needs a name and a condition');
    const name = item.args;
    if (this.#item !== undefined)
      return this.found.refuse(node, 'one of all(), exists(), exists_one() may not stand in another');
    if (receiver.op !== 'list' && listOf(receiver) === undefined)
      return this.found.refuse(node, `goes over ${factListNames} or a list that is written out`);
    if (isFactObject(name) || name === 'now' || name.startsWith('_'))
      return this.found.refuse(item, `choose another name than ${name}: conditions read it already`);
    const before = this.#visit(receiver, depth + 1);
    this.#item = name;
    const each = this.#visit(predicate, depth + 1);
    this.#item = undefined;
    return before + (each + 3) * (receiver.op === 'list' ? receiver.args.length : MAX_LIST);
  }

  #visitList(node: CelNode, items: readonly CelNode[], depth: number): number {
    if (items.length === 0) return this.found.refuse(node, 'the list is empty');
    const steps = this.#visitAll(items, depth);
    if (this.found.problem !== undefined || !hasRoom(node)) return steps;
    const values = items.map((item) => (item.op === 'value' ? item.args : undefined));
    if (values.every((value) => typeof value === 'string'))
      this.found.substitute(node, { kind: 'strings', values });
    else if (values.every((value) => typeof value === 'bigint'))
      this.found.substitute(node, { kind: 'ints', values });
    return steps;
  }

  /** `headers`, where the node is `request.headers`. */
  #namedSource(node: CelNode): NamedField | undefined {
    if (node.op !== '.' || node.args[0].op !== 'id' || node.args[0].args === this.#item) return undefined;
    const field = node.args[1];
    return isReadByName(node.args[0].args, field) ? field : undefined;
  }
}

const listOf = (node: CelNode): FactList | undefined =>
  node.op === '.' && node.args[0].op === 'id' ? factListOf(node.args[0].args, node.args[1]) : undefined;

const unknownName = (name: string): string =>
  `${name} is nothing that a condition can read; it can read ${factObjects.join(', ')} and now`;
