import fc from 'fast-check';
import t from 'tap';
import { signals, signalsOf } from '../../../src/config/signal-schema.js';
import { SecretFinder } from '../../../src/listener/signal-secrets.js';
import { tokenLifeOf } from '../../../src/listener/signal-token.js';

const NOW = Date.parse('2026-11-21T10:00:00Z');
const NOW_S = NOW / 1000;
const DAY_MS = 86_400_000;
const defaults = signalsOf(signals.parse({}));
const finder = new SecretFinder(defaults);

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims: unknown): string => `${part({ alg: 'ES256' })}.${part(claims)}.c2lnbmF0dXJl`;
const SHORT = jwt({ sub: 'x', iat: NOW_S - 60, exp: NOW_S + 600 });

const kinds = (headers: readonly string[], query = ''): readonly string[] =>
  (finder.find(headers, query, NOW) ?? []).map(({ kind }) => kind);
const inHeader = (name: string, value: string): readonly string[] => kinds(['Host', 'a.test', name, value]);

t.test('a token is short-lived only where it says so itself', async (t) => {
  const life = (claims: unknown): string => tokenLifeOf(jwt(claims), DAY_MS, NOW);
  t.equal(life({ iat: NOW_S, exp: NOW_S + 86_400 }), 'short', 'a day is within a day');
  t.equal(life({ iat: NOW_S - 1, exp: NOW_S + 86_400 }), 'long');
  t.equal(life({ exp: NOW_S + 600 }), 'short', 'without iat by what is left');
  t.equal(life({ exp: NOW_S + 90_000 }), 'long');
  t.equal(life({ nbf: NOW_S - 90_000, exp: NOW_S + 60 }), 'long', 'nbf in place of iat');
  t.equal(life({ iat: NOW_S + 9e9, exp: NOW_S + 9e9 + 60 }), 'long', 'a false iat does not shorten it');
  t.equal(life({ iat: NOW_S - 900, exp: NOW_S - 300 }), 'short', 'an expired one was short-lived');
  t.equal(life({ iat: NOW_S }), 'long', 'no end');
  for (const exp of ['9999999999', null, true, {}, []])
    t.equal(life({ iat: NOW_S, exp }), 'long', String(exp));
  t.equal(tokenLifeOf(`e.${Buffer.from('{"exp":1e999}').toString('base64url')}.`, DAY_MS, NOW), 'long');
});

t.test('claims that are made to cost are not read; long ones that are not, are', async (t) => {
  const raw = (body: string): string => `e30.${Buffer.from(body).toString('base64url')}.x`;
  const members = Array.from({ length: 900 }, (_, i) => `"k${i}":1`).join();
  for (const body of ['['.repeat(3000) + ']'.repeat(3000), `{${members}}`, `[${'{},'.repeat(900)}1]`])
    t.equal(tokenLifeOf(raw(body), DAY_MS, NOW), 'unknown', body.slice(0, 20));
  const groups = Array.from({ length: 300 }, (_, i) => `group-${i}-of-a-large-company`);
  const life = (lives: number): string => tokenLifeOf(jwt({ groups, exp: NOW_S + lives }), DAY_MS, NOW);
  t.same([life(600), life(90_000)], ['short', 'long']);
  t.equal(tokenLifeOf(raw(`{"exp":${NOW_S + 60},"x":"${'x'.repeat(13_000)}"}`), DAY_MS, NOW), 'unknown');
});

t.test('what is no JWT is opaque, and nothing of it throws', async (t) => {
  const opaque = [
    '',
    'ghp_abcdef',
    'v4.public.eyJ4IjoxfQ',
    'eyJ.e30',
    'eyJ.e30.x.y.z',
    `e.${part('text')}.x`,
    `e.${part(null)}.x`,
    'e.!!!.x',
    `${jwt({ exp: NOW_S + 60 })}.`,
    `e${'.'.repeat(70_000)}`,
  ];
  for (const token of opaque) t.equal(tokenLifeOf(token, DAY_MS, NOW), 'unknown', token.slice(0, 40));
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        tokenLifeOf(`e${a}.${Buffer.from(b).toString('base64url')}.x`, DAY_MS, NOW);
        finder.find(['Authorization', a, b, a], `?${b}`, NOW);
      }),
      { seed: 5, numRuns: 2000 },
    ),
  );
});

t.test('Authorization is told by its scheme', async (t) => {
  t.same(inHeader('Authorization', 'Basic dXNlcjpwYXNz'), ['basic']);
  t.same(inHeader('AUTHORIZATION', 'bAsIc\t  dXNlcjpwYXNz'), ['basic'], 'case and white space');
  t.same(
    inHeader('Proxy-Authorization', 'Basic dXNlcjpwYXNz'),
    ['basic'],
    'it arrives though it never crosses',
  );
  t.same(inHeader('Authorization', 'Bearer ghp_0123456789'), ['bearer_opaque']);
  t.same(inHeader('Authorization', `Bearer ${jwt({ sub: 'x' })}`), ['bearer_long_lived']);
  t.same(inHeader('Authorization', `Bearer ${SHORT}`), [], 'a short-lived token is no static secret');
  t.same(inHeader('Authorization', 'ApiKey VnVhQ2ZHY0JDZGJ'), ['api_key'], 'Elastic');
  t.same(inHeader('Authorization', 'Token 9944b09199c62bcf'), ['api_key'], 'Django, GitHub');
  t.same(inHeader('Authorization', 'sk-0123456789abcdef'), ['bearer_opaque'], 'without a scheme');
  t.same(
    inHeader('Authorization', `Digest username="a", realm="basic x", nonce="n"`),
    [],
    'proved, not sent',
  );
  t.same(
    inHeader('Authorization', 'AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature=fe'),
    [],
  );
  t.same(inHeader('Authorization', `DPoP ${SHORT}`), []);
  for (const empty of ['', ' ', 'Basic', 'Bearer', 'Bearer ', 'Negotiate', 'Basic '])
    t.same(inHeader('Authorization', empty), [], JSON.stringify(empty));
  t.same(inHeader('Authorization', `Bearer ${SHORT}, Basic dXNlcjpwYXNz`), ['basic'], 'joined by a comma');
  t.same(
    kinds(['Authorization', `Bearer ${SHORT}`, 'authorization', 'Basic eDp5']),
    ['basic'],
    'there twice, the second counts as well',
  );
});

t.test('keys are found in the headers that are known for them, in any spelling', async (t) => {
  for (const name of ['x-api-key', 'X-API-Key', 'X_API_KEY', 'x.api.key', 'XApiKey', 'apikey', 'Api-Key'])
    t.same(inHeader(name, 'k'), ['api_key'], name);
  const named = (name: string): unknown => finder.find([name, 'k'], '', NOW);
  t.same(named('X_API_KEY'), [{ kind: 'api_key', name: 'x-api-key' }], 'by the name that is configured');
  for (const name of defaults.secretHeaders) t.same(inHeader(name, 'k'), ['api_key'], name);
  for (const name of ['cookie', 'accept', 'x-apikey-id', 'x-csrf-token', 'x-request-id', 'xy', ''])
    t.same(inHeader(name, 'k'), [], name);
  t.same(inHeader('x-api-key', ' '), [], 'an empty one is none');
  t.same(inHeader('x-access-token', SHORT), [], 'a short-lived token is none, here too');
  t.same(inHeader('x-auth-token', `Bearer ${SHORT}`), []);
  t.same(inHeader('x-auth-token', 'Bearer opaque'), ['api_key']);
});

t.test('a credential in the query is told whatever it is: the URL is in the logs of others', async (t) => {
  const inQuery = (query: string): readonly string[] => kinds(['Host', 'a.test'], query);
  const found = [
    '?api_key=1',
    '?a=1&api-key=2',
    '?a;apiKey=2',
    '?API%5FKEY=2',
    '?api_key[]=1',
    '?access_token=x',
  ];
  for (const query of [...found, `?access_token=${SHORT}`, '?x=%zz&password=p'])
    t.same(inQuery(query), ['query'], query);
  for (const query of [
    '',
    '?',
    '?api_key',
    '?api_key=',
    '?=x',
    '?x=api_key=1',
    '?sapi_key=1',
    '?page=2&q=basic',
  ])
    t.same(inQuery(query), [], query);
  t.same(inQuery(`?${'a=1&'.repeat(255)}api_key=1`), ['query']);
  t.same(inQuery(`?${'a=1&'.repeat(300)}api_key=1`), [], 'no further than servers look');
});

t.test('each kind stands there once, and nothing of a value is kept', async (t) => {
  const secret = 'c2VjcmV0LXZhbHVl';
  const headers = ['Authorization', `Basic ${secret}`, 'X-Api-Key', secret, 'Api-Key', secret];
  const found = finder.find([...headers, 'Authorization', `Bearer ${secret}`], `?api_key=${secret}`, NOW);
  t.same(
    found?.map(({ kind }) => kind),
    ['basic', 'api_key', 'bearer_opaque', 'query'],
  );
  t.notMatch(JSON.stringify(found), secret);
});

t.test('the configured lists replace the others', async (t) => {
  const own = new SecretFinder({ ...defaults, secretHeaders: ['X-Our-Key'], secretQuery: ['ours'] });
  t.same(own.find(['x_our_key', '1'], '?ours=1', NOW), [
    { kind: 'api_key', name: 'X-Our-Key' },
    { kind: 'query', name: 'ours' },
  ]);
  t.equal(own.find(['x-api-key', '1'], '?api_key=1', NOW), undefined);
  t.same(own.find(['authorization', 'Basic x'], '', NOW), [{ kind: 'basic', name: 'authorization' }]);
});
