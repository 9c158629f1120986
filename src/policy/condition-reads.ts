import { Duration } from '@marcbachmann/cel-js/evaluator';
import type { Condition } from './condition.js';
import { type FactRead, isReadByName } from './condition-schema.js';
import { ConditionScope } from './condition-scope.js';
import { type ConditionInput, UnknownFact } from './facts.js';

/** One value that a condition speaks of, for people. */
export interface DescribedRead {
  readonly name: string;
  readonly value: string;
}

const MAX_SHOWN = 120;

/** Every value that the condition names, got to or not, by CEL's names. Never throws: what cannot be read says why. */
export function describeRead(condition: Condition, input: ConditionInput): readonly DescribedRead[] {
  const scope = new ConditionScope();
  scope.begin(input);
  return condition.reads.map((read) => ({ name: read.name, value: shownFact(scope, read) }));
}

function shownFact(scope: ConditionScope, read: FactRead): string {
  try {
    return shown(factOf(scope, read));
  } catch (error) {
    if (error instanceof UnknownFact) return 'not known';
    return error instanceof Error ? error.message : 'cannot be read';
  }
}

function factOf(scope: ConditionScope, { object, field, key }: FactRead): unknown {
  if (object === 'now') return scope.now;
  if (key !== undefined && isReadByName(object, field)) return scope.named(field, key);
  return Reflect.get(scope[object], field);
}

function shown(value: unknown): string {
  if (value === undefined) return 'absent';
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Duration) return durationText(value.valueOf());
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? '');
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** `4m10s`, as `duration()` takes it; parts of a second are left out, but of times under one. */
function durationText(ms: number): string {
  const sign = ms < 0 ? '-' : '';
  const whole = Math.abs(ms);
  if (whole < 1000) return `${sign}${Math.floor(whole)}ms`;
  const seconds = Math.floor(whole / 1000);
  const parts = [
    [Math.floor(seconds / 3600), 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  return sign + parts.map(([count, unit]) => (count === 0 ? '' : `${count}${unit}`)).join('');
}
