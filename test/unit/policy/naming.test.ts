import t from 'tap';
import { environmentsOf, type NamingTemplate, parseNamingTemplate } from '../../../src/policy/naming.js';
import { parsePrincipalPattern } from '../../../src/policy/pattern.js';

const template = (text: string): NamingTemplate => {
  const parsed = parseNamingTemplate(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};
/** What the template makes of a pattern: its environments, or undefined where it does not fit. */
const fit = (naming: string, text: string): string[] | undefined => {
  const pattern = parsePrincipalPattern(text);
  if (!pattern.ok) throw new Error(pattern.error);
  const found = environmentsOf(template(naming), pattern.value);
  return found && [...found].sort();
};

const NAMING = 'spiffe://a.test/ns/{environment}/sa/{name}';

t.test('a template is a pattern with words in braces, each for a whole segment', async (t) => {
  t.match(template(NAMING), { pattern: { segments: ['ns', '*', 'sa', '*'] }, environmentAt: 1 });
  t.equal(template('spiffe://a.test/**/**/{environment}/x').environmentAt, 1, 'counted as patterns are read');
  t.equal(template('spiffe://a.test/ns/{name}').environmentAt, undefined);
  const wrong: readonly [text: string, error: RegExp][] = [
    ['spiffe://a.test/ns/pre-{name}', /"pre-\{name\}": a placeholder is a word in braces/],
    ['spiffe://a.test/ns/{}', /"\{\}"/],
    ['spiffe://a.test/ns/{a b}', /"\{a b\}"/],
    ['spiffe://a.test/{name}/{name}', /there twice/],
    ['spiffe://{domain}/x', /wildcard may not stand in the trust domain/],
    ['spiffe://a.test', /names the trust domain, not workloads/],
    ['spiffe://a.test/a*', /wildcard stands for whole segments/],
    ['a.test/{name}', /must begin with spiffe/],
    ['spiffe://a.test/{name}/', /ends with a slash/],
    ['', /must begin with spiffe/],
  ];
  for (const [text, error] of wrong) {
    const parsed = parseNamingTemplate(text);
    t.match(parsed.ok ? '' : parsed.error, error, text);
  }
});

t.test('a pattern fits where some ID of the template can match it', async (t) => {
  t.same(fit(NAMING, 'spiffe://a.test/ns/prod/sa/web'), ['prod']);
  t.same(fit(NAMING, 'spiffe://a.test/ns/*/sa/web'), ['*']);
  t.same(fit(NAMING, 'spiffe://a.test/ns/prod/**'), ['prod']);
  t.same(fit(NAMING, 'spiffe://a.test/ns/**'), ['*']);
  t.same(fit(NAMING, 'spiffe://a.test/**/prod/sa/**'), ['prod']);
  t.same(fit(NAMING, 'spiffe://a.test/**/prod/**'), ['*', 'prod'], 'prod may be the name as well');
  for (const path of [
    '/ns/prod/web',
    '/ns/prod/sa',
    '/ns/prod/sa/web/x',
    '/namespace/prod/sa/web',
    '/ns/prod/*/*/x',
  ])
    t.equal(fit(NAMING, `spiffe://a.test${path}`), undefined, path);
  t.equal(fit(NAMING, 'spiffe://b.test/ns/prod/sa/web'), undefined, 'another trust domain');
});

t.test('a template may be open at any place', async (t) => {
  t.same(fit('spiffe://b.test/**', 'spiffe://b.test/anything/at/all'), []);
  t.same(fit('spiffe://b.test/**/{environment}', 'spiffe://b.test/x/y/dev'), ['dev']);
  t.same(fit('spiffe://b.test/**/{environment}/**', 'spiffe://b.test/x/dev'), ['dev', 'x']);
});
