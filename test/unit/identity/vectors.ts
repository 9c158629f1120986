import { readFileSync } from 'node:fs';

export interface Expectation {
  readonly outcome: string;
  readonly allowed?: readonly string[];
  readonly recommended?: string;
  readonly [key: string]: unknown;
}

export interface Vector<Input> {
  readonly id: string;
  readonly input: Input;
  readonly expect: Expectation;
  readonly why: string;
}

/** Reads a category of conformance vectors; tests run in the repository's root. */
export function readVectors<Input>(category: string): readonly Vector<Input>[] {
  const vectors = JSON.parse(readFileSync(`test/data/${category}.json`, 'utf8')) as Vector<Input>[];
  if (vectors.length === 0) throw new Error(`no vectors of ${category}`);
  return vectors;
}

/** Whether an outcome is one that the vector allows. */
export function allows(expect: Expectation, outcome: 'accept' | 'reject'): boolean {
  if (expect.outcome === 'policy') return (expect.allowed ?? []).includes(outcome);
  if (expect.outcome === 'reject-or-normalize') return outcome === 'reject';
  return expect.outcome === outcome;
}
