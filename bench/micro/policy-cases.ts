import { parseSpiffeId, type SpiffeId } from '../../src/identity/spiffe-id.js';
import { type AccessRequest, evaluate } from '../../src/policy/decision.js';
import { GivenFacts } from '../../src/policy/given-facts.js';
import { CALLER, compileRules, type Dimension, must, rulesAlong } from '../support/bench-rules.js';
import type { MicroCase, MicroResult } from './harness.js';

export const ruleCounts = [10, 1000, 10_000] as const;
export const dimensions: readonly Dimension[] = ['principals', 'destinations', 'paths'];
/** More than the index remembers, so that going round never meets a remembered one. */
const STRANGERS = 12_000;

const nameOf = (dimension: string, count: number): string => `evaluate, ${count} rules of many ${dimension}`;

/** The last rule matches and every third has a wildcard, along each dimension that rules can differ in. */
export function policyCases(): MicroCase[] {
  const caller = must(parseSpiffeId(CALLER));
  const cases = dimensions.flatMap((dimension) =>
    ruleCounts.map((count) => evaluateCase(dimension, count, () => caller)),
  );
  const strangers = Array.from({ length: STRANGERS }, (_, i) =>
    must(parseSpiffeId(`spiffe://example.org/ns/tenant-${i}/sa/web`)),
  );
  let next = 0;
  const unseen = (): SpiffeId => strangers[next++ % STRANGERS]!;
  return [...cases, ...ruleCounts.map((count) => unseenCase(count, unseen))];
}

function evaluateCase(dimension: Dimension, count: number, principalOf: () => SpiffeId): MicroCase {
  const policy = compileRules(rulesAlong(dimension, count));
  const request = requestOf(principalOf());
  const expected = `rule-${count - 1}`;
  return {
    name: nameOf(dimension, count),
    run: () => {
      const decision = evaluate(policy, request);
      if (decision.rule !== expected) throw new Error(`decided by ${decision.rule}, not ${expected}`);
      return decision;
    },
  };
}

/** A principal that the policy has not met before: nothing it remembers helps. */
function unseenCase(count: number, principalOf: () => SpiffeId): MicroCase {
  const rules = rulesAlong('principals', count).map((rule, i) =>
    i === count - 1 ? { ...rule, principal: 'spiffe://example.org/ns/*/sa/web' } : rule,
  );
  const policy = compileRules(rules);
  const expected = `rule-${count - 1}`;
  return {
    name: nameOf('principals (caller unseen)', count),
    run: () => {
      const decision = evaluate(policy, requestOf(principalOf()));
      if (decision.rule !== expected) throw new Error(`decided by ${decision.rule}, not ${expected}`);
      return decision;
    },
  };
}

const requestOf = (principal: SpiffeId): AccessRequest => ({
  principal,
  method: 'GET',
  host: 'svc.test',
  path: '/items/last/x',
  route: 'everything',
  destination: 'origin',
  listener: 'inbound',
  nowMs: 0,
  facts: new GivenFacts({}),
});

export interface Scaling {
  readonly dimension: string;
  /** Time with 10,000 rules over time with 10. */
  readonly ratio: number;
}

export function scalingOf(results: readonly MicroResult[]): Scaling[] {
  const nsOf = (dimension: string, count: number): number =>
    results.find(({ name }) => name === nameOf(dimension, count))?.nsPerOp ?? Number.NaN;
  return [...dimensions, 'principals (caller unseen)'].map((dimension) => ({
    dimension,
    ratio: Number((nsOf(dimension, 10_000) / nsOf(dimension, 10)).toFixed(2)),
  }));
}
