import { ConditionLint } from './lint-condition.js';
import { CoverIndex } from './lint-cover.js';
import { Reach, type Surroundings } from './lint-reach.js';
import { type LintFinding, type LintSubject, subjectsOf } from './lint-subject.js';
import type { PolicyInput } from './policy.js';

/** Steps that one policy may take: about a second. */
const MAX_STEPS = 20_000_000;

/**
 * What a policy says and cannot mean: rules that no request meets, that a deny takes away whole, or that add nothing to
 * another. What it says is so; it need not find all. Time grows with the number of rules, and ends at `maxSteps`.
 */
export function* lintPolicy(
  policy: PolicyInput,
  around: Surroundings,
  maxSteps = MAX_STEPS,
): Generator<LintFinding> {
  const budget = { left: maxSteps };
  const reach = new Reach(around, budget);
  const denies = new CoverIndex(reach, true, budget);
  const allows = new CoverIndex(reach, false, budget);
  const conditions = new ConditionLint(policy.reads ?? { headers: [], query: [], claims: [] });
  const useful: LintSubject[] = [];
  for (const subject of subjectsOf(policy)) {
    yield* conditions.findingsOf(subject);
    const findings = reach.findingsOf(subject);
    yield* findings;
    if (findings.every(({ path }) => path !== subject.at)) useful.push(subject);
  }
  yield* findRepeated(useful, { deny: denies, allow: allows });
  yield* findTakenAway(useful, denies);
  yield* findNeedless(useful, { deny: denies, allow: allows });
  if (budget.left <= 0) {
    const message = 'are too many alike to compare them all: some that add nothing may not be named';
    yield { path: ['rules'], message };
  }
}

type Indexes = Readonly<Record<LintSubject['effect'], CoverIndex>>;

/** Rules that an earlier one of the same effect takes in whole; the others are indexed, if they are in force. */
function* findRepeated(subjects: readonly LintSubject[], indexes: Indexes): Generator<LintFinding> {
  for (const subject of subjects) {
    if (subject.kind === 'exception') continue;
    const index = indexes[subject.effect];
    const first = index.find(subject, ({ when }) => when === undefined || when === subject.when);
    if (first !== undefined) yield addsNothing(subject, first);
    else if (subject.mode === 'enforce') index.add(subject);
  }
}

/** Rules and exceptions that allow nothing, because a deny does not let them. */
function* findTakenAway(subjects: readonly LintSubject[], denies: CoverIndex): Generator<LintFinding> {
  for (const subject of subjects) {
    if (subject.effect === 'deny') continue;
    const deny = denies.find(subject, ({ when }) => when === undefined || when === subject.when);
    if (deny === undefined) continue;
    yield { path: subject.at, message: `never allows anything: ${nameOf(deny)} denies all of it` };
  }
}

/** What counts only now and then, and would count always by another that says the same, wherever that stands. */
function* findNeedless(subjects: readonly LintSubject[], indexes: Indexes): Generator<LintFinding> {
  for (const subject of subjects) {
    if (subject.kind === 'rule' && subject.when === undefined) continue;
    const other = indexes[subject.effect].find(subject, ({ when }) => when === undefined);
    // An earlier rule was named before.
    if (other !== undefined && (subject.kind === 'exception' || isLater(other, subject)))
      yield addsNothing(subject, other);
  }
}

const isLater = (a: LintSubject, b: LintSubject): boolean => Number(a.at[1]) > Number(b.at[1]);

function addsNothing(subject: LintSubject, other: LintSubject): LintFinding {
  const verb = `${subject.effect === 'allow' ? 'allows' : 'denies'} all that it ${subject.effect === 'allow' ? 'allows' : 'denies'}`;
  const always =
    subject.when !== undefined && other.when === undefined ? ', whatever its condition says' : '';
  return { path: subject.at, message: `adds nothing${always}: ${nameOf(other)} ${verb}` };
}

const nameOf = ({ id, at }: LintSubject): string => `\`${id}\` (rules[${String(at[1])}])`;
