import { readFileSync } from 'node:fs';
import t from 'tap';
import { readAuthorization, tokenIn, withoutBearer } from '../../src/listener/bearer.js';
import { ask, reasonIn, TokenWorld } from '../support/token-world.js';

function readBearer(lines: readonly string[]): ReturnType<typeof tokenIn> {
  const authorization = readAuthorization(lines);
  return typeof authorization === 'string' ? tokenIn(authorization) : authorization;
}

interface Vector {
  readonly id: string;
  readonly input: { readonly headers: readonly (readonly [string, string])[] };
  readonly expect: {
    readonly outcome: 'token' | 'reject' | 'none' | 'respond';
    readonly token?: string;
    readonly status?: number;
    readonly wwwAuthenticate?: string;
  };
}

const vectors: readonly Vector[] = JSON.parse(readFileSync('test/data/bearer.json', 'utf8'));
const asToken = (text: string): string =>
  text.replaceAll('@good-but-not-authorised', 'b.c.d').replaceAll('@', '');

t.test('Authorization is read as the vectors say', (t) => {
  for (const { id, input, expect } of vectors) {
    if (expect.outcome === 'respond') continue;
    const read = readBearer(input.headers.flatMap(([name, value]) => [name, asToken(value).trimEnd()]));
    if (expect.outcome === 'token') t.equal(read, asToken(expect.token ?? ''), id);
    else if (expect.outcome === 'none') t.equal(read, undefined, id);
    else t.match(read, { reason: 'authorization_malformed' }, id);
  }
  t.end();
});

t.test('what could be read in two ways is refused, whatever stands there', (t) => {
  const refused: readonly string[][] = [
    ['Authorization', 'Bearer a', 'Authorization', 'Bearer a'],
    ['Authorization', 'Basic eDp5', 'authorization', 'Bearer a'],
    ['Authorization', 'Bearer a, Bearer b'],
    ['Authorization', 'Bearer a,b'],
    ['Authorization', 'Bearer a b'],
    ['Authorization', 'Bearer a; x=y'],
    ['Authorization', 'Bearer\ta'],
    ['Authorization', 'Bearer  '],
    ['Authorization', 'bearer,a'],
    ['Authorization', 'Bearer="a"'],
    ['Authorization', 'Bearer "a"'],
    ['Authorization', 'Digest a=b, Bearer c'],
    ['Authorization', 'Digest a=b,\tbearer c'],
    ['Authorization', 'Bearer a=b'],
    ['Authorization', 'Bearer \u00e9'],
  ];
  for (const lines of refused)
    t.match(readBearer(lines), { reason: 'authorization_malformed' }, JSON.stringify(lines));
  t.equal(readBearer(['Authorization', 'BEARER  a.b.c==']), 'a.b.c==');
  t.equal(readBearer(['Authorization', 'Bearerish a']), undefined, 'another scheme');
  t.equal(
    readBearer(['X-Authorization', 'Bearer a', 'Authorization_', 'Bearer b']),
    undefined,
    'other headers',
  );
  t.equal(readBearer(['Authorization', '']), undefined);
  t.same(withoutBearer(['A', 'Authorization', 'Authorization', 'Bearer a', 'B', '2']), [
    'A',
    'Authorization',
    'B',
    '2',
  ]);
  t.end();
});

t.test('answers challenge as RFC 6750 has it, and say no more than the vectors', async (t) => {
  const tokens = await TokenWorld.start();
  t.teardown(() => tokens.close());
  const { world } = tokens;
  const refused = async (authorization: string | undefined, path = '/token/a') => {
    const client = await world.nobody();
    const lines = authorization === undefined ? '' : `Authorization: ${authorization}\r\n`;
    const [answer] = await client.ask(ask(path, undefined, lines));
    return [answer?.status, answer?.headers['www-authenticate'], reasonIn(answer?.body)];
  };
  t.same(await refused(undefined), [401, 'Bearer', 'token_missing']);
  t.same(await refused('Basic dTpw'), [401, 'Bearer', 'token_missing']);
  t.same(await refused('Bearer'), [400, 'Bearer error="invalid_request"', 'authorization_malformed']);
  for (const { id, expect } of vectors.filter(({ expect: { status } }) => status === 401)) {
    t.same(await refused('Bearer garbage'), [401, expect.wwwAuthenticate, 'token_invalid'], id);
  }
  const other = tokens.token({ sub: 'someone/else' });
  t.same(await refused(`Bearer ${other}`), [403, undefined, 'policy_denied'], 'known, and not allowed');
  const [head, body, signature] = tokens.token().split('.') as [string, string, string];
  const now = Math.floor(Date.now() / 1000);
  const bad: readonly string[] = [
    `${head}.${body}.${signature.slice(0, -4)}AAAA`,
    tokens.token({ exp: now - 1 }),
    tokens.token({ nbf: now + 600 }),
    tokens.token({ aud: 'other' }),
    tokens.token({ iss: 'https://ci.test/' }),
    tokens.token({}, { kid: 'k9' }),
    tokens.token({}, { alg: 'none' }),
    tokens.token({}, { jwk: tokens.signer.jwk }),
  ];
  for (const text of bad)
    t.same(
      await refused(`Bearer ${text}`),
      [401, 'Bearer error="invalid_token"', 'token_invalid'],
      'all alike',
    );
  const records = await world.untilRecords(5 + bad.length);
  t.same(
    records.slice(5).map(({ decision }) => decision.reason),
    [
      'token_signature',
      'token_expired',
      'token_not_yet_valid',
      'token_audience',
      'token_issuer_unknown',
      'token_key_unknown',
      'token_algorithm',
      'token_header',
    ],
    'and each by its reason in the record',
  );
  t.equal(world.upstream.bytes, '');
});

t.test('a token that Connection names, or a second spelling beside it, changes nothing', async (t) => {
  const tokens = await TokenWorld.start();
  t.teardown(() => tokens.close());
  const { world } = tokens;
  const client = await world.client();
  const hidden = await client.ask(ask('/either/a', 'garbage', 'Connection: authorization\r\n'));
  t.equal(hidden[0]?.status, 401, 'it is judged all the same');
  const beside = await client.ask(
    ask('/either/a', tokens.svid(), 'Authorization_: Bearer x\r\nX-Authorization: Bearer y\r\n'),
  );
  t.equal(beside[0]?.status, 200);
  t.same(world.upstream.requests[0]?.all('authorization'), []);
});

t.test('without a token nobody can tell which routes there are', async (t) => {
  const tokens = await TokenWorld.start();
  t.teardown(() => tokens.close());
  const { world } = tokens;
  const seen = new Set<string>();
  for (const path of ['/token/a', '/cert/a', '/nothing', '/both/x', '/token/x%2fa']) {
    for (const token of [undefined, 'garbage']) {
      const client = await world.nobody();
      const [answer] = await client.ask(ask(path, token));
      const { requestId: _, ...body } = JSON.parse(answer?.body ?? '{}');
      seen.add(JSON.stringify([token, answer?.status, answer?.headers['www-authenticate'], body]));
      await client.untilClosed(); // each look costs a handshake
    }
  }
  t.equal(seen.size, 2, [...seen].join('\n'));
  t.equal(world.upstream.bytes, '');
});

t.test('a listener that takes no tokens tells whoever has no certificate what it always did', async (t) => {
  const routes = '[{ name: r, host: svc.test, path: /**, upstream: u, accept: mtls+token }]';
  const tokens = await TokenWorld.start({ routes, policy: 'version: 1\ndefault: deny\nrules: []\n' });
  t.teardown(() => tokens.close());
  const client = await tokens.world.nobody();
  const [answer] = await client.ask(ask('/token/a', tokens.token()));
  t.same([answer?.status, reasonIn(answer?.body)], [403, 'certificate_missing']);
});
