import fc from 'fast-check';
import { parseSpiffeId, type SpiffeId } from '../../src/identity/spiffe-id.js';
import type { AccessRequest } from '../../src/policy/decision.js';
import type { ExceptionInput } from '../../src/policy/exception.js';
import { GivenFacts } from '../../src/policy/given-facts.js';
import {
  type PathPattern,
  type PrincipalPattern,
  parsePathPattern,
  parsePrincipalPattern,
} from '../../src/policy/pattern.js';
import type { PolicyInput, RuleInput } from '../../src/policy/policy.js';
import { compileRegistry, type Registry } from '../../src/policy/registry.js';

/** Small alphabets: rules and requests must meet often, and in every way. */

const must = <T>(result: { ok: true; value: T } | { ok: false; error: string }): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};
const principal = (text: string): PrincipalPattern => must(parsePrincipalPattern(text));
const path = (text: string): PathPattern => must(parsePathPattern(text));
const id = (text: string): SpiffeId => must(parseSpiffeId(text));

/** Of the moments that conditions, exceptions and credentials speak of, in ms. */
const MOMENTS = [0, 1000, 2000, 3000, 4000, 5000] as const;
const moment = fc.constantFrom(...MOMENTS);

export const routes = [
  { name: 'r1', upstream: 'u', path: path('/**'), encodedSlash: true },
  { name: 'r2', upstream: 'u', path: path('/a/**'), encodedSlash: true },
  { name: 'r3', upstream: 'v', path: path('/**'), encodedSlash: true },
];
export const methods: ReadonlySet<string> = new Set(['GET', 'POST']);
export const reads = { headers: ['x-a'], query: ['q'], claims: [] };

const principals = fc.uniqueArray(
  fc
    .constantFrom('**', '*', 'ns/*', 'ns/**', 'ns/web', 'ns/batch', '**/web', 'web', 'ns/*/web')
    .chain((tail) =>
      fc.constantFrom('a.test', 'b.test').map((domain) => principal(`spiffe://${domain}/${tail}`)),
    ),
  { minLength: 1, maxLength: 2, selector: ({ text }) => text },
);
const destinations = fc.uniqueArray(fc.constantFrom('u', 'v', 'r1', 'r2', 'r3'), {
  minLength: 1,
  maxLength: 2,
});
const someMethods = fc.option(fc.subarray(['GET', 'POST'], { minLength: 1 }), { nil: undefined });
const paths = fc.option(
  fc.array(
    fc.constantFrom('/**', '/a', '/a/*', '/a/**', '/A/b', '/a%2Fb', '/a/b', '/*/b', '/**/b', '/c/').map(path),
    { minLength: 1, maxLength: 2 },
  ),
  { nil: undefined },
);

/** Of every kind of fact, and some that cannot always be evaluated. */
const CONDITIONS = [
  'request.method == "GET"',
  'request.path == "/a/b"',
  'request.headers["x-a"] == "1"',
  '"x-a" in request.headers && request.headers["x-a"] == "1"',
  '"q" in request.query',
  'principal.owner == "team-web"',
  'principal.registered',
  'credential.remaining > duration("2s")',
  'connection.tlsVersion == "TLSv1.3"',
  'connection.resumed || request.method == "POST"',
  'now < timestamp("1970-01-01T00:00:03Z")',
  'true',
] as const;
const when = fc.option(fc.constantFrom(...CONDITIONS), { nil: undefined, freq: 2 });

const ruleBody = fc.record({
  effect: fc.constantFrom('allow' as const, 'deny' as const),
  mode: fc.constantFrom('enforce' as const, 'enforce' as const, 'shadow' as const),
  principals,
  destinations,
  methods: someMethods,
  paths,
  when,
});

export const rules: fc.Arbitrary<readonly RuleInput[]> = fc
  .array(ruleBody, { minLength: 2, maxLength: 12, size: 'max' })
  .map((bodies) => bodies.map((body, i) => ({ ...body, id: `rule-${i}`, owner: undefined })));

export const exceptions: fc.Arbitrary<readonly ExceptionInput[]> = fc
  .array(
    fc.record({
      startsMs: fc.option(moment, { nil: undefined }),
      expiresMs: moment,
      principals,
      destinations,
      methods: someMethods,
      paths,
      when,
    }),
    { maxLength: 3 },
  )
  .map((bodies) =>
    bodies.map((body, i) => ({
      ...body,
      id: `EX-${i}`,
      owner: 'us',
      reason: 'a test',
      origin: 'policy' as const,
    })),
  );

export const policies: fc.Arbitrary<PolicyInput> = fc.record({
  rules,
  exceptions,
  reads: fc.constant(reads),
});

export const registries: fc.Arbitrary<Registry | undefined> = fc.option(
  fc
    .record({
      unregistered: fc.constantFrom('allow' as const, 'flag' as const, 'deny' as const),
      entries: fc
        .subarray(['spiffe://a.test/ns/*', 'spiffe://a.test/web', 'spiffe://b.test/**'])
        .map((texts) =>
          texts.map((text) => ({
            pattern: principal(text),
            owner: 'team-web',
            environment: undefined,
            contact: undefined,
            purpose: undefined,
          })),
        ),
    })
    .map(compileRegistry),
  { nil: undefined },
);

const ids = ['a.test/web', 'a.test/ns/web', 'a.test/ns/batch', 'a.test/ns/x/web', 'b.test/ns/web'].map(
  (text) => id(`spiffe://${text}`),
);

/** Routed as a listener would: the longest first, with both readings of an encoded slash. */
export const requests = (isAllKnown: boolean): fc.Arbitrary<AccessRequest> =>
  fc
    .record({
      principal: fc.constantFrom(...ids),
      method: fc.constantFrom('GET', 'POST'),
      path: fc.constantFrom('/', '/a', '/a/', '/a/b', '/A/B', '/a/b/c', '/a/x%2Fb', '/a%2Fb', '/c/', '/d/b'),
      destination: fc.constantFrom('u', 'v'),
      nowMs: moment,
      headers: maybe(fc.option(fc.constantFrom('1', '2'), { nil: null }), isAllKnown),
      query: maybe(fc.option(fc.constantFrom('1', '2'), { nil: null }), isAllKnown),
      notAfterMs: maybe(fc.constant(5000), isAllKnown),
      tlsVersion: maybe(fc.constantFrom('TLSv1.2', 'TLSv1.3'), isAllKnown),
      resumed: fc.boolean(),
    })
    .map((asked) => {
      const { path: text, destination, headers, query, notAfterMs, tlsVersion, resumed } = asked;
      const decodedSlashPath = text.includes('%2F') ? text.replaceAll('%2F', '/') : undefined;
      const isOfA = text.startsWith('/a/') || text === '/a';
      const given = {
        headers: headers === undefined ? undefined : new Map([['x-a', headers]]),
        query: query === undefined ? undefined : new Map([['q', query]]),
        credential:
          notAfterMs === undefined
            ? undefined
            : { kind: 'x509' as const, notBeforeMs: 0, notAfterMs, issuer: 'CN=a' },
        connection: tlsVersion === undefined ? undefined : { tlsVersion, resumed },
      };
      const route = destination === 'v' ? 'r3' : isOfA ? 'r2' : 'r1';
      const { principal, method, nowMs } = asked;
      const facts = new GivenFacts(given);
      const way = { route, destination, listener: 'l', host: 'svc.test' };
      return { principal, method, path: text, decodedSlashPath, nowMs, facts, ...way };
    });

function maybe<T>(some: fc.Arbitrary<T>, always: boolean): fc.Arbitrary<T | undefined> {
  return always ? some : fc.option(some, { nil: undefined, freq: 4 });
}
