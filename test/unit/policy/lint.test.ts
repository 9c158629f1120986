import t from 'tap';
import { lintPolicy } from '../../../src/policy/lint.js';
import { parsePathPattern, parsePrincipalPattern } from '../../../src/policy/pattern.js';
import type { RuleInput } from '../../../src/policy/policy.js';

const must = <T>(result: { ok: true; value: T } | { ok: false; error: string }): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

interface PlainRule extends Partial<Omit<RuleInput, 'principals' | 'paths'>> {
  readonly principals?: readonly string[];
  readonly paths?: readonly string[];
}

const rule = ({ principals = ['spiffe://a.test/**'], paths, ...rest }: PlainRule, index = 0): RuleInput => ({
  id: `r${index}`,
  effect: 'allow',
  destinations: ['u'],
  ...rest,
  principals: principals.map((text) => must(parsePrincipalPattern(text))),
  paths: paths?.map((text) => must(parsePathPattern(text))),
});

const route = (name: string, upstream: string, path: string, encodedSlash = false) => ({
  name,
  upstream,
  path: must(parsePathPattern(path)),
  encodedSlash,
});
const around = {
  routes: [
    route('public', 'u', '/public/**'),
    route('files', 'u', '/files/*', true),
    route('other', 'v', '/**'),
  ],
  methods: new Set(['GET', 'HEAD', 'POST']),
};
const lint = (...rules: readonly PlainRule[]): string[] =>
  [...lintPolicy({ rules: rules.map(rule) }, around)].map(
    ({ path, message }) => `${path.join('.')}: ${message}`,
  );

t.test('a policy whose rules all matter has no finding', async (t) => {
  t.same(
    lint(
      { paths: ['/public/a', '/files/*'], methods: ['GET'] },
      { paths: ['/public/**'], methods: ['HEAD'] },
      { effect: 'deny', principals: ['spiffe://a.test/web'], paths: ['/public/a/*'] },
      { destinations: ['other'], principals: ['spiffe://b.test/*'] },
      { principals: ['spiffe://a.test/web'] }, // wider than the first, and later
    ),
    [],
  );
});

t.test('what no route leads to, or nobody forwards, can never match', async (t) => {
  t.same(lint({ destinations: ['w'] }), ['rules.0: can never match: destinations: no route leads to it']);
  t.same(lint({ destinations: ['u', 'w'] }), [
    'rules.0.destinations.1: can never match: no route leads to it',
  ]);
  t.same(lint({ methods: ['TRACE'] }), [
    'rules.0: can never match: methods: requests with this method are never forwarded',
  ]);
  t.same(lint({ methods: ['GET', 'FETCH'] }), [
    'rules.0.methods.1: can never match: requests with this method are never forwarded',
  ]);
  t.same(lint({ paths: ['/private/**'] }), [
    'rules.0: can never match: paths: no route to u has such a path',
  ]);
  t.same(lint({ paths: ['/public/x', '/files/a/b'] }), [
    'rules.0.paths.1: can never match: no route to u has such a path',
  ]);
  t.same(lint({ paths: ['/private'], destinations: ['u', 'v'] }), [], 'one of its destinations has it');
});

t.test('a path with an encoded slash needs a route that lets one in', async (t) => {
  t.same(lint({ paths: ['/files/a%2Fb'] }), []);
  t.same(lint({ paths: ['/public/a%2Fb'] }), [
    'rules.0: can never match: paths: no route to u has such a path',
  ]);
});

t.test('the reach of a deny is judged in the reading of deny rules', async (t) => {
  t.same(lint({ effect: 'deny', paths: ['/PUBLIC/X/'] }), []);
  t.same(lint({ effect: 'allow', paths: ['/PUBLIC/X/'] }), [
    'rules.0: can never match: paths: no route to u has such a path',
  ]);
});

t.test('an allow that a deny takes away whole is named, with the deny, wherever it stands', async (t) => {
  const allow = { id: 'reads', principals: ['spiffe://a.test/ns/*'], paths: ['/public/A'], methods: ['GET'] };
  const deny = { id: 'closed', effect: 'deny', paths: ['/public/*'] } as const;
  const message = 'never allows anything: `closed`';
  t.same(lint(allow, deny), [`rules.0: ${message} (rules[1]) denies all of it`]);
  t.same(lint(deny, allow), [`rules.1: ${message} (rules[0]) denies all of it`]);
  t.same(lint(allow, { ...deny, when: 'request.method == "GET"' }), [], 'not always');
  t.same(lint(allow, { ...deny, mode: 'shadow' }), [], 'only tried out');
  t.same(lint(allow, { ...deny, methods: ['POST'] }), []);
  t.same(lint(allow, { ...deny, destinations: ['public'] }), [], 'the other route to u is open');
  t.same(lint(allow, { ...deny, destinations: ['public', 'files'] }).length, 1, 'all routes to u');
  t.same(lint({ ...allow, destinations: ['public'] }, deny).length, 1, 'the upstream of the route');
});

t.test('a rule that an earlier one takes in whole adds nothing', async (t) => {
  const wide = { id: 'wide', paths: ['/public/**'] };
  const narrow = { id: 'narrow', paths: ['/public/a'], methods: ['GET'] };
  t.same(lint(wide, narrow), ['rules.1: adds nothing: `wide` (rules[0]) allows all that it allows']);
  t.same(lint(narrow, wide), [], 'the narrow one names its own requests');
  t.same(lint({ ...wide, effect: 'deny' }, { ...narrow, effect: 'deny' }), [
    'rules.1: adds nothing: `wide` (rules[0]) denies all that it denies',
  ]);
  t.same(lint({ ...wide, mode: 'shadow' }, narrow), []);
});

t.test('a rule of several parts is taken in only where each part is', async (t) => {
  const some = {
    principals: ['spiffe://a.test/web'],
    paths: ['/public/a'],
    methods: ['GET'],
    destinations: ['public'],
  };
  const wider = [
    { paths: ['/public/a', '/public/b'] },
    { principals: ['spiffe://a.test/web', 'spiffe://a.test/batch'] },
    { principals: ['spiffe://a.test/web', 'spiffe://b.test/web'] },
    { methods: ['GET', 'HEAD'] },
    { methods: undefined },
    { destinations: ['public', 'v'] },
    { destinations: ['u'], paths: ['/public/a', '/files/a'] },
  ];
  for (const more of wider) t.same(lint(some, { ...some, ...more }), [], JSON.stringify(more));
  t.equal(lint(some, { ...some }).length, 1);
});

t.test('a condition that another rule makes needless is named, in whatever order', async (t) => {
  const wide = { id: 'wide' };
  const bound = { id: 'bound', when: 'request.method == "GET"' };
  const says = 'adds nothing, whatever its condition says: `wide`';
  t.same(lint(wide, bound), [`rules.1: ${says} (rules[0]) allows all that it allows`]);
  t.same(lint(bound, wide), [`rules.0: ${says} (rules[1]) allows all that it allows`]);
  t.same(lint(bound, { ...bound, id: 'again' }), [
    'rules.1: adds nothing: `bound` (rules[0]) allows all that it allows',
  ]);
  t.same(lint(bound, { ...bound, when: 'request.method == "HEAD"' }), []);
});

t.test('a condition that reads nothing is told what it comes to', async (t) => {
  t.same(lint({ when: '1 > 2' }), ['rules.0.when: never holds: this can never match']);
  t.same(lint({ when: 'true || false' }), ['rules.0.when: always holds: leave it out']);
  t.same(lint({ when: '[1][7] == 1' }), [
    'rules.0.when: can never be evaluated, which is no match in an allow',
  ]);
  t.same(lint({ when: '[1][7] == 1', effect: 'deny' }), [
    'rules.0.when: can never be evaluated, which is a match in a deny: leave it out if that is meant',
  ]);
  t.same(lint({ when: 'request.path == ""' }), []);
});

t.test('an exception that nothing needs, or that a deny takes away, is named', async (t) => {
  const exception = (paths: readonly string[]) => ({
    ...rule({ paths }),
    id: 'EX-1',
    owner: 'us',
    reason: 'r',
    expiresMs: 1,
    origin: 'policy' as const,
  });
  const rules = [rule({ paths: ['/public/**'] }), rule({ effect: 'deny', paths: ['/files/*'] }, 1)];
  const exceptions = [
    exception(['/public/a']),
    exception(['/files/a']),
    exception(['/files/a', '/public/b']),
  ];
  t.same(
    [...lintPolicy({ rules, exceptions }, around)].map(
      ({ path, message }) => `${path.join('.')}: ${message}`,
    ),
    [
      'exceptions.1: never allows anything: `r1` (rules[1]) denies all of it',
      'exceptions.0: adds nothing: `r0` (rules[0]) allows all that it allows',
    ],
  );
});

/** Principals, destinations and paths as they like; what is measured is the growth. */
const policyOf = (count: number, make: (i: number) => PlainRule) => ({
  rules: Array.from({ length: count }, (_, i) => rule(make(i), i)),
});

t.test('ten thousand rules are linted within two seconds, however they are alike', async (t) => {
  const shapes: readonly [string, (i: number) => PlainRule][] = [
    ['all different', (i) => ({ principals: [`spiffe://a.test/w${i}`], paths: [`/public/${i}/**`] })],
    ['one principal', (i) => ({ paths: [`/public/${i}`] })],
    ['the same', () => ({})],
    ['only the condition differs', (i) => ({ when: `request.path == "/${i}"` })],
    [
      'only the method differs',
      (i) => ({ methods: ['GET', `M-${'A'.repeat(i % 20)}`], when: `request.path == "/${i}"` }),
    ],
    ['many wildcards', (i) => ({ paths: [`/public/**/a${i % 7}/**/b${i % 11}/**/c${i}/**`] })],
    ['deny and allow', (i) => ({ effect: i % 2 === 0 ? 'deny' : 'allow', paths: [`/public/${i}/*`] })],
  ];
  for (const [name, make] of shapes) {
    const policy = policyOf(10_000, make);
    const started = performance.now();
    for (const _ of lintPolicy(policy, around));
    const tookMs = performance.now() - started;
    t.comment(`${name}: ${tookMs.toFixed(0)} ms`);
    t.ok(tookMs < 2000, `${name}: ${tookMs.toFixed(0)} ms`);
  }
});

t.test('lint that runs out of steps says so', async (t) => {
  const findings = [
    ...lintPolicy(
      policyOf(200, (i) => ({ when: `request.path == "/${i}"` })),
      around,
      1000,
    ),
  ];
  t.match(findings.at(-1), { path: ['rules'], message: /too many alike to compare them all/ });
});
