import fc from 'fast-check';
import { type PrincipalId, parsePrincipalId } from '../../src/identity/principal-id.js';
import type { AccessRequest } from '../../src/policy/decision.js';
import type { Delegation } from '../../src/policy/delegation.js';
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
const id = (text: string): PrincipalId => must(parsePrincipalId(text));

/** Of the moments that conditions, exceptions and credentials speak of, in ms. */
const MOMENTS = [0, 1000, 2000, 3000, 4000, 5000] as const;
const moment = fc.constantFrom(...MOMENTS);

export const routes = [
  { name: 'r1', upstream: 'u', path: path('/**'), encodedSlash: true },
  { name: 'r2', upstream: 'u', path: path('/a/**'), encodedSlash: true },
  { name: 'r3', upstream: 'v', path: path('/**'), encodedSlash: true },
];
export const methods: ReadonlySet<string> = new Set(['GET', 'POST']);
export const reads = { headers: ['x-a'], query: ['q'], claims: ['tenant'] };

const principals = fc.uniqueArray(
  fc
    .constantFrom('**', '*', 'ns/*', 'ns/**', 'ns/web', 'ns/batch', '**/web', 'web', 'ns/*/web')
    .chain((tail) =>
      fc.constantFrom('spiffe://a.test/', 'spiffe://b.test/').map((domain) => principal(`${domain}${tail}`)),
    ),
  { minLength: 1, maxLength: 2, selector: ({ text }) => text },
);
/** Mostly for calls of the caller's own. */
const SUBJECTS = ['spiffe://a.test/ns/*', 'spiffe://a.test/web', 'spiffe://b.test/**', 'ci:**', 'ci:*/web'];
const subjects = fc.subarray(SUBJECTS, { minLength: 1 }).map((texts) => texts.map(principal));
const behalfOf = seldom(subjects);
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
  'delegation.subject == "" || delegation.segments.exists(s, s == "web")',
  'delegation.depth > 1 && delegation.by == "token"',
  'delegation.actors[1] == principal.id',
  'credential.claims["tenant"] == "1"',
  '!("tenant" in credential.claims) || credential.kind == "oidc"',
  'true',
] as const;
const when = fc.option(fc.constantFrom(...CONDITIONS), { nil: undefined, freq: 2 });

const ruleBody = fc.record({
  effect: fc.constantFrom('allow' as const, 'deny' as const),
  mode: fc.constantFrom('enforce' as const, 'enforce' as const, 'shadow' as const),
  principals,
  behalfOf,
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
      behalfOf,
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

/** Of which most rules and exceptions say on whose behalf. */
export const delegatedPolicies: fc.Arbitrary<PolicyInput> = fc
  .tuple(
    fc.record({ rules, exceptions }),
    fc.array(fc.option(subjects, { nil: undefined, freq: 3 }), { minLength: 15, maxLength: 15 }),
  )
  .map(([{ rules, exceptions }, behalf]) => ({
    rules: rules.map((rule, i) => ({ ...rule, behalfOf: behalf[i] })),
    exceptions: exceptions.map((exception, i) => ({ ...exception, behalfOf: behalf[12 + i] })),
    reads,
  }));

export const policies: fc.Arbitrary<PolicyInput> = fc.record({
  rules,
  exceptions,
  reads: fc.constant(reads),
});

const registryEntry = (text: string) =>
  fc.record({
    pattern: fc.constant(principal(text)),
    owner: fc.constant('team-web'),
    environment: fc.constant(undefined),
    contact: fc.constant(undefined),
    purpose: fc.constant(undefined),
    delegations: fc.option(
      fc.array(fc.record({ for: principals, destinations: fc.option(destinations, { nil: undefined }) }), {
        maxLength: 2,
      }),
      { nil: undefined },
    ),
  });

export const registries: fc.Arbitrary<Registry | undefined> = fc.option(
  fc
    .record({
      unregistered: fc.constantFrom('allow' as const, 'flag' as const, 'deny' as const),
      entries: fc
        .subarray(['spiffe://a.test/ns/*', 'spiffe://a.test/web', 'spiffe://b.test/**', 'ci:**'])
        .chain((texts) => fc.tuple(...texts.map(registryEntry))),
    })
    .map(compileRegistry),
  { nil: undefined },
);

const ids = [
  'spiffe://a.test/web',
  'spiffe://a.test/ns/web',
  'spiffe://a.test/ns/batch',
  'spiffe://a.test/ns/x/web',
  'spiffe://b.test/ns/web',
].map(id);

export const delegations: fc.Arbitrary<Delegation> = fc.record({
  subject: fc.constantFrom(...ids, id('ci:ns/web'), id('ci:octo')),
  through: fc.subarray(['spiffe://a.test/web', 'user:alice']),
  by: fc.constantFrom('token' as const, 'assertion' as const, 'xfcc' as const),
});

/** Routed as a listener would: the longest first, with both readings of an encoded slash. */
export const requests = (
  isAllKnown: boolean,
  behalfOf: fc.Arbitrary<Delegation | undefined> = seldom(delegations),
): fc.Arbitrary<AccessRequest> =>
  fc
    .record({
      principal: fc.constantFrom(...ids),
      behalfOf,
      method: fc.constantFrom('GET', 'POST'),
      path: fc.constantFrom('/', '/a', '/a/', '/a/b', '/A/B', '/a/b/c', '/a/x%2Fb', '/a%2Fb', '/c/', '/d/b'),
      destination: fc.constantFrom('u', 'v'),
      nowMs: moment,
      headers: maybe(fc.option(fc.constantFrom('1', '2'), { nil: null }), isAllKnown),
      claims: maybe(fc.option(fc.constantFrom('1', '2'), { nil: null }), isAllKnown),
      query: maybe(fc.option(fc.constantFrom('1', '2'), { nil: null }), isAllKnown),
      notAfterMs: maybe(fc.constant(5000), isAllKnown),
      tlsVersion: maybe(fc.constantFrom('TLSv1.2', 'TLSv1.3'), isAllKnown),
      resumed: fc.boolean(),
    })
    .map((asked) => {
      const { path: text, destination, headers, query, claims, notAfterMs, tlsVersion, resumed } = asked;
      const decodedSlashPath = text.includes('%2F') ? text.replaceAll('%2F', '/') : undefined;
      const isOfA = text.startsWith('/a/') || text === '/a';
      const given = {
        headers: headers === undefined ? undefined : new Map([['x-a', headers]]),
        query: query === undefined ? undefined : new Map([['q', query]]),
        claims: claims === undefined ? undefined : new Map([['tenant', claims]]),
        credential:
          notAfterMs === undefined
            ? undefined
            : {
                kind: claims === '1' ? ('oidc' as const) : ('x509' as const),
                notBeforeMs: 0,
                notAfterMs,
                issuer: 'CN=a',
              },
        connection: tlsVersion === undefined ? undefined : { tlsVersion, resumed },
      };
      const route = destination === 'v' ? 'r3' : isOfA ? 'r2' : 'r1';
      const { principal, behalfOf, method, nowMs } = asked;
      const facts = new GivenFacts(given);
      const way = { route, destination, listener: 'l', host: 'svc.test' };
      return { principal, behalfOf, method, path: text, decodedSlashPath, nowMs, facts, ...way };
    });

function seldom<T>(some: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: some });
}

function maybe<T>(some: fc.Arbitrary<T>, always: boolean): fc.Arbitrary<T | undefined> {
  return always ? some : fc.option(some, { nil: undefined, freq: 4 });
}
