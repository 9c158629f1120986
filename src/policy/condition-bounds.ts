import { Duration } from '@marcbachmann/cel-js/evaluator';
import { ConditionFault } from './facts.js';

/** Longer texts and lists make a condition fault: so its cost has a bound that no caller moves. */
export const MAX_TEXT = 4096;
export const MAX_LIST = 128;

/** Seconds rounded down and the rest of them in nanoseconds: the one form in which the library adds durations rightly. */
export function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return new Duration(seconds, Math.round((ms - seconds * 1000) * 1_000_000));
}

/** Every comparison with a date that is none is false: a deny would be passed by. */
export function dateOf(ms: number): Date {
  if (!Number.isFinite(ms)) throw NO_TIME;
  return new Date(ms);
}

/** @throws `tooLong`, made beforehand: a caller who sends such texts must not make us walk the stack. */
export function bounded(text: string, tooLong: ConditionFault): string {
  if (text.length > MAX_TEXT) throw tooLong;
  return text;
}

export function boundedList<T extends readonly string[]>(list: T, tooLong: ConditionFault): T {
  if (list.length > MAX_LIST) throw tooLong;
  return list;
}

export const tooLong = (name: string): ConditionFault =>
  new ConditionFault(`${name} is longer than ${MAX_TEXT} characters`);
export const tooDeep = (name: string): ConditionFault =>
  new ConditionFault(`${name} has more than ${MAX_LIST} segments`);
const NO_TIME = new ConditionFault('a time is not known');
