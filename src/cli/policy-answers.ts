import type { Config } from '../config/config.js';
import type { PolicyTest } from '../config/policy-test.js';
import type { AccessRequest, Decision } from '../policy/decision.js';
import { evaluate } from '../policy/decision.js';
import { type Explanation, explain } from '../policy/explain.js';
import { UnknownFact } from '../policy/facts.js';
import type { Effect, Policy } from '../policy/policy.js';
import type { Reason } from '../reasons.js';
import { nearestFirst } from './explain-output.js';
import { chooseListener, toAccessRequest } from './offline-request.js';
import { toldDelegation } from './told-delegation.js';
import { judgeToldDates, keyFor, type Told, ToldFacts, toldKind } from './told-facts.js';

/** What came of a request; undefined = cannot be told, or there is no such thing. */
export interface PolicyAnswer {
  readonly effect: Effect | undefined;
  readonly reason: Reason | Decision['reason'] | undefined;
  readonly rule: string | undefined;
  readonly exception: string | undefined;
  readonly shadow: Effect | undefined;
}

export interface TestOutcome {
  readonly test: PolicyTest;
  readonly ok: boolean;
  readonly got: PolicyAnswer;
  /** What was expected and is not so; empty where all is. */
  readonly wrong: readonly string[];
  /** In one line; undefined where all is as expected. */
  readonly why: string | undefined;
}

/** Runs the policy file's own tests by the listener's own steps. `nowMs` is the moment of those that name none. */
export function runPolicyTests(
  tests: readonly PolicyTest[],
  config: Config,
  policy: Policy,
  nowMs: number,
): readonly TestOutcome[] {
  const names = [...new Set(tests.map(({ listener }) => listener))];
  const listeners = new Map(names.map((name) => [name, chooseListener(config, name)]));
  const { clockSkewMs } = config.identityOptions;
  return tests.map((test) => {
    const listener = listeners.get(test.listener) ?? chooseListener(config, test.listener);
    return runPolicyTest(test, listener, policy, { nowMs: test.atMs ?? nowMs, clockSkewMs });
  });
}

function runPolicyTest(
  test: PolicyTest,
  listener: ReturnType<typeof chooseListener>,
  policy: Policy,
  { nowMs, clockSkewMs }: { readonly nowMs: number; readonly clockSkewMs: number },
): TestOutcome {
  if (!listener.ok) return broken(test, `${listener.error}: say \`listener\``);
  const told = toTold(test, nowMs);
  const refusal = judgeToldDates(told, nowMs, clockSkewMs);
  const kind = toldKind(told, test.as);
  const facts = new ToldFacts(told, kind);
  const shown = { kind, behalfOf: toldDelegation(test) };
  const asked = refusal ?? toAccessRequest({ ...test, nowMs, facts, shown }, listener.value);
  if (!asked.ok) {
    const { reason, detail } = asked.error;
    return judge(test, { ...NOTHING, effect: 'deny', reason }, `never reaches policy: ${detail || reason}`);
  }
  return askPolicy(test, policy, asked.value);
}

const NOTHING: PolicyAnswer = {
  effect: undefined,
  reason: undefined,
  rule: undefined,
  exception: undefined,
  shadow: undefined,
};

const broken = (test: PolicyTest, why: string): TestOutcome => ({
  test,
  ok: false,
  got: NOTHING,
  wrong: ['it cannot be asked'],
  why,
});

function toTold({ url, facts }: PolicyTest, nowMs: number): Told {
  const { headers, claims, ageMs, remainingMs } = facts;
  return {
    ...facts,
    headers: new Map(Object.entries(headers ?? {})),
    isAllOfHeaders: headers !== undefined,
    claims: new Map(Object.entries(claims ?? {})),
    isAllOfClaims: claims !== undefined,
    url,
    notBeforeMs: ageMs === undefined ? facts.notBeforeMs : nowMs - ageMs,
    notAfterMs: remainingMs === undefined ? facts.notAfterMs : nowMs + remainingMs,
  };
}

/** Rules are read one by one only where something is not as expected: there may be thousands of both. */
function askPolicy(test: PolicyTest, policy: Policy, request: AccessRequest): TestOutcome {
  let explanation: Explanation | undefined;
  let got: PolicyAnswer;
  try {
    got = answerOf(evaluate(policy, request));
  } catch (cause) {
    if (!(cause instanceof UnknownFact)) throw cause;
    explanation = explain(policy, request);
    const { effect, decision, shadow } = explanation;
    got = { ...(decision === undefined ? NOTHING : answerOf(decision)), effect, shadow: shadow?.effect };
  }
  if (wrongWith(test, got).length === 0) return judge(test, got, '');
  return judge(test, got, whyOf(test, got, policy, explanation ?? explain(policy, request)));
}

const answerOf = ({ effect, reason, rule, exception, shadow }: Decision): PolicyAnswer => ({
  effect,
  reason,
  rule,
  exception,
  shadow: shadow?.effect,
});

function judge(test: PolicyTest, got: PolicyAnswer, why: string): TestOutcome {
  const wrong = wrongWith(test, got);
  return { test, ok: wrong.length === 0, got, wrong, why: wrong.length === 0 ? undefined : why };
}

function wrongWith(test: PolicyTest, got: PolicyAnswer): string[] {
  const wrong: string[] = [];
  const compare = (what: string, expected: string | undefined, is: string): void => {
    if (expected !== undefined && expected !== is) wrong.push(`expected ${what}${expected}, got ${is}`);
  };
  compare('', test.expect, got.effect ?? 'undecidable');
  compare('rule ', test.rule, got.rule ?? 'none');
  compare('exception ', test.exception, got.exception ?? 'none');
  compare('in shadow ', test.shadow, got.shadow ?? 'nothing that can be told');
  return wrong;
}

function whyOf(test: PolicyTest, got: PolicyAnswer, policy: Policy, explanation: Explanation): string {
  const { unknown, rules, shadow } = explanation;
  const isOwnWrong = wrongWith({ ...test, shadow: undefined }, got).length > 0;
  if (!isOwnWrong) return whyOfShadow(policy, shadow);
  if (unknown !== undefined) return hangsOn(unknown);
  const wanted = rules.find(({ rule, matched }) => rule === (test.exception ?? test.rule) && !matched);
  const decider = rules.find(({ decides }) => decides);
  const near = nearestFirst(rules).find(({ mode, effect }) => mode === 'enforce' && effect === test.expect);
  const named = wanted ?? decider ?? near;
  return named === undefined ? `no rule of the policy says ${test.expect}` : `${named.rule}: ${named.text}`;
}

function whyOfShadow(policy: Policy, shadow: Explanation['shadow']): string {
  if (policy.shadow === undefined || shadow === undefined)
    return 'nothing is tried out: no rule is in shadow, and there is no shadowPolicy';
  return shadow.decision === undefined
    ? hangsOn(shadow.unknown ?? '')
    : `in shadow ${shadow.decision.rule} decides`;
}

const hangsOn = (fact: string): string => `hangs on ${fact}, which is not known; tell it: ${keyFor(fact)}`;
