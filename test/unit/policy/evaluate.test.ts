import fc from 'fast-check';
import t from 'tap';
import { parseSpiffeId, type SpiffeId } from '../../../src/identity/spiffe-id.js';
import { ConditionRun } from '../../../src/policy/condition-run.js';
import { type AccessRequest, evaluate } from '../../../src/policy/decision.js';
import { explain, findMismatch, isDecodedAllowed } from '../../../src/policy/explain.js';
import { GivenFacts } from '../../../src/policy/given-facts.js';
import { parsePathPattern, parsePrincipalPattern } from '../../../src/policy/pattern.js';
import { authorize } from '../../../src/policy/permit.js';
import { compilePolicy, hasAnyAllow, type Policy, type RuleInput } from '../../../src/policy/policy.js';

const must = <T>(result: { ok: true; value: T } | { ok: false; error: string }): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};
const id = (text: string): SpiffeId => must(parseSpiffeId(text));

interface PlainRule {
  readonly id?: string;
  readonly effect?: 'allow' | 'deny';
  readonly principals?: readonly string[];
  readonly destinations?: readonly string[];
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
}

const rule = (plain: PlainRule, index = 0): RuleInput => ({
  id: plain.id ?? `r${index}`,
  effect: plain.effect ?? 'allow',
  principals: (plain.principals ?? ['spiffe://a.test/**']).map((text) => must(parsePrincipalPattern(text))),
  destinations: plain.destinations ?? ['u'],
  methods: plain.methods,
  paths: plain.paths?.map((text) => must(parsePathPattern(text))),
});
const policyOf = (...rules: PlainRule[]): Policy => compilePolicy({ rules: rules.map(rule) });

const request = (fields: Partial<AccessRequest> = {}): AccessRequest => ({
  principal: id('spiffe://a.test/web'),
  method: 'GET',
  host: 'svc.test',
  path: '/public/a',
  route: 'r',
  destination: 'u',
  listener: 'l',
  nowMs: 0,
  facts: new GivenFacts({}),
  ...fields,
});

t.test('no rule, or none that matches, is a deny by the rule named default', async (t) => {
  for (const policy of [policyOf(), policyOf({ destinations: ['other'] })]) {
    const decision = evaluate(policy, request());
    t.same(decision, {
      effect: 'deny',
      rule: 'default',
      reason: 'no_rule_matched',
      policyRevision: policy.revision,
    });
  }
});

t.test(
  'deny wins over an allow wherever it stands, and the first matching rule of that effect is named',
  async (t) => {
    const policy = policyOf(
      { id: 'open' },
      { id: 'open-too' },
      { id: 'no-admin', effect: 'deny', paths: ['/admin/**'] },
      { id: 'no-admin-too', effect: 'deny', paths: ['/admin/x'] },
    );
    t.match(evaluate(policy, request()), { effect: 'allow', rule: 'open', reason: 'rule_allowed' });
    t.match(evaluate(policy, request({ path: '/admin/x' })), {
      effect: 'deny',
      rule: 'no-admin',
      reason: 'policy_denied',
    });
  },
);

t.test('a deny holds for a spelling that a lax upstream could take for the denied path', async (t) => {
  const policy = policyOf({ id: 'open' }, { id: 'no-admin', effect: 'deny', paths: ['/admin/secret'] });
  for (const path of ['/ADMIN/secret', '/admin/SECRET/', '/Admin/Secret']) {
    t.match(evaluate(policy, request({ path })), { rule: 'no-admin', reason: 'policy_denied' }, path);
  }
  const encoded = request({ path: '/admin%2Fsecret', decodedSlashPath: '/admin/secret' });
  t.match(evaluate(policy, encoded), { rule: 'no-admin', reason: 'policy_denied' });
});

t.test('an allow is byte-exact and must hold for both readings of an encoded slash', async (t) => {
  const policy = policyOf({ id: 'one-level', paths: ['/files/*'] });
  t.match(evaluate(policy, request({ path: '/files/a' })), { effect: 'allow' });
  t.match(evaluate(policy, request({ path: '/FILES/a' })), { reason: 'no_rule_matched' });
  const encoded = request({ path: '/files/a%2Fb', decodedSlashPath: '/files/a/b' });
  t.match(evaluate(policy, encoded), { reason: 'no_rule_matched' });
  const wide = policyOf({ id: 'all', paths: ['/files/**'] });
  t.match(evaluate(wide, encoded), { effect: 'allow', rule: 'all' });
});

t.test('a destination is an upstream or a route, and a deny by either name counts', async (t) => {
  const policy = policyOf(
    { id: 'by-upstream', destinations: ['u'] },
    { id: 'not-this-route', effect: 'deny', destinations: ['r2'] },
    { id: 'by-route', destinations: ['r3'] },
  );
  t.match(evaluate(policy, request({ route: 'r1' })), { rule: 'by-upstream' });
  t.match(evaluate(policy, request({ route: 'r2' })), { rule: 'not-this-route', reason: 'policy_denied' });
  t.match(evaluate(policy, request({ route: 'r3', destination: 'v' })), { rule: 'by-route' });
  t.match(evaluate(policy, request({ route: 'r4', destination: 'v' })), { reason: 'no_rule_matched' });
});

t.test('methods are exact: HEAD is not GET, and no rule gives OPTIONS away', async (t) => {
  const policy = policyOf({ methods: ['GET'] });
  t.equal(evaluate(policy, request()).effect, 'allow');
  for (const method of ['HEAD', 'OPTIONS', 'get', 'POST', '__proto__']) {
    t.equal(evaluate(policy, request({ method })).reason, 'no_rule_matched', method);
  }
});

t.test('names from the prototype are nobody and nothing', async (t) => {
  const policy = policyOf({});
  for (const name of ['__proto__', 'constructor', 'toString']) {
    const odd = request({ destination: name, route: name, path: `/${name}`, method: name });
    t.equal(evaluate(policy, odd).reason, 'no_rule_matched', name);
  }
});

t.test(
  'authorize makes the permit of what it was asked; its refusal carries the reason, the rule and the decision',
  async (t) => {
    const policy = policyOf(
      { id: 'ok', paths: ['/public/**'] },
      { id: 'no', effect: 'deny', methods: ['PUT'] },
    );
    const asked = request();
    const permit = authorize(policy, asked);
    t.equal(permit.ok && permit.value.request, asked);
    const denied = authorize(policy, request({ method: 'PUT' }));
    t.match(denied, {
      ok: false,
      error: { reason: 'policy_denied', detail: 'no', decision: { rule: 'no' } },
    });
    const nothing = authorize(policy, request({ path: '/x' }));
    t.match(nothing, {
      ok: false,
      error: { reason: 'no_rule_matched', detail: 'default', decision: { rule: 'default' } },
    });
  },
);

t.test(
  'hasAnyAllow is false for who has no allow left, and for who is denied the whole destination',
  async (t) => {
    const policy = policyOf(
      { principals: ['spiffe://a.test/web', 'spiffe://a.test/locked'], destinations: ['u'] },
      { effect: 'deny', principals: ['spiffe://a.test/locked'], destinations: ['u'] },
      { effect: 'deny', principals: ['spiffe://a.test/web'], destinations: ['u'], paths: ['/admin/**'] },
    );
    t.equal(hasAnyAllow(policy, id('spiffe://a.test/web'), 0), true);
    t.equal(hasAnyAllow(policy, id('spiffe://a.test/locked'), 0), false);
    t.equal(hasAnyAllow(policy, id('spiffe://a.test/other'), 0), false);
    t.equal(hasAnyAllow(policy, id('spiffe://c.test/web'), 0), false);
  },
);

t.test('the revision says what the policy says, not how it is written', async (t) => {
  const one = policyOf({ principals: ['spiffe://a.test/x', 'spiffe://a.test/y'], methods: ['GET', 'PUT'] });
  const same = policyOf({
    principals: ['spiffe://a.test/y', 'spiffe://a.test/x'],
    methods: ['PUT', 'GET', 'PUT'],
  });
  t.equal(one.revision, same.revision);
  t.match(one.revision, /^[0-9a-f]{16}$/);
  for (const other of [
    policyOf({ principals: ['spiffe://a.test/x', 'spiffe://a.test/y'], methods: ['GET'] }),
    policyOf({ principals: ['spiffe://a.test/x', 'spiffe://a.test/y'] }),
    policyOf({ principals: ['spiffe://a.test/x'], methods: ['GET', 'PUT'] }),
    policyOf(),
  ]) {
    t.not(one.revision, other.revision);
  }
});

const segment = fc.constantFrom('a', 'b', 'A', 'ns', 'prod', '%C3%A9', '%c3%a9');
const idSegment = fc.constantFrom('a', 'b', 'ns', 'prod', 'web');
const patternOf = (item: fc.Arbitrary<string>) =>
  fc.array(fc.oneof({ weight: 3, arbitrary: item }, fc.constantFrom('*', '**')), {
    minLength: 1,
    maxLength: 4,
  });
const arbitraryRule: fc.Arbitrary<PlainRule> = fc.record(
  {
    effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
    principals: fc.array(
      fc
        .tuple(fc.constantFrom('a.test', 'b.test'), patternOf(idSegment))
        .map(([d, p]) => `spiffe://${d}/${p.join('/')}`),
      { minLength: 1, maxLength: 3 },
    ),
    destinations: fc.array(fc.constantFrom('u', 'v', 'r', 's'), { minLength: 1, maxLength: 2 }),
    methods: fc.array(fc.constantFrom('GET', 'PUT', 'POST'), { minLength: 1, maxLength: 2 }),
    paths: fc.array(
      fc.tuple(patternOf(segment), fc.boolean()).map(([p, slash]) => `/${p.join('/')}${slash ? '/' : ''}`),
      { minLength: 1, maxLength: 3 },
    ),
  },
  { requiredKeys: ['effect', 'principals', 'destinations'] },
);
const arbitraryPath = fc
  .tuple(fc.array(segment, { maxLength: 5 }), fc.boolean())
  .map(([parts, slash]) => `/${parts.join('/')}${slash && parts.length > 0 ? '/' : ''}`);
const arbitraryRequest: fc.Arbitrary<AccessRequest> = fc
  .record({
    principal: fc
      .tuple(
        fc.constantFrom('a.test', 'b.test', 'c.test'),
        fc.array(idSegment, { minLength: 1, maxLength: 4 }),
      )
      .map(([domain, parts]) => id(`spiffe://${domain}/${parts.join('/')}`)),
    method: fc.constantFrom('GET', 'PUT', 'HEAD'),
    path: arbitraryPath,
    decodedSlashPath: fc.option(arbitraryPath, { nil: undefined, freq: 3 }),
    route: fc.constantFrom('r', 's', 'q'),
    destination: fc.constantFrom('u', 'v'),
  })
  .map(request);

/** What the policy means, read rule by rule without any index. */
function evaluateNaively(policy: Policy, asked: AccessRequest): string {
  const run = new ConditionRun(asked, undefined);
  const decodedAllowed = isDecodedAllowed(policy.rules, asked, run);
  const matching = policy.rules.filter((r) => findMismatch(r, asked, decodedAllowed, run) === undefined);
  const deciding = matching.find((r) => r.effect === 'deny') ?? matching.find((r) => r.effect === 'allow');
  return deciding?.id ?? 'default';
}

t.test('the index decides as a reading of all rules one by one does', async (t) => {
  fc.assert(
    fc.property(
      fc.array(arbitraryRule, { maxLength: 40 }),
      fc.array(arbitraryRequest, { minLength: 1, maxLength: 20 }),
      (rules, requests) => {
        const policy = policyOf(...rules);
        for (const asked of requests) {
          const decision = evaluate(policy, asked);
          const named = policy.rules.find((r) => r.id === decision.rule);
          if (decision.rule !== evaluateNaively(policy, asked)) return false;
          if (decision.effect !== (named?.effect ?? 'deny')) return false;
          if (decision.effect === 'allow' && !hasAnyAllow(policy, asked.principal, 0)) return false;
          if (explain(policy, asked).rules.filter((r) => r.decides).length !== (named ? 1 : 0)) return false;
        }
        return true;
      },
    ),
    { numRuns: 1500, seed: 20261122 },
  );
  t.pass();
});

t.test('ten thousand rules cost about what ten cost, whichever dimension grows', async (t) => {
  const dimensions: Record<string, (i: number) => PlainRule> = {
    principals: (i) => ({ principals: [`spiffe://a.test/ns/n${i}/sa/web`] }),
    'principal patterns': (i) => ({ principals: [`spiffe://a.test/ns/*/sa/w${i}`] }),
    destinations: (i) => ({ destinations: [`u${i}`] }),
    paths: (i) => ({ paths: [`/svc-${i}/**`] }),
    'inner path segments': (i) => ({ paths: [`/v1/*/x${i}/**`] }),
    methods: (i) => ({ methods: [i % 2 === 0 ? 'GET' : 'PUT'] }),
    'deny paths': (i) => ({ effect: 'deny', paths: [`/svc-${i}/**`] }),
    'the same rule': () => ({}),
  };
  const asked = request({
    principal: id('spiffe://a.test/ns/n7/sa/w7'),
    path: '/svc-7/x7/a',
    destination: 'u7',
    route: 'u',
  });
  const timeOf = (policy: Policy): number => {
    let best = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 7; round++) {
      const start = process.hrtime.bigint();
      for (let i = 0; i < 2000; i++) evaluate(policy, asked);
      best = Math.min(best, Number(process.hrtime.bigint() - start) / 2000);
    }
    return best;
  };
  for (const [name, make] of Object.entries(dimensions)) {
    const small = compilePolicy({ rules: Array.from({ length: 10 }, (_, i) => rule({ ...make(i) }, i)) });
    const large = compilePolicy({ rules: Array.from({ length: 10_000 }, (_, i) => rule({ ...make(i) }, i)) });
    const [few, many] = [timeOf(small), timeOf(large)];
    t.ok(many < few * 3 + 1000, `${name}: ${few.toFixed(0)} ns with 10, ${many.toFixed(0)} ns with 10,000`);
  }
});

t.test('a path that names thousands of wildcard rules costs no more than its length', async (t) => {
  const rules = Array.from({ length: 4000 }, (_, i) => rule({ effect: 'deny', paths: [`/**/x${i}/**`] }, i));
  const policy = compilePolicy({ rules });
  const path = Array.from({ length: 2000 }, (_, i) => `/x${3999 - i}`).join('');
  const asked = request({ path });
  let took = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    t.equal(evaluate(policy, asked).rule, 'r2000', 'the first of them in the file');
    took = Math.min(took, performance.now() - start);
  }
  t.ok(took < 10, `${took.toFixed(2)} ms`);
});

t.test('a principal that many patterns match is judged by all of them', async (t) => {
  const principals = ['/**', '/*/**', '/ns/**', '/*/prod/**', '/ns/*/sa/*', '/ns/prod/sa/web', '/**/web'];
  const rules = principals.map((path, i) => ({
    id: `p${i}`,
    principals: [`spiffe://a.test${path}`],
    paths: [`/${i}`],
  }));
  const policy = policyOf(...rules, {
    id: 'stop',
    effect: 'deny',
    principals: ['spiffe://a.test/**/sa/**'],
    methods: ['PUT'],
  });
  const principal = id('spiffe://a.test/ns/prod/sa/web');
  for (const i of principals.keys()) {
    t.equal(evaluate(policy, request({ principal, path: `/${i}` })).rule, `p${i}`);
    t.equal(evaluate(policy, request({ principal, path: `/${i}`, method: 'PUT' })).rule, 'stop');
  }
});
