import { foldSegments, type PathPattern, type PatternSegments, type PrincipalPattern } from './pattern.js';
import type { Effect, PolicyInput, RuleInput } from './policy.js';

/** Where in the policy file. */
export type LintPath = readonly (string | number)[];

export interface LintFinding {
  readonly path: LintPath;
  readonly message: string;
}

/** A rule or an exception, as far as lint looks at it. */
export interface LintSubject {
  readonly id: string;
  readonly kind: 'rule' | 'exception';
  readonly effect: Effect;
  readonly mode: 'enforce' | 'shadow';
  readonly principals: readonly PrincipalPattern[];
  readonly behalfOf: readonly PrincipalPattern[] | undefined;
  readonly destinations: readonly string[];
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly PathPattern[] | undefined;
  readonly when: string | undefined;
  /** Of the whole. */
  readonly at: LintPath;
  /** Of its parts. */
  readonly within: LintPath;
}

export const subjectsOf = ({ rules, exceptions = [] }: PolicyInput): readonly LintSubject[] => [
  ...rules.map((rule, i) => toSubject(rule, 'rule', rule.mode ?? 'enforce', ['rules', i], ['rules', i])),
  ...exceptions
    .filter(({ origin }) => origin === 'policy')
    .map((exception, i) => {
      const rule = { ...exception, effect: 'allow' } as const;
      return toSubject(rule, 'exception', 'enforce', ['exceptions', i], ['exceptions', i, 'allow']);
    }),
];

const toSubject = (
  { id, effect, principals, behalfOf, destinations, methods, paths, when }: RuleInput,
  kind: LintSubject['kind'],
  mode: LintSubject['mode'],
  at: LintPath,
  within: LintPath,
): LintSubject => ({
  id,
  kind,
  effect,
  mode,
  principals,
  behalfOf,
  destinations,
  methods,
  paths,
  when,
  at,
  within,
});

const EVERY_PATH: readonly PatternSegments[] = [['**']];

/** Its paths in the reading of the rules that they are held against: see `foldSegments`. */
export function pathsOf({ paths }: LintSubject, folded: boolean): readonly PatternSegments[] {
  if (paths === undefined) return EVERY_PATH;
  return paths.map(({ segments }) => (folded ? foldSegments(segments) : segments));
}
