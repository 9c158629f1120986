import { parsePathPattern, parsePrincipalPattern } from '../../src/policy/pattern.js';
import { compilePolicy, type Policy } from '../../src/policy/policy.js';
import type { Result } from '../../src/reasons.js';

export interface BenchRule {
  readonly id: string;
  readonly effect: 'allow' | 'deny';
  readonly principal: string;
  readonly destination: string;
  readonly path: string;
  readonly when?: string | undefined;
}

/** What the rules of a policy differ in. */
export type Dimension = 'principals' | 'destinations' | 'paths';

export const CALLER = 'spiffe://example.org/ns/prod/sa/web';

/** `count` rules that differ in one dimension; only the last matches CALLER at `/items/LAST/x`; every third has a wildcard. */
export function rulesAlong(dimension: Dimension, count: number): BenchRule[] {
  return Array.from({ length: count }, (_, i) => {
    const isLast = i === count - 1;
    const namespace = i % 3 === 2 ? '*' : 'prod';
    const caller = `spiffe://example.org/ns/${namespace}/sa/web`;
    return {
      id: `rule-${i}`,
      effect: 'allow',
      principal:
        dimension === 'principals' && !isLast ? `spiffe://example.org/ns/${namespace}/sa/w${i}` : caller,
      destination: dimension === 'destinations' && !isLast ? `service-${i}` : 'origin',
      path: dimension === 'paths' && !isLast ? `/items/${i}/${i % 3 === 2 ? '**' : 'x'}` : '/items/last/*',
    };
  });
}

/**
 * The rules that every load run has in force: half name other workloads, half name the caller for other paths, every third
 * has a wildcard, every tenth is a deny; the last one lets the caller in.
 */
export function rulesUnderLoad(count: number, caller = CALLER): BenchRule[] {
  return Array.from({ length: count }, (_, i) => {
    if (i === count - 1) {
      return { id: 'the-last', effect: 'allow', principal: caller, destination: 'origin', path: '/**' };
    }
    const namespace = i % 3 === 2 ? '*' : 'prod';
    const name = i % 2 === 0 ? 'web' : `w${i}`;
    return {
      id: `rule-${i}`,
      effect: i % 10 === 9 ? 'deny' : 'allow',
      principal: `spiffe://example.org/ns/${namespace}/sa/${name}`,
      destination: 'origin',
      path: i % 3 === 1 ? `/other/${i}/**` : `/other/${i}/x`,
    };
  });
}

export function policyYaml(rules: readonly BenchRule[]): string {
  const lines = rules.map(
    (rule) =>
      `  - { id: ${rule.id}, owner: bench, effect: ${rule.effect}, principals: ["${rule.principal}"], destinations: [${rule.destination}], paths: ["${rule.path}"] }\n`,
  );
  return `version: 1\ndefault: deny\nrules:${lines.length === 0 ? ' []' : ''}\n${lines.join('')}`;
}

export function compileRules(rules: readonly BenchRule[]): Policy {
  return compilePolicy({
    rules: rules.map((rule) => ({
      id: rule.id,
      effect: rule.effect,
      principals: [must(parsePrincipalPattern(rule.principal))],
      destinations: [rule.destination],
      paths: [must(parsePathPattern(rule.path))],
      when: rule.when,
    })),
  });
}

/** The value, or an exception: what a benchmark is built from has to be right. */
export function must<T, E>(result: Result<T, E>): T {
  if (!result.ok) throw new Error(`the benchmark is wrong: ${JSON.stringify(result.error)}`);
  return result.value;
}
