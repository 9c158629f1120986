import { decodeJwt } from 'jose';
import t, { type Test } from 'tap';
import { AssertionSigner } from '../support/assertion-signer.js';
import { Http2Client } from '../support/http2-client.js';
import { newSealKey } from '../support/seal-key.js';
import type { ReadRecord } from '../support/start-proxy.js';
import {
  AUDIENCE,
  ask,
  bundle,
  ISSUER,
  reasonIn,
  TokenWorld,
  type TokenWorldOptions,
} from '../support/token-world.js';
import type { Signer } from '../support/tokens.js';

const WEB = 'spiffe://a.test/web';
const POLICY = `version: 1
default: deny
rules:
  - { id: certified, effect: allow, principals: ["${WEB}"], behalfOf: ["ci:octo/*"], destinations: [both, either] }
  - { id: named, effect: allow, principals: ["ci:*"], behalfOf: ["ci:octo/*"], destinations: [bearer] }
  - { id: itself, effect: allow, principals: ["ci:octo/*", "${WEB}"], destinations: [bearer, svids, cert, either] }
`;

async function start(t: Test, options: TokenWorldOptions = {}): Promise<TokenWorld> {
  const key = (await newSealKey()).text;
  const tokens = await TokenWorld.start({
    policy: POLICY,
    extra: `forward: { assertion: { audience: ${AUDIENCE}, key: assert.jwk } }`,
    ...options,
    files: { 'assert.jwk': key, ...options.files },
  });
  t.teardown(() => tokens.close());
  return tokens;
}

const told = ({ world }: TokenWorld): object =>
  decodeJwt(world.upstream.requests.at(-1)?.header('x-identity-assertion') ?? '');

t.test('with one certificate and one token, each service is told who called it, and for whom', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const client = await world.client();
  const acting = tokens.token({ act: { sub: WEB } });
  for (const [path, caller] of [
    ['/token/1', 'ci:spiffe:%2F%2Fa.test%2Fweb'],
    ['/both/2', WEB],
    ['/token/3', 'ci:spiffe:%2F%2Fa.test%2Fweb'],
    ['/either/4', WEB],
  ] as const) {
    t.equal((await client.ask(ask(path, acting)))[0]?.status, 200, path);
    t.match(told(tokens), { sub: 'ci:octo/app', act: { sub: caller } }, path);
  }
  const records = await world.untilRecords(4);
  t.same(
    records.map(({ principal }: ReadRecord) => principal.id),
    ['ci:spiffe:%2F%2Fa.test%2Fweb', WEB, 'ci:spiffe:%2F%2Fa.test%2Fweb', WEB],
  );
});

t.test('what a service is told never lives longer than the token, and tells of nobody else', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const soon = Math.floor(Date.now() / 1000) + 20;
  const client = await world.client();
  t.equal((await client.ask(ask('/cert/a')))[0]?.status, 200);
  t.match(told(tokens), { sub: WEB, act: undefined });
  t.equal((await client.ask(ask('/either/a', tokens.token({ exp: soon }))))[0]?.status, 200);
  t.match(told(tokens), { sub: 'ci:octo/app', exp: soon, act: { sub: WEB } });
  t.equal(
    (await client.ask(ask('/either/a', tokens.token({ sub: 'octo/other', exp: soon }))))[0]?.status,
    200,
  );
  t.match(told(tokens), { sub: 'ci:octo/other', exp: soon });
  t.equal((await client.ask(ask('/either/a')))[0]?.status, 200);
  t.match(told(tokens), { sub: WEB, act: undefined });
});

t.test(
  'an assertion of ours is nobody’s token, also where its key is one that tokens are verified by',
  async (t) => {
    const signer = await AssertionSigner.create('shared', 'ES256');
    const asSigner = { jwk: signer.jwk } as Pick<Signer, 'jwk'> as Signer;
    const tokens = await start(t, { files: { 'assert.jwk': await signer.privateJwk() } });
    const { world } = tokens;
    const { sequence } = await world.snapshot();
    tokens.replaceKeys(tokens.signer, asSigner);
    world.replace('a.json', bundle(world.caA, tokens.svidSigner, asSigner));
    await world.untilSnapshot((now) => now.sequence > sequence);
    await (await world.client()).ask(ask('/cert/a'));
    const ours = world.upstream.requests.at(-1)?.header('x-identity-assertion') ?? '';
    const seen = world.upstream.requests.length;
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'octo/app' };
    for (const [what, token] of [
      ['ours', ours],
      ['one of the issuer’s name', await signer.sign(claims)],
      ['one of a workload', await signer.sign({ ...claims, iss: undefined, sub: WEB })],
    ] as const)
      for (const path of ['/token/a', '/svids/a', '/either/a']) {
        const [answer] = await (await world.nobody()).ask(ask(path, token));
        t.same([answer?.status, reasonIn(answer?.body)], [401, 'token_invalid'], `${what} at ${path}`);
      }
    t.equal(world.upstream.requests.length, seen);
    const good = await signer.sign(claims, { typ: 'JWT', kid: 'shared' });
    t.equal(
      (await (await world.nobody()).ask(ask('/token/a', good)))[0]?.status,
      200,
      'the key itself is good',
    );
  },
);

t.test('an assertion or an identity that a token caller brings along does not cross', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const lines =
    'X-Identity-Assertion: mine\r\nX_Identity_Assertion: mine\r\nX-Spiffe-Id: spiffe://a.test/admin\r\nX_Spiffe_Id: mine\r\nClient-Cert: :bWluZQ==:\r\n';
  t.equal((await (await world.nobody()).ask(ask('/token/a', tokens.token(), lines)))[0]?.status, 200);
  t.notMatch(world.upstream.bytes, /mine|bWluZQ|spiffe:\/\/a\.test\/admin/);
  const h2 = await Http2Client.open(world.port);
  t.teardown(() => h2.destroy());
  const authorization = `Bearer ${tokens.token()}`;
  const answer = await h2.ask('/token/a', {
    authorization,
    'x-identity-assertion': 'mine',
    x_spiffe_id: 'mine',
  });
  t.equal(answer.status, 200);
  t.notMatch(world.upstream.bytes, /mine/);
});

t.test(
  'a credential that is put in takes the place of the token and of what else calls itself so',
  async (t) => {
    const tokens = await start(t, {
      files: { 'secret.txt': 'Basic c2VjcmV0\n' },
      policy: `version: 1
default: deny
rules: [{ id: all, effect: allow, principals: ["ci:octo/*", "${WEB}"], destinations: [u] }]
`,
      routes: `
      - { name: bearer, host: svc.test, path: /token/**, upstream: u, accept: token, injectCredential: { header: authorization, file: secret.txt } }
      - { name: either, host: svc.test, path: /either/**, upstream: u, accept: either, injectCredential: { header: authorization, file: secret.txt } }`,
    });
    const { world } = tokens;
    const stranger = await world.nobody();
    t.equal((await stranger.ask(ask('/token/a', tokens.token())))[0]?.status, 200);
    const client = await world.client();
    t.equal(
      (await client.ask(ask('/either/a', undefined, 'Authorization: Basic bWluZQ==\r\n')))[0]?.status,
      200,
    );
    const chunked = 'Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n';
    const [answer] = await client.ask(
      `POST /either/b HTTP/1.1\r\nHost: svc.test\r\n${chunked}\r\n1\r\nx\r\n0\r\nAuthorization: Basic bWluZQ==\r\n\r\n`,
    );
    t.equal(answer?.status, 200);
    for (const request of world.upstream.requests) t.same(request.all('authorization'), ['Basic c2VjcmV0']);
    t.equal(world.upstream.requests.length, 3);
    t.notMatch(world.upstream.bytes, 'bWluZQ');
    const all = JSON.stringify([await world.untilRecords(3), world.diagnostics, await world.snapshot()]);
    t.notMatch(all + (await world.metrics()), /c2VjcmV0/);
  },
);
