import { parseSpiffeId, type SpiffeId } from '../../src/identity/spiffe-id.js';
import { type AccessRequest, evaluate } from '../../src/policy/decision.js';
import { GivenFacts } from '../../src/policy/given-facts.js';
import { CALLER, compileRules, type Dimension, must, rulesAlong } from '../support/bench-rules.js';
import type { MicroCase, MicroResult } from './harness.js';

export const ruleCounts = [10, 100, 1000, 10_000] as const;
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
  return [
    ...cases,
    ...ruleCounts.map((count) => unseenCase(count, unseen)),
    ...ruleCounts.map((count) => identitiesCase(IDENTITIES, count, undefined)),
    ...ruleCounts.map((count) => identitiesCase(CONDITIONS, count, CONDITION)),
  ];
}

const IDENTITIES = 'identities (1,000, in turn)';
const CONDITIONS = 'identities (1,000, in turn, each rule with a condition)';
const CONDITION = 'request.segments.size() > 2 && credential.remaining > duration("5m")';
/** All lines of the plot in docs. */
export const plotted = [IDENTITIES, CONDITIONS, 'paths', 'principals (caller unseen)'] as const;
export const evaluateName = nameOf;

/** Rules of up to 1,000 identities, a tenth with a wildcard: every identity asks in turn, and its last rule is the one that matches. */
function identitiesCase(dimension: string, count: number, when: string | undefined): MicroCase {
  const identities = Math.min(1000, count);
  const idOf = (i: number, namespace: string): string => `spiffe://example.org/ns/${namespace}/sa/w${i}`;
  const rules = Array.from({ length: count }, (_, i) => ({
    id: `rule-${i}`,
    effect: 'allow' as const,
    principal: idOf(i % identities, i % 10 === 0 ? '*' : 'prod'),
    destination: 'origin',
    path: `/items/${i}/**`,
    when,
  }));
  const policy = compileRules(rules);
  const requests = Array.from({ length: identities }, (_, i) => ({
    ...requestOf(must(parseSpiffeId(idOf(i, 'prod')))),
    path: `/items/${count - identities + i}/x`,
  }));
  let next = 0;
  return {
    name: nameOf(dimension, count),
    run: () => {
      const at = next++ % identities;
      const decision = evaluate(policy, requests[at]!);
      if (decision.effect !== 'allow') throw new Error(`decided by ${decision.rule}`);
      return decision;
    },
  };
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

const CREDENTIAL = { kind: 'x509', notBeforeMs: 0, notAfterMs: 3_600_000, issuer: 'CN=root' } as const;

const requestOf = (principal: SpiffeId): AccessRequest => ({
  principal,
  method: 'GET',
  host: 'svc.test',
  path: '/items/last/x',
  route: 'everything',
  destination: 'origin',
  listener: 'inbound',
  nowMs: 0,
  facts: new GivenFacts({ credential: CREDENTIAL }),
});

export interface Scaling {
  readonly dimension: string;
  /** Time with 10,000 rules over time with 10. */
  readonly ratio: number;
}

export function scalingOf(results: readonly MicroResult[]): Scaling[] {
  const nsOf = (dimension: string, count: number): number =>
    results.find(({ name }) => name === nameOf(dimension, count))?.nsPerOp ?? Number.NaN;
  return [...dimensions, 'principals (caller unseen)', IDENTITIES, CONDITIONS].map((dimension) => ({
    dimension,
    ratio: Number((nsOf(dimension, 10_000) / nsOf(dimension, 10)).toFixed(2)),
  }));
}
