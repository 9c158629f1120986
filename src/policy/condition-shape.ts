import type { CelNode } from './condition-ast.js';
import { type FactRead, type NamedField, namedFieldObject, namedValue } from './condition-schema.js';
import { type Slot, SlotTable } from './condition-slots.js';

/** Where a condition is wrong, as an offset in characters (UTF-16) of its text, and what to do. */
export interface ConditionProblem {
  readonly message: string;
  readonly offset: number;
}

/** What of a request conditions may read by name; whatever is not listed here cannot be read. */
export interface PolicyReads {
  readonly headers: readonly string[];
  readonly query: readonly string[];
  /** Of tokens. */
  readonly claims: readonly string[];
}

/** What a walk through an expression finds. Each method gives the steps that evaluating what it notes takes at most. */
export class ConditionShape {
  readonly reads = new Map<string, FactRead>();
  readonly slots = new SlotTable();
  /** Where texts stand: `//` inside one is no comment. */
  readonly texts: CelNode[] = [];
  /** The first one: what is found after it counts no more. */
  problem: ConditionProblem | undefined;

  constructor(private readonly allowed: PolicyReads) {}

  note(read: FactRead): 1 {
    this.reads.set(read.name, read);
    return 1;
  }

  noteNamed(node: CelNode, kind: 'value' | 'presence', of: NamedField, key: string): number {
    const name = namedValue(of, key);
    if (!this.allowed[of].includes(key)) {
      const isCase = of === 'headers' && this.allowed.headers.includes(key.toLowerCase());
      const advice = isCase
        ? 'header names are written in lower case'
        : `${JSON.stringify(key)} is not listed under reads.${of} of the policy`;
      return this.refuse(node, `${name}: ${advice}`);
    }
    this.note({ name, object: namedFieldObject(of), field: of, key });
    return this.substitute(node, { kind, of, key });
  }

  substitute(node: CelNode, slot: Slot): number {
    if (this.slots.add(node, slot)) return 1;
    return this.refuse(node, 'there are too many of these in one condition');
  }

  refuse(node: CelNode, message: string): 0 {
    this.problem ??= { message, offset: node.pos };
    return 0;
  }
}
