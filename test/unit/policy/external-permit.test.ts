import t from 'tap';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.js';
import type { AccessRequest } from '../../../src/policy/decision.js';
import { GivenFacts } from '../../../src/policy/given-facts.js';
import { parsePathPattern, parsePrincipalPattern } from '../../../src/policy/pattern.js';
import {
  authorize,
  authorizeExternally,
  type ExternalVerdict,
  isStillPermitted,
} from '../../../src/policy/permit.js';
import { compilePolicy, type Policy } from '../../../src/policy/policy.js';

const must = <T>(result: { ok: true; value: T } | { ok: false; error: string }): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};
const anybody = [must(parsePrincipalPattern('spiffe://a.test/**'))];
const rule = (effect: 'allow' | 'deny', path: string) =>
  ({
    id: effect,
    effect,
    principals: anybody,
    destinations: ['u'],
    paths: [must(parsePathPattern(path))],
  }) as const;
const POLICY = compilePolicy({ rules: [rule('allow', '/a/**'), rule('deny', '/d/**')] });
const asking = (path: string): AccessRequest => ({
  principal: must(parseSpiffeId('spiffe://a.test/web')),
  method: 'GET',
  host: 'svc.test',
  path,
  route: 'r',
  destination: 'u',
  listener: 'l',
  nowMs: 0,
  facts: new GivenFacts({}),
});
const verdict = (result: ExternalVerdict['result'], mayAllow = false): ExternalVerdict => ({
  result,
  detail: 'its words',
  mayAllow,
});
/** What comes of a path under each answer, without and with `mayAllow`. */
const outcomes = (policy: Policy, path: string) =>
  [false, true].map((mayAllow) =>
    (['allow', 'deny', 'unavailable'] as const).map((result) => {
      const answer = authorizeExternally(policy, asking(path), verdict(result, mayAllow));
      return answer.ok ? answer.value.decision.reason : answer.error.reason;
    }),
  );

t.test('the engine can take away what policy allows, and no answer takes it away too', async (t) => {
  const each = ['rule_allowed', 'external_denied', 'external_unavailable'];
  t.same(outcomes(POLICY, '/a/1'), [each, each]);
});

t.test('where no rule matches its yes counts only if the configuration says so', async (t) => {
  t.same(outcomes(POLICY, '/other'), [
    ['no_rule_matched', 'no_rule_matched', 'no_rule_matched'],
    ['external_allowed', 'external_denied', 'external_unavailable'],
  ]);
});

t.test(
  'what a rule denies stays denied, whatever the engine says and the configuration allows',
  async (t) => {
    const each = ['policy_denied', 'policy_denied', 'policy_denied'];
    t.same(outcomes(POLICY, '/d/1'), [each, each]);
  },
);

t.test(
  'a yes of the engine is named as no rule can be, and its no names the rule that it overruled',
  async (t) => {
    const yes = authorizeExternally(POLICY, asking('/other'), verdict('allow', true));
    t.match(yes, {
      value: { decision: { effect: 'allow', rule: '(external)', policyRevision: POLICY.revision } },
    });
    const no = authorizeExternally(POLICY, asking('/a/1'), verdict('deny'));
    t.match(no, { error: { detail: 'its words', decision: { effect: 'deny', rule: 'allow' } } });
  },
);

t.test('what the engine alone allowed holds while no rule denies it and its yes still counts', async (t) => {
  const external = authorizeExternally(POLICY, asking('/other'), verdict('allow', true));
  const local = authorize(POLICY, asking('/a/1'));
  if (!external.ok || !local.ok) throw new Error('both are allowed');
  t.equal(isStillPermitted(POLICY, external.value, 1, true), true);
  t.equal(isStillPermitted(POLICY, external.value, 1, false), false);
  const denying = compilePolicy({ rules: [rule('deny', '/**')] });
  t.equal(isStillPermitted(denying, external.value, 1, true), false);
  t.equal(isStillPermitted(denying, local.value, 1, true), false);
  const empty = compilePolicy({ rules: [] });
  t.equal(
    isStillPermitted(empty, local.value, 1, true),
    false,
    'a rule that is gone is not the engine to replace',
  );
});
