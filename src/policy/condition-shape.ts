import { type CelNode, childrenOf } from './condition-ast.js';
import { checkCall, checkMethod, isMacro, type MethodNode } from './condition-functions.js';
import { parseDurationLiteral, parseTimestampLiteral } from './condition-literals.js';
import {
  type FactRead,
  factObjects,
  fieldsOf,
  hasField,
  isFactObject,
  isReadByName,
} from './condition-schema.js';
import { MAX_LIST } from './condition-scope.js';
import { hasRoom, type Slot, SlotTable } from './condition-slots.js';

/** Where a condition is wrong, as an offset in characters (UTF-16) of its text, and what to do. */
export interface ConditionProblem {
  readonly message: string;
  readonly offset: number;
}

/** What of a request conditions may read by name; whatever is not listed here cannot be read. */
export interface PolicyReads {
  readonly headers: readonly string[];
  readonly query: readonly string[];
}

const MAX_DEPTH = 64;
/** Of the library's small steps, 30-60 ns each: what the worst request can make one condition take. */
const MAX_STEPS = 4000;
/** Looking through the longest text, where what is looked for nearly fits everywhere. */
const SEARCH_STEPS = 31;
/** Sums of times: more could leave the range of dates, where every comparison is false. */
const MAX_SUMS = 16;
const MAX_INT = 9_223_372_036_854_775_807n;

/**
 * Walks an expression before its types are checked: allows what is listed and nothing else, notes what is read, and adds
 * up what evaluating can cost. The first problem is kept.
 */
export class ShapeReader {
  readonly reads = new Map<string, FactRead>();
  readonly slots = new SlotTable();
  /** Where texts stand: `//` inside one is no comment. */
  readonly texts: CelNode[] = [];
  problem: ConditionProblem | undefined;
  #item: string | undefined;
  #sums = 0;

  constructor(private readonly allowed: PolicyReads) {}

  read(root: CelNode): void {
    const steps = this.#visit(root, 0);
    if (steps > MAX_STEPS)
      this.#refuse(root, `costs ${steps} steps, more than ${MAX_STEPS}: make it simpler`);
  }

  /** @returns steps that evaluating it takes at most. */
  #visit(node: CelNode, depth: number): number {
    if (this.problem !== undefined) return 0;
    if (depth > MAX_DEPTH) return this.#refuse(node, `is nested more than ${MAX_DEPTH} deep`);
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
        return this.#refuse(node, 'conditions have no maps and no optional values');
      case '+':
      case '-':
        if (++this.#sums > MAX_SUMS)
          return this.#refuse(node, `a condition has at most ${MAX_SUMS} sums and differences`);
    }
    return this.#visitAll(childrenOf(node), depth);
  }

  #visitAll(nodes: readonly CelNode[], depth: number): number {
    let steps = 1;
    for (const node of nodes) steps += this.#visit(node, depth + 1);
    return steps;
  }

  #visitValue(node: CelNode & { op: 'value' }): number {
    const value = node.args;
    if (typeof value === 'string') this.texts.push(node);
    else if (typeof value === 'bigint') {
      if (value > MAX_INT) return this.#refuse(node, 'the number is too large');
    } else if (typeof value !== 'boolean') {
      return this.#refuse(node, 'conditions have whole numbers, texts, true and false; this is none of them');
    }
    return 1;
  }

  #visitName(node: CelNode, name: string): number {
    if (name === this.#item) return 1;
    if (name === 'now') return this.#note({ name, object: 'now', field: name });
    if (isFactObject(name))
      return this.#refuse(
        node,
        `name a field of ${name}: ${fieldsOf(name)
          .map((f) => `${name}.${f}`)
          .join(', ')}`,
      );
    return this.#refuse(node, unknownName(name));
  }

  #visitField(node: CelNode, left: CelNode, field: string, depth: number): number {
    const source = this.#namedSource(left);
    if (source !== undefined) return this.#visitNamed(node, source, field);
    if (left.op !== 'id' || left.args === this.#item) {
      const steps = this.#visit(left, depth + 1);
      return this.problem === undefined ? this.#refuse(node, `there is no field ${field} here`) : steps;
    }
    const object = left.args;
    if (!isFactObject(object)) return this.#refuse(left, unknownName(object));
    if (!hasField(object, field)) {
      return this.#refuse(node, `${object} has no field ${field}; it has ${fieldsOf(object).join(', ')}`);
    }
    if (isReadByName(object, field)) {
      return this.#refuse(
        node,
        `${object}.${field} is read by name, as in ${object}.${field}["name"], or tested by "name" in ${object}.${field}`,
      );
    }
    return this.#note({ name: `${object}.${field}`, object, field });
  }

  #visitIndex(node: CelNode, left: CelNode, index: CelNode, depth: number): number {
    const source = this.#namedSource(left);
    if (source !== undefined) {
      if (index.op === 'value' && typeof index.args === 'string') {
        this.texts.push(index);
        return this.#visitNamed(node, source, index.args);
      }
      return this.#refuse(index, `a name in request.${source} must be written out, in quotes`);
    }
    const steps = this.#visitAll([left, index], depth);
    const list = segmentsOf(left);
    if (this.problem === undefined && list !== undefined && index.op === 'value') {
      if (typeof index.args === 'bigint')
        return this.#substitute(node, { kind: 'segment', of: list, index: Number(index.args) });
    }
    return steps;
  }

  #visitNamed(node: CelNode, of: 'headers' | 'query', key: string): number {
    return this.#noteNamed(node, of, key) ? this.#substitute(node, { kind: 'value', of, key }) : 0;
  }

  #visitPresence(node: CelNode, of: 'headers' | 'query', key: string): number {
    return this.#noteNamed(node, of, key) ? this.#substitute(node, { kind: 'presence', of, key }) : 0;
  }

  #visitMembership(node: CelNode, left: CelNode, right: CelNode, depth: number): number {
    const source = this.#namedSource(right);
    if (source === undefined) {
      const items = right.op === 'list' ? right.args.length : MAX_LIST;
      return this.#visitAll([left, right], depth) + items;
    }
    if (left.op !== 'value' || typeof left.args !== 'string')
      return this.#refuse(left, `a name in request.${source} must be written out, in quotes`);
    this.texts.push(left);
    return this.#visitPresence(node, source, left.args);
  }

  #visitCall(node: CelNode, name: string, args: readonly CelNode[], depth: number): number {
    const unfit = checkCall(name, args);
    if (unfit !== undefined) return this.#refuse(node, unfit);
    const [first] = args;
    if (name === 'has') {
      const source = first?.op === '.' ? this.#namedSource(first.args[0]) : undefined;
      if (first?.op === '.' && source !== undefined) return this.#visitPresence(node, source, first.args[1]);
      return this.#refuse(
        node,
        'has() is for request.headers.name and request.query.name: every other field is always there',
      );
    }
    if (
      (name === 'duration' || name === 'timestamp') &&
      first?.op === 'value' &&
      typeof first.args === 'string'
    ) {
      this.texts.push(first);
      const ms = name === 'duration' ? parseDurationLiteral(first.args) : parseTimestampLiteral(first.args);
      if (!ms.ok) return this.#refuse(first, ms.error);
      return this.#substitute(node, { kind: name, ms: ms.value });
    }
    return this.#visitAll(args, depth);
  }

  #visitMethod(node: MethodNode, depth: number): number {
    const [name, receiver, args] = node.args;
    const unfit = checkMethod(name, args);
    if (unfit !== undefined) return this.#refuse(node, unfit);
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
      return this.#refuse(node, 'needs a name and a condition');
    const name = item.args;
    if (this.#item !== undefined)
      return this.#refuse(node, 'one of all(), exists(), exists_one() may not stand in another');
    if (receiver.op !== 'list' && segmentsOf(receiver) === undefined)
      return this.#refuse(
        node,
        'goes over request.segments, principal.segments or a list that is written out',
      );
    if (isFactObject(name) || name === 'now' || name.startsWith('_'))
      return this.#refuse(item, `choose another name than ${name}: conditions read it already`);
    const before = this.#visit(receiver, depth + 1);
    this.#item = name;
    const each = this.#visit(predicate, depth + 1);
    this.#item = undefined;
    return before + (each + 3) * (receiver.op === 'list' ? receiver.args.length : MAX_LIST);
  }

  #visitList(node: CelNode, items: readonly CelNode[], depth: number): number {
    if (items.length === 0) return this.#refuse(node, 'the list is empty');
    const steps = this.#visitAll(items, depth);
    if (this.problem !== undefined || !hasRoom(node)) return steps;
    const values = items.map((item) => (item.op === 'value' ? item.args : undefined));
    if (values.every((value) => typeof value === 'string'))
      this.#substitute(node, { kind: 'strings', values });
    else if (values.every((value) => typeof value === 'bigint'))
      this.#substitute(node, { kind: 'ints', values });
    return steps;
  }

  /** `headers` or `query`, where the node is `request.headers` or `request.query`. */
  #namedSource(node: CelNode): 'headers' | 'query' | undefined {
    if (node.op !== '.' || node.args[0].op !== 'id' || node.args[0].args === this.#item) return undefined;
    const field = node.args[1];
    return isReadByName(node.args[0].args, field) ? field : undefined;
  }

  #noteNamed(node: CelNode, of: 'headers' | 'query', key: string): boolean {
    const name = `request.${of}[${JSON.stringify(key)}]`;
    if (!this.allowed[of].includes(key)) {
      const isCase = of === 'headers' && this.allowed.headers.includes(key.toLowerCase());
      const advice = isCase
        ? 'header names are written in lower case'
        : `${JSON.stringify(key)} is not listed under reads.${of} of the policy`;
      this.#refuse(node, `${name}: ${advice}`);
      return false;
    }
    this.#note({ name, object: 'request', field: of, key });
    return true;
  }

  #note(read: FactRead): number {
    this.reads.set(read.name, read);
    return 1;
  }

  #substitute(node: CelNode, slot: Slot): number {
    if (!this.slots.add(node, slot))
      return this.#refuse(node, 'there are too many of these in one condition');
    return 1;
  }

  #refuse(node: CelNode, message: string): 0 {
    this.problem ??= { message, offset: node.pos };
    return 0;
  }
}

function segmentsOf(node: CelNode): 'request' | 'principal' | undefined {
  if (node.op !== '.' || node.args[1] !== 'segments' || node.args[0].op !== 'id') return undefined;
  const object = node.args[0].args;
  return object === 'request' || object === 'principal' ? object : undefined;
}

const unknownName = (name: string): string =>
  name === 'delegation'
    ? 'delegation is not built yet: conditions of this version cannot read it'
    : `${name} is nothing that a condition can read; it can read ${factObjects.join(', ')} and now`;
