import { type CelNode, isSameBut } from './condition-ast.js';
import { bounded, durationOf, tooLong } from './condition-bounds.js';
import {
  type FactList,
  MAX_SLOTS,
  type NamedField,
  namedValue,
  type SlotLetter,
  slotName,
} from './condition-schema.js';
import { ConditionScope } from './condition-scope.js';
import { ConditionFault } from './facts.js';

/** A part of an expression that is worked out beside the library: what it does worse there, or slower. */
export type Slot =
  /** Absent is a fault that is made beforehand: the library takes 20 µs to tell, a price that callers could set. */
  | { readonly kind: 'value'; readonly of: NamedField; readonly key: string }
  | { readonly kind: 'presence'; readonly of: NamedField; readonly key: string }
  | { readonly kind: 'segment'; readonly of: FactList; readonly index: number }
  /** Worked out once, on load, instead of at every evaluation. */
  | { readonly kind: 'duration'; readonly ms: number }
  | { readonly kind: 'timestamp'; readonly ms: number }
  | { readonly kind: 'strings'; readonly values: readonly string[] }
  | { readonly kind: 'ints'; readonly values: readonly bigint[] };

const letters: Readonly<Record<Slot['kind'], SlotLetter>> = {
  value: 's',
  segment: 's',
  presence: 'b',
  duration: 'd',
  timestamp: 't',
  strings: 'l',
  ints: 'i',
};

/** The slots of one expression: where each stands, and under what name. */
export class SlotTable {
  readonly #nameAt = new Map<CelNode, string>();
  readonly #slots = new Map<string, Slot>();
  readonly #names = new Map<string, string>();
  readonly #counts = new Map<SlotLetter, number>();

  get size(): number {
    return this.#slots.size;
  }

  /** @returns false where there are too many of the kind. */
  add(node: CelNode, slot: Slot): boolean {
    const key = keyOf(slot);
    let name = this.#names.get(key);
    if (name === undefined) {
      const letter = letters[slot.kind];
      const count = this.#counts.get(letter) ?? 0;
      if (count === MAX_SLOTS) return false;
      this.#counts.set(letter, count + 1);
      name = slotName(letter, count);
      this.#names.set(key, name);
      this.#slots.set(name, slot);
    }
    this.#nameAt.set(node, name);
    return true;
  }

  /** The text with each slot's name in its place, every other character where it was: offsets stay true. */
  substitute(text: string): string {
    let out = text;
    for (const [node, name] of this.#nameAt) {
      const room = node.end - node.start;
      out = out.slice(0, node.start) + `(${name})`.padEnd(room) + out.slice(node.end);
    }
    return out;
  }

  isSubstituteOf(original: CelNode, substitute: CelNode): boolean {
    return isSameBut(original, substitute, (node) => this.#nameAt.get(node));
  }

  /** Where a slot begins that a bracket reaches into: what the grammar allows and substitution cannot do. */
  findCutBracket(text: string): number {
    for (const { start, end } of this.#nameAt.keys()) {
      const part = text.slice(start, end);
      if (part.split('(').length !== part.split(')').length) return start;
    }
    return 0;
  }

  newScope(): ConditionScope {
    const scope = new ConditionScope();
    const readers = new NamedReaders(scope);
    for (const [name, slot] of this.#slots)
      Object.defineProperty(scope, name, propertyOf(slot, scope, readers));
    return scope;
  }
}

/** Room for `(_s31)`; the few lists that have less are left to the library. */
export const hasRoom = (node: CelNode): boolean => node.end - node.start >= 6;

const keyOf = (slot: Slot): string =>
  JSON.stringify(slot, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

function propertyOf(slot: Slot, scope: ConditionScope, readers: NamedReaders): PropertyDescriptor {
  switch (slot.kind) {
    case 'value':
      return { get: valueReader(slot.of, slot.key, readers.of(slot.of, slot.key)) };
    case 'presence': {
      const read = readers.of(slot.of, slot.key);
      return { get: () => read() !== null };
    }
    case 'segment':
      return { get: segmentReader(slot.of, slot.index, scope) };
    case 'duration':
      return { value: durationOf(slot.ms) };
    case 'timestamp':
      return { value: new Date(slot.ms) };
    case 'strings':
    case 'ints':
      return { value: slot.values };
  }
}

function valueReader(of: NamedField, key: string, read: NamedReader): () => string {
  const name = namedValue(of, key);
  const absent = new ConditionFault(`${name} is absent`);
  const isTooLong = tooLong(name);
  return () => {
    const value = read();
    if (value === null) throw absent;
    return bounded(value, isTooLong);
  };
}

/** Null where it is absent. */
type NamedReader = () => string | null;

/** One reader for each name, which asks once in an evaluation, for its presence or its value. */
class NamedReaders {
  readonly #readers = new Map<string, NamedReader>();

  constructor(private readonly scope: ConditionScope) {}

  of(of: NamedField, key: string): NamedReader {
    const name = `${of} ${key}`;
    const reader = this.#readers.get(name) ?? remembered(of, key, this.scope);
    this.#readers.set(name, reader);
    return reader;
  }
}

function remembered(of: NamedField, key: string, scope: ConditionScope): NamedReader {
  const { values } = scope;
  const place = values.push(undefined) - 1;
  return () => {
    const known = values[place];
    if (known !== undefined) return known;
    const value = scope.named(of, key) ?? null;
    values[place] = value;
    return value;
  };
}

function segmentReader(of: FactList, index: number, scope: ConditionScope): () => string {
  const absent = new ConditionFault(`${of}[${index}] is absent`);
  const read = listReader(of, scope);
  return () => {
    const segment = read()[index];
    if (segment === undefined) throw absent;
    return segment;
  };
}

function listReader(of: FactList, scope: ConditionScope): () => readonly string[] {
  switch (of) {
    case 'request.segments':
      return () => scope.request.segments;
    case 'principal.segments':
      return () => scope.principal.segments;
    case 'delegation.segments':
      return () => scope.delegation.segments;
    case 'delegation.actors':
      return () => scope.delegation.actors;
  }
}
