import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.js';
import {
  matchPath,
  matchPathFolded,
  matchPrincipal,
  matchSegments,
  parsePathPattern,
  parsePrincipalPattern,
} from '../../../src/policy/pattern.js';

const principal = (text: string) => {
  const pattern = parsePrincipalPattern(text);
  if (!pattern.ok) throw new Error(pattern.error);
  return pattern.value;
};
const path = (text: string) => {
  const pattern = parsePathPattern(text);
  if (!pattern.ok) throw new Error(pattern.error);
  return pattern.value;
};
const id = (text: string) => {
  const parsed = parseSpiffeId(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};

interface IdMatchVector {
  readonly id: string;
  readonly input: {
    readonly rule: {
      readonly type: 'exact' | 'trust-domain' | 'path-prefix';
      readonly id?: string;
      readonly trustDomain?: string;
    };
    readonly id: string;
  };
  readonly expect: { readonly outcome: 'match' | 'no-match' };
}

t.test(
  'id-match vectors: exact, trust domain and path prefix say what a principal pattern can say',
  async (t) => {
    const vectors = JSON.parse(readFileSync('test/data/id-match.json', 'utf8')) as IdMatchVector[];
    t.ok(vectors.length >= 11);
    for (const { id: name, input, expect } of vectors) {
      const { type, id: ruleId = '', trustDomain = '' } = input.rule;
      const text =
        type === 'exact' ? ruleId : type === 'trust-domain' ? `spiffe://${trustDomain}/**` : `${ruleId}/**`;
      const peer = parseSpiffeId(input.id);
      const matched = peer.ok && matchPrincipal(principal(text), peer.value);
      t.equal(matched, expect.outcome === 'match', name);
    }
  },
);

t.test('a principal pattern matches whole segments of one trust domain and nothing else', async (t) => {
  const cases: readonly [pattern: string, id: string, matches: boolean][] = [
    ['spiffe://a.test/web', 'spiffe://a.test/web', true],
    ['spiffe://a.test/web', 'spiffe://a.test/web2', false],
    ['spiffe://a.test/web', 'spiffe://a.test/web/x', false],
    ['spiffe://a.test/web', 'spiffe://a.test.evil/web', false],
    ['spiffe://a.test/**', 'spiffe://a.test.evil/web', false],
    ['spiffe://a.test/**', 'spiffe://sub.a.test/web', false],
    ['spiffe://a.test/**', 'spiffe://a.test/x/y/z', true],
    ['spiffe://a.test/ns/*/sa/web', 'spiffe://a.test/ns/prod/sa/web', true],
    ['spiffe://a.test/ns/*/sa/web', 'spiffe://a.test/ns/prod/x/sa/web', false],
    ['spiffe://a.test/ns/**/web', 'spiffe://a.test/ns/web', true],
    ['spiffe://a.test/ns/**/web', 'spiffe://a.test/ns/a/b/web', true],
    ['spiffe://a.test/ns/prod/**', 'spiffe://a.test/ns/prod', true],
    ['spiffe://a.test/ns/prod/**', 'spiffe://a.test/ns/prod-x/sa', false],
    ['spiffe://a.test/NS/**', 'spiffe://a.test/ns/x', false],
    ['spiffe://a.test/a.b', 'spiffe://a.test/axb', false],
  ];
  for (const [pattern, peer, matches] of cases) {
    t.equal(matchPrincipal(principal(pattern), id(peer)), matches, `${pattern} on ${peer}`);
  }
});

t.test('a principal pattern that could be misread is refused and says why', async (t) => {
  const cases: readonly [pattern: string, why: RegExp][] = [
    ['spiffe://*/web', /trust domain/],
    ['spiffe://*.a.test/web', /trust domain/],
    ['spiffe://**/web', /trust domain/],
    ['spiffe://a.test/we*', /whole segments/],
    ['spiffe://a.test/***', /whole segments/],
    ['spiffe://a.test/*web/x', /whole segments/],
    ['spiffe://A.test/web', /capital/],
    ['SPIFFE://a.test/web', /spiffe:\/\//],
    ['spiffe://a.test/web/', /slash/],
    ['spiffe://a.test//web', /empty segment/],
    ['spiffe://a.test/../web', /dot segment/],
    ['spiffe://a.test/%77eb', /percent/],
    ['spiffe://a.test:1/web', /port/],
    ['spiffe://u@a.test/web', /userinfo/],
    ['spiffe://a.test/web?x', /query/],
    ['spiffe:///web', /empty/],
    ['https://a.test/web', /spiffe:\/\//],
    ['**', /spiffe:\/\//],
    [`spiffe://a.test/${'x'.repeat(2048)}`, /2048/],
    [`spiffe://a.test${'/**'.repeat(200)}`, /128 segments/],
    ['', /spiffe:\/\//],
  ];
  for (const [pattern, why] of cases) {
    const result = parsePrincipalPattern(pattern);
    t.notOk(result.ok, pattern);
    if (!result.ok) t.match(result.error, why, pattern);
  }
});

t.test(
  'a path pattern stops at segments; a trailing /** takes the folder itself and all below',
  async (t) => {
    const cases: readonly [pattern: string, path: string, matches: boolean][] = [
      ['/', '/', true],
      ['/', '/a', false],
      ['/**', '/', true],
      ['/**', '/a/b/', true],
      ['/admin/**', '/admin', true],
      ['/admin/**', '/admin/', true],
      ['/admin/**', '/admin/x', true],
      ['/admin/**', '/administrator', false],
      ['/admin', '/admin/', false],
      ['/admin/', '/admin/', true],
      ['/a/*', '/a/', false],
      ['/a/*', '/a/b', true],
      ['/a/*', '/a/b/c', false],
      ['/a/*/c', '/a/b/c', true],
      ['/a/**/z', '/a/z', true],
      ['/a/**/z', '/a/b/c/z', true],
      ['/a/**/z', '/a/b/c/z/', false],
      ['/**/x/**/y', '/1/x/2/x/3/y', true],
      ['/**/x/**/y', '/1/y/2/x', false],
      ['/ADMIN', '/admin', false],
      ['/caf%C3%A9', '/caf%C3%A9', true],
      ['/caf%C3%A9', '/caf%c3%a9', false],
    ];
    for (const [pattern, request, matches] of cases) {
      t.equal(matchPath(path(pattern), request), matches, `${pattern} on ${request}`);
    }
  },
);

t.test('the reading of deny rules has no way round by case, encoding or a trailing slash', async (t) => {
  for (const request of ['/admin', '/ADMIN', '/Admin/', '/admin/x', '/aDmin/X%20y']) {
    t.ok(matchPathFolded(path('/admin/**'), request), request);
  }
  t.ok(matchPathFolded(path('/caf%C3%A9'), '/CAF%c3%a9/'));
  t.ok(matchPathFolded(path('/a!'), '/a%21'));
  t.ok(matchPathFolded(path('/a%21'), '/A!'));
  t.ok(matchPathFolded(path('/kilo'), '/%E2%84%AAilo'), 'the Kelvin sign lower-cases to k');
  t.notOk(matchPathFolded(path('/admin'), '/administrator'));
  t.notOk(matchPathFolded(path('/admin'), '/admin/x'));
});

t.test('a deny takes a segment of nothing but dots and spaces for a segment', async (t) => {
  for (const request of ['/admin/...', '/admin/%C2%A0', '/admin/%20.%20', '/admin/%E3%80%80']) {
    t.ok(matchPathFolded(path('/admin/*'), request), request);
  }
  t.notOk(matchPathFolded(path('/admin/*'), '/admin/'));
});

t.test('what a pattern matches byte for byte it matches in the reading of deny rules too', async () => {
  const segment = fc.constantFrom('a', 'A', 'b.', '...', '%C2%A0', '%20', 'a%2Fb', '%2A', '%E3%80%80', '');
  const ofPattern = fc.oneof(segment, fc.constantFrom('*', '**'));
  const pathOf = (segments: readonly string[]): string => `/${segments.join('/')}`;
  fc.assert(
    fc.property(fc.array(ofPattern, { maxLength: 5 }), fc.array(segment, { maxLength: 5 }), (some, asked) => {
      const pattern = parsePathPattern(pathOf(some));
      fc.pre(pattern.ok);
      const request = pathOf(asked);
      return !matchPath(pattern.value, request) || matchPathFolded(pattern.value, request);
    }),
    { seed: 4, numRuns: 5000 },
  );
});

t.test('a path pattern that no request could match is refused and says why', async (t) => {
  const cases: readonly [pattern: string, why: RegExp][] = [
    ['', /begin with/],
    ['admin', /begin with/],
    ['/a*b', /whole segments/],
    ['/a/***', /whole segments/],
    ['//a', /empty segment/],
    ['/a//b', /empty segment/],
    ['/a/../b', /"\.\."/],
    ['/a/.', /"\."/],
    ['/a?b', /query/],
    ['/a;b', /canonical/],
    ['/a\\b', /canonical/],
    ['/a b', /canonical/],
    ['/é', /canonical/],
    ['/a#b', /canonical/],
    ['/%61', /written "a"/],
    ['/%2e%2e', /written "\."/],
    ['/%zz', /percent-encoded/],
    ['/a%2', /percent-encoded/],
    ['/%00', /never reaches policy/],
    ['/%5c', /never reaches policy/],
    ['/%252e', /encoded twice/],
    ['/%c0%ae', /UTF-8/],
    ['/^(a+)+$', /canonical/],
  ];
  for (const [pattern, why] of cases) {
    const result = parsePathPattern(pattern);
    t.notOk(result.ok, pattern);
    if (!result.ok) t.match(result.error, why, pattern);
  }
});

t.test('many wildcards cost no more than pattern times path', async (t) => {
  const pattern = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? '**' : 'a'));
  const segments = [...Array.from({ length: 2000 }, () => 'a'), 'b'];
  const start = process.hrtime.bigint();
  t.notOk(matchSegments([...pattern, 'c'], segments));
  t.ok(
    Number(process.hrtime.bigint() - start) / 1e6 < 1000,
    'within a second, not within the age of the universe',
  );
});
