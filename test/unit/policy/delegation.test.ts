import t from 'tap';
import { type PrincipalId, parsePrincipalId } from '../../../src/identity/principal-id.js';
import { type AccessRequest, evaluate } from '../../../src/policy/decision.js';
import { explain } from '../../../src/policy/explain.js';
import { GivenFacts } from '../../../src/policy/given-facts.js';
import { type PrincipalPattern, parsePrincipalPattern } from '../../../src/policy/pattern.js';
import { authorize, authorizeExternally, isStillPermitted } from '../../../src/policy/permit.js';
import { compilePolicy, hasAnyAllow, type RuleInput } from '../../../src/policy/policy.js';
import { compileRegistry, type RegistryEntry } from '../../../src/policy/registry.js';
import { must } from '../../support/condition-input.js';

const id = (text: string): PrincipalId => must(parsePrincipalId(text));
const patterns = (...texts: string[]): PrincipalPattern[] =>
  texts.map((text) => must(parsePrincipalPattern(text)));
const GATEWAY = 'spiffe://a.test/gateway';

interface Asked {
  readonly as?: string;
  readonly for?: string;
  readonly destination?: string;
}

const ask = ({ as = GATEWAY, for: subject, destination = 'u' }: Asked = {}): AccessRequest => ({
  principal: id(as),
  behalfOf: subject === undefined ? undefined : { subject: id(subject), through: [], by: 'assertion' },
  method: 'GET',
  host: 'svc.test',
  path: '/a',
  route: 'r',
  destination,
  listener: 'l',
  nowMs: 1000,
  facts: new GivenFacts({}),
});
const rule = (ruleId: string, effect: 'allow' | 'deny', behalfOf?: string[], when?: string): RuleInput => ({
  id: ruleId,
  effect,
  principals: patterns('spiffe://a.test/**'),
  behalfOf: behalfOf && patterns(...behalfOf),
  destinations: ['u', 'v'],
  when,
});
const answer = (rules: readonly RuleInput[], asked: Asked): string => {
  const { effect, rule: by } = evaluate(compilePolicy({ rules }), ask(asked));
  return `${effect} ${by}`;
};
const ALICE = 'user:octo/alice';
const MALLORY = 'user:other/mallory';

t.test('an allow without behalfOf is for calls of the caller itself alone', async (t) => {
  const rules = [rule('own', 'allow')];
  t.equal(answer(rules, {}), 'allow own');
  t.equal(answer(rules, { for: ALICE }), 'deny default');
});

t.test('an allow with behalfOf is for calls on behalf of these alone', async (t) => {
  const rules = [rule('for-octo', 'allow', ['user:octo/*'])];
  t.equal(answer(rules, { for: ALICE }), 'allow for-octo');
  t.equal(answer(rules, { for: MALLORY }), 'deny default');
  t.equal(answer(rules, { for: 'spiffe://a.test/octo/alice' }), 'deny default');
  t.equal(answer(rules, {}), 'deny default');
});

t.test(
  'a deny without behalfOf is for both, one with it for its subjects alone, and deny beats allow',
  async (t) => {
    const both = [rule('own', 'allow'), rule('for-octo', 'allow', ['user:**']), rule('never', 'deny')];
    t.equal(answer(both, {}), 'deny never');
    t.equal(answer(both, { for: ALICE }), 'deny never');
    const some = [
      rule('own', 'allow'),
      rule('for-all', 'allow', ['user:**']),
      rule('not-her', 'deny', [ALICE]),
    ];
    t.equal(answer(some, {}), 'allow own');
    t.equal(answer(some, { for: ALICE }), 'deny not-her');
    t.equal(answer(some, { for: MALLORY }), 'allow for-all');
  },
);

t.test('a deny whose condition cannot be evaluated counts for its subjects alone', async (t) => {
  const faulty = 'principal.segments[7] == "x"';
  const rules = [
    rule('for-all', 'allow', ['user:**']),
    rule('own', 'allow'),
    rule('odd', 'deny', [ALICE], faulty),
  ];
  t.equal(answer(rules, { for: ALICE }), 'deny odd');
  t.equal(answer(rules, { for: MALLORY }), 'allow for-all');
  t.equal(answer(rules, {}), 'allow own');
});

t.test('an exception takes behalfOf as a rule does', async (t) => {
  const exception = (behalfOf?: string[]) => ({
    ...rule('EX-1', 'allow', behalfOf),
    owner: 'us',
    reason: 'a test',
    expiresMs: 5000,
    origin: 'policy' as const,
  });
  const by = (behalfOf: string[] | undefined, asked: Asked) =>
    evaluate(compilePolicy({ rules: [], exceptions: [exception(behalfOf)] }), ask(asked)).reason;
  t.equal(by(undefined, {}), 'exception_allowed');
  t.equal(by(undefined, { for: ALICE }), 'no_rule_matched');
  t.equal(by(['user:octo/*'], { for: ALICE }), 'exception_allowed');
  t.equal(by(['user:octo/*'], {}), 'no_rule_matched');
});

t.test('a rule in shadow says what it would do for calls on behalf of another', async (t) => {
  const policy = compilePolicy({ rules: [{ ...rule('tried', 'allow', ['user:**']), mode: 'shadow' }] });
  t.match(evaluate(policy, ask({ for: ALICE })), {
    effect: 'deny',
    shadow: { effect: 'allow', rule: 'tried' },
  });
  t.match(evaluate(policy, ask()), { effect: 'deny', shadow: { effect: 'deny', rule: 'default' } });
});

t.test('who may only act for others is not taken for one who can reach nothing', async (t) => {
  const policy = compilePolicy({ rules: [rule('for-octo', 'allow', ['user:octo/*'])] });
  t.equal(hasAnyAllow(policy, id(GATEWAY), 0), true);
  const closed = compilePolicy({
    rules: [rule('for-octo', 'allow', ['user:octo/*']), rule('never', 'deny')],
  });
  t.equal(hasAnyAllow(closed, id(GATEWAY), 0), false);
});

const entry = (pattern: string, delegations?: RegistryEntry['delegations']): RegistryEntry => ({
  pattern: must(parsePrincipalPattern(pattern)),
  owner: 'us',
  environment: undefined,
  contact: undefined,
  purpose: undefined,
  ...(delegations === undefined ? {} : { delegations }),
});
const grant = (destinations: string[] | undefined, ...texts: string[]) => ({
  for: patterns(...texts),
  destinations,
});

t.test('with a registry the entry of the caller must let it act for the subject, there', async (t) => {
  const rules = [rule('own', 'allow'), rule('for-all', 'allow', ['user:**', 'spiffe://a.test/**'])];
  const of = (entries: readonly RegistryEntry[], asked: Asked, unregistered: 'allow' | 'deny' = 'allow') => {
    const policy = compilePolicy({ rules }, compileRegistry({ unregistered, entries }));
    const { reason, rule: by } = evaluate(policy, ask(asked));
    return `${reason} ${by}`;
  };
  const may = [entry(GATEWAY, [grant(['u'], 'user:octo/*')])];
  t.equal(of(may, { for: ALICE }), 'rule_allowed for-all');
  t.equal(of(may, { for: ALICE, destination: 'v' }), 'delegation_denied registry');
  t.equal(of(may, { for: MALLORY }), 'delegation_denied registry');
  t.equal(of(may, {}), 'rule_allowed own');
  t.equal(
    of([entry(GATEWAY, [grant(['r'], 'user:**')])], { for: ALICE }),
    'rule_allowed for-all',
    'by route',
  );
  t.equal(of([entry(GATEWAY)], { for: ALICE }), 'delegation_denied registry', 'no delegations');
  t.equal(of([], { for: ALICE }), 'delegation_denied registry', 'a caller without an entry');
  const narrower = [entry('spiffe://a.test/**', [grant(undefined, 'user:**')]), entry(GATEWAY)];
  t.equal(of(narrower, { for: ALICE }), 'delegation_denied registry', 'only the most specific entry counts');
  t.equal(of(may, { for: ALICE }, 'deny'), 'identity_unregistered registry', 'the subject is nobody’s');
  t.equal(of([...may, entry('user:**')], { for: ALICE }, 'deny'), 'rule_allowed for-all');
});

t.test(
  'what a registry says of delegations is in its revision, in whatever order, and without any it stays',
  async (t) => {
    const revision = (delegations?: RegistryEntry['delegations']) =>
      compileRegistry({ unregistered: 'flag', entries: [entry(GATEWAY, delegations)] }).revision;
    t.equal(revision(), 'fcdbbe248aaffafb', 'as before there were delegations');
    t.equal(revision([]), revision());
    const [a, b] = [grant(undefined, 'user:a', 'user:b'), grant(['u', 'v'], 'user:c')];
    t.equal(revision([a, b]), revision([grant(['v', 'u'], 'user:c'), grant(undefined, 'user:b', 'user:a')]));
    t.not(revision([a]), revision());
    t.not(revision([grant(undefined, 'user:c')]), revision([grant(['u'], 'user:c')]));
  },
);

t.test('behalfOf is in the revision of the policy', async (t) => {
  const revision = (behalfOf?: string[]) => compilePolicy({ rules: [rule('r', 'allow', behalfOf)] }).revision;
  t.not(revision(['user:a']), revision());
  t.not(revision(['user:a']), revision(['user:b']));
  t.equal(revision(['user:b', 'user:a']), revision(['user:a', 'user:b']));
});

t.test('an external engine never lets in what no rule allows on behalf of another', async (t) => {
  const policy = compilePolicy({ rules: [] });
  const yes = { result: 'allow', detail: '', mayAllow: true } as const;
  t.equal(authorizeExternally(policy, ask(), yes).ok, true);
  const delegated = authorizeExternally(policy, ask({ for: ALICE }), yes);
  t.match(delegated, { ok: false, error: { reason: 'no_rule_matched' } });
  const own = authorizeExternally(policy, ask(), yes);
  if (!own.ok) throw new Error('was permitted');
  t.equal(isStillPermitted(policy, own.value, 1000, true), true);
  t.match(authorize(policy, ask({ for: ALICE })), { ok: false, error: { reason: 'no_rule_matched' } });
});

t.test('explain says that a rule did not match because of whom the call is for', async (t) => {
  const policy = compilePolicy({ rules: [rule('own', 'allow'), rule('for-octo', 'allow', ['user:octo/*'])] });
  const texts = (asked: Asked) =>
    explain(policy, ask(asked)).rules.map(({ mismatch, text }) => [mismatch, text]);
  t.same(texts({ for: MALLORY }), [
    [
      'behalf_of',
      'allows only what the caller asks for itself, and this is on behalf of user:other/mallory: it has no behalfOf',
    ],
    ['behalf_of', 'behalfOf user:other/mallory is none of user:octo/*'],
  ]);
  t.match(texts({}), [
    [undefined, /decides/],
    ['behalf_of', /^is only for calls on behalf of user:octo\/\*, and this is the caller's own$/],
  ]);
});

t.test('conditions read who is behind a call, and nothing where nobody is', async (t) => {
  const holds = (when: string, asked: Asked) =>
    evaluate(
      compilePolicy({
        rules: [rule('own', 'allow', undefined, when), rule('for', 'allow', ['user:**'], when)],
      }),
      ask(asked),
    ).effect === 'allow';
  t.ok(
    holds(
      'delegation.depth == 0 && delegation.subject == "" && size(delegation.actors) == 0 && delegation.by == ""',
      {},
    ),
  );
  t.ok(holds('delegation.segments[0] == "octo" && delegation.trustDomain == "user:"', { for: ALICE }));
  t.ok(
    holds(`delegation.actors == ["${GATEWAY}"] && delegation.depth == 1 && delegation.by == "assertion"`, {
      for: ALICE,
    }),
  );
  t.notOk(holds('delegation.actors[1] == principal.id', { for: ALICE }), 'absent is a fault, and no match');
});
