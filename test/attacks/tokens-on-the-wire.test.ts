import t, { type Test } from 'tap';
import { findTokenTwin } from '../../src/identity/signature-twin.js';
import { Http2Client } from '../support/http2-client.js';
import type { Answer } from '../support/raw-client.js';
import type { ReadRecord } from '../support/start-proxy.js';
import { ask, ISSUER, reasonIn, TokenWorld, type TokenWorldOptions } from '../support/token-world.js';
import { encode, mintSigner } from '../support/tokens.js';

async function start(t: Test, options?: TokenWorldOptions): Promise<TokenWorld> {
  const tokens = await TokenWorld.start(options);
  t.teardown(() => tokens.close());
  return tokens;
}

const outcome = ({ status, body }: Answer): string =>
  status === 200 ? '200' : `${status} ${reasonIn(body)}`;

const reasons = (records: readonly ReadRecord[]): string[] => records.map(({ decision }) => decision.reason);

/** What a tunnel of a test service looks like. */
const HANDSHAKE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}\r\n`;

t.test(
  'no spelling of Authorization lets anybody in, or reaches the service with the token in it',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const good = tokens.token();
    const expired = tokens.token({ exp: 1 });
    const spellings: [string, string, string][] = [
      [
        'two lines',
        `Authorization: Bearer ${good}\r\nAuthorization: Bearer ${good}`,
        '400 authorization_malformed',
      ],
      [
        'two lines, one empty',
        `Authorization: Bearer ${good}\r\nAuthorization:`,
        '400 authorization_malformed',
      ],
      [
        'two lines, another case',
        `Authorization: Basic eDp5\r\nAUTHORIZATION: Bearer ${good}`,
        '400 authorization_malformed',
      ],
      ['joined', `Authorization: Bearer ${good}, Bearer ${good}`, '400 authorization_malformed'],
      ['behind Basic', `Authorization: Basic eDp5, Bearer ${good}`, '400 authorization_malformed'],
      ['a tab', `Authorization: Bearer\t${good}`, '400 authorization_malformed'],
      ['none', 'Authorization: Bearer', '400 authorization_malformed'],
      ['a comma', `Authorization: Bearer ${good},`, '400 authorization_malformed'],
      ['quoted', `Authorization: Bearer "${good}"`, '400 authorization_malformed'],
      ['a parameter', `Authorization: Bearer token=${good}`, '400 authorization_malformed'],
      ['a no-break space', `Authorization: \xa0Bearer ${good}`, '400 authorization_malformed'],
      [
        'named by Connection',
        `Connection: authorization\r\nAuthorization: Bearer ${expired}`,
        '401 token_invalid',
      ],
      ['another scheme', `Authorization: Bearers ${good}`, '401 token_missing'],
      ['another name', `Authorization_: Bearer ${good}`, '401 token_missing'],
      ['of a proxy', `Proxy-Authorization: Bearer ${good}`, '401 token_missing'],
      ['padding', `Authorization: Bearer ${good}=`, '401 token_invalid'],
      ['a fourth part', `Authorization: Bearer ${good}.x`, '401 token_invalid'],
      ['unsigned', `Authorization: Bearer ${good.slice(0, good.lastIndexOf('.') + 1)}`, '401 token_invalid'],
    ];
    for (const [what, line, wanted] of spellings)
      for (const path of ['/token/a', '/either/a', '/nowhere']) {
        const [answer] = await (await world.nobody()).ask(ask(path, undefined, `${line}\r\n`));
        t.equal(outcome(answer!), wanted, `${what} at ${path}`);
      }
    t.equal(world.upstream.bytes, '');
    for (const line of [
      `aUTHORIZATION:bEARER   ${good}`,
      `Connection: authorization\r\nAuthorization: Bearer ${good}`,
    ]) {
      const client = await world.client();
      t.equal((await client.ask(ask('/either/a', undefined, `${line}\r\n`)))[0]?.status, 403, 'for another');
      const [answer] = await (await world.nobody()).ask(ask('/either/a', undefined, `${line}\r\n`));
      t.equal(answer?.status, 200);
    }
    t.notMatch(world.upstream.bytes, good.slice(-20));
  },
);

t.test('of any method and form, a request without a token reaches nothing and learns nothing', async (t) => {
  const { world } = await start(t);
  const heads = [
    'OPTIONS * HTTP/1.1\r\nHost: svc.test\r\n\r\n',
    'OPTIONS /token/a HTTP/1.1\r\nHost: svc.test\r\nMax-Forwards: 0\r\n\r\n',
    'TRACE /token/a HTTP/1.1\r\nHost: svc.test\r\nMax-Forwards: 0\r\n\r\n',
    'GET /token/a HTTP/1.0\r\nHost: svc.test\r\n\r\n',
    'GET /token/a HTTP/1.0\r\nHost: svc.test\r\nConnection: keep-alive\r\n\r\n',
    'GET http://svc.test/token/a HTTP/1.1\r\nHost: svc.test\r\n\r\n',
    'CONNECT svc.test:443 HTTP/1.1\r\nHost: svc.test:443\r\n\r\n',
    'POST /token/a HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n',
    ask('/token/a', undefined, HANDSHAKE),
    ask('/cert/a', undefined, HANDSHAKE),
    ask('/cert/a'),
    ask('/nowhere'),
    'GET /token/a HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n',
  ];
  for (const head of heads) {
    const client = await world.nobody();
    client.send(head);
    await client.untilClosed();
    const [line = ''] = head.split('\r\n', 1);
    t.notMatch(client.received, /^HTTP\/1.1 (1\d\d|2\d\d)/, line);
    t.notMatch(client.received, /route_not_found|certificate_missing|policy_denied/, line);
  }
  t.equal(world.upstream.bytes, '');
  const records = await world.untilRecords(heads.length);
  t.equal(records.length, heads.length);
  for (const { decision } of records) t.equal(decision.effect, 'deny');
});

t.test('each request is judged by its own token, in the order in which they came', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const {
    world: { web },
  } = tokens;
  const good = tokens.token({ jti: 'pipelined' });
  const client = await world.client(web);
  const answers = await client.ask(
    ask('/token/1', good) +
      ask('/token/2') +
      ask('/token/3', good) +
      ask('/token/4', `${good.slice(0, -4)}AAAA`),
    4,
  );
  t.same(answers.map(outcome), ['200', '401 token_missing', '200', '401 token_invalid']);
  t.same(
    world.upstream.requests.map(({ target }) => target),
    ['/token/1', '/token/3'],
  );
  const stranger = await world.nobody();
  stranger.send(ask('/token/5', good) + ask('/token/6') + ask('/token/7', good));
  await stranger.untilClosed();
  t.same(stranger.answers.map(outcome), ['200', '401 token_missing'], 'nothing follows what had none');
  t.same(world.upstream.requests.length, 3);
});

t.test('no 100 and no byte of a body before the token is verified', async (t) => {
  const tokens = await start(t);
  const post = (token: string): string =>
    `POST /token/a HTTP/1.1\r\nHost: svc.test\r\nAuthorization: Bearer ${token}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`;
  const bad = await tokens.world.nobody();
  bad.send(post(mintSigner('ES256', 'k1').sign(tokens.claims())));
  await bad.untilClosed();
  t.match(bad.received, /^HTTP\/1.1 401 /);
  const good = await tokens.world.nobody();
  good.send(post(tokens.token()));
  await good.until(() => good.received.includes('\r\n\r\n'));
  t.match(good.received, /^HTTP\/1.1 100 /);
  const [answer] = await good.ask('hello');
  t.equal(answer?.status, 200);
  t.equal(tokens.world.upstream.requests[0]?.body, 'hello');
});

t.test('who goes away while its token is verified reaches nothing, and is recorded', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const clients = await Promise.all(Array.from({ length: 20 }, () => world.nobody()));
  for (const [i, client] of clients.entries()) {
    client.send(
      ask(
        i % 2 === 0 ? '/token/a' : '/once/a',
        tokens.token({ jti: `gone-${i}` }),
        i % 3 === 0 ? HANDSHAKE : '',
      ),
    );
    client.destroy();
  }
  // Those whose connection went before their head was read are none; whatever was read has its one record.
  const [answer] = await (await world.nobody()).ask(ask('/token/b', tokens.token()));
  t.equal(answer?.status, 200);
  const records = await world.untilRecords(1);
  const sent = world.upstream.requests.length;
  const allowed = records.filter(({ decision }) => decision.effect === 'allow').length;
  t.ok(sent <= allowed, `${sent} were sent, ${allowed} recorded as allowed`);
  t.equal(new Set(records.map(({ id }) => id)).size, records.length);
});

t.test('a WebSocket is opened by a good token alone, whatever comes behind its head', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  for (const [what, token] of [
    ['none', undefined],
    ['forged', mintSigner('ES256', 'k1').sign(tokens.claims())],
  ] as const) {
    const client = await world.nobody();
    client.send(`${ask('/token/ws', token, HANDSHAKE)}early bytes${ask('/token/a', token)}`);
    await client.untilClosed();
    t.match(client.received, /^HTTP\/1.1 401 /, what);
  }
  t.equal(world.upstream.bytes, '');
  world.upstream.respond = (connection) => {
    if (connection.bytes.includes('\r\n\r\n') && !connection.bytes.includes('answered'))
      connection.socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n',
      );
  };
  const client = await world.nobody();
  client.send(`${ask('/token/ws', tokens.token(), HANDSHAKE)}first`);
  await client.until(() => client.received.includes('101'));
  t.match(client.received, /^HTTP\/1.1 101 /);
  await t.resolves(untilUpstream(tokens, 'first'));
  tokens.replaceKeys(mintSigner('ES256', 'k2'));
  await client.untilClosed();
  const record = (await world.untilRecords(4)).at(-1);
  t.equal(record?.response.outcome, 'access_ended', 'a key that goes ends what its tokens opened');
});

const untilUpstream = async ({ world }: TokenWorld, text: string): Promise<void> => {
  for (let i = 0; i < 200 && !world.upstream.bytes.includes(text); i++)
    await new Promise((resolve) => setImmediate(resolve));
  if (!world.upstream.bytes.includes(text)) throw new Error(`the service never got ${text}`);
};

t.test('streams of one HTTP/2 connection do not share a token', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const client = await Http2Client.open(world.port, world.web);
  t.teardown(() => client.destroy());
  const authorization = `Bearer ${tokens.token()}`;
  const answers = await Promise.all([
    client.ask('/token/1', { authorization }),
    client.ask('/token/2'),
    client.ask('/token/3', { authorization }),
    client.ask('/token/4', { authorization: 'Bearer x' }),
    client.ask('/token/5', { ':authority': 'other.test', authorization }),
  ]);
  t.same(
    answers.map(({ status }) => status),
    [200, 401, 200, 401, 404],
  );
  t.ok(client.isOpen, 'one bad token does not end what a gateway carries for others');
  const stranger = await Http2Client.open(world.port);
  t.teardown(() => stranger.destroy());
  const first = await stranger.ask('/token/6', { authorization });
  const second = await stranger.ask('/token/7');
  t.same([first.status, second.status], [200, 401]);
  await stranger.untilClosed();
  const call = await Http2Client.open(world.port);
  t.teardown(() => call.destroy());
  const { headers } = await call.call('/token/8');
  t.match(headers, { 'grpc-status': '16', 'www-authenticate': 'Bearer' });
  t.notMatch(JSON.stringify(headers), /entry|issuer|ci\.test/);
  t.equal(world.upstream.requests.length, 3);
});

t.test('a one-time token counts once, however many bring it at once and by whatever way', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const token = tokens.oneTime('1');
  const other = tokens.token({ iss: `${ISSUER}/once`, jti: '1', exp: Math.floor(Date.now() / 1000) + 60 });
  const twin = twinOf(token);
  const [h2, ...clients] = await Promise.all([
    Http2Client.open(world.port),
    ...Array.from({ length: 6 }, () => world.nobody()),
  ]);
  t.teardown(() => h2.destroy());
  const answers = await Promise.all([
    ...clients.map(
      async (client, i) => (await client.ask(ask('/once/a', [token, other, twin][i % 3])))[0]?.status,
    ),
    ...[token, other, twin].map(
      async (text) => (await h2.ask('/once/b', { authorization: `Bearer ${text}` })).status,
    ),
  ]);
  t.equal(answers.filter((status) => status === 200).length, 1, `${answers}`);
  t.equal(world.upstream.requests.length, 1);
});

/** The other signature that the holder of an ECDSA token can make of it without a key. */
function twinOf(token: string): string {
  const [head, payload, signature] = token.split('.');
  const bytes = Buffer.from(signature!, 'base64url');
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const s = BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  const other = Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex');
  const twin = `${head}.${payload}.${Buffer.concat([bytes.subarray(0, 32), other]).toString('base64url')}`;
  if (findTokenTwin(token, 'ES256') === undefined) throw new Error('it has a twin');
  return twin;
}

t.test(
  'a token that is revoked by its fingerprint does not come back by another writing of its signature',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const token = tokens.token();
    const outcomes = async (...texts: string[]): Promise<string[]> => {
      const out: string[] = [];
      for (const text of texts)
        out.push(outcome((await (await world.nobody()).ask(ask('/token/a', text)))[0]!));
      return out;
    };
    t.same(await outcomes(token, twinOf(token)), ['200', '200'], 'both are good by the key');
    const [record] = await world.untilRecords(2);
    const { sequence } = await world.snapshot();
    world.replace(
      'revoked.yaml',
      `version: 1\nrevoked: [{ sha256: "${record?.token.sha256}", reason: leaked }]\n`,
    );
    await world.untilSnapshot((now) => now.sequence > sequence);
    t.same(await outcomes(token, twinOf(token), tokens.token({ jti: 'new' })), [
      '401 token_invalid',
      '401 token_invalid',
      '200',
    ]);
  },
);

t.test('a token of a trusted gateway is not the gateway', async (t) => {
  const tokens = await start(t, {
    extra:
      'trustedPeers: { gateways: [{ spiffeId: "spiffe://a.test/web" }] }\nforward: { xfcc: append_forward }',
  });
  const { world } = tokens;
  const told =
    'X-Forwarded-For: 203.0.113.9\r\nX-Request-Id: chosen\r\nX-Forwarded-Client-Cert: URI=spiffe://a.test/admin\r\n';
  for (const client of [await world.nobody(), await world.client()]) {
    const [answer] = await client.ask(ask('/svids/a', tokens.svid(), told));
    t.equal(answer?.status, 200);
    const request = world.upstream.requests.at(-1);
    t.same(request?.all('x-forwarded-for'), ['127.0.0.1']);
    t.notMatch(request?.header('x-request-id'), 'chosen');
    t.same(request?.all('x-forwarded-client-cert'), []);
    t.same(request?.all('x-spiffe-id'), ['spiffe://a.test/web']);
  }
  const [answer] = await (await world.client()).ask(ask('/cert/a', undefined, told));
  t.equal(answer?.status, 200);
  t.same(
    world.upstream.requests.at(-1)?.all('x-forwarded-for'),
    ['203.0.113.9, 127.0.0.1'],
    'its certificate is',
  );
});

t.test('claims at the edges of what numbers and names can be never let anybody in', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const raw = (more: string): string =>
    tokens.signer.sign(JSON.stringify(tokens.claims()).replace(/\}$/, `,${more}}`));
  const without = (name: string, more: string): string => {
    const claims = Object.entries(tokens.claims()).filter(([key]) => key !== name);
    return tokens.signer.sign(JSON.stringify(Object.fromEntries(claims)).replace(/\}$/, `,${more}}`));
  };
  const bad: Record<string, string> = {
    'exp of no end': without('exp', '"exp":1e308'),
    'exp beyond numbers': without('exp', '"exp":1e999'),
    'exp below zero': without('exp', '"exp":-1'),
    'exp of minus zero': without('exp', '"exp":-0'),
    'exp as text': without('exp', `"exp":"${Date.now()}"`),
    'exp in a list': without('exp', `"exp":[${Math.floor(Date.now() / 1000) + 60}]`),
    'exp twice': raw('"exp":99999999999'),
    'exp twice, one escaped': raw('"\\u0065xp":99999999999'),
    'a life that is too long': without('exp', '"exp":99999999999'),
    'issued tomorrow': tokens.token({
      iat: Math.floor(Date.now() / 1000) + 86_400,
      exp: Math.floor(Date.now() / 1000) + 86_460,
    }),
    'nbf ahead': tokens.token({
      nbf: Math.floor(Date.now() / 1000) + 600,
      exp: Math.floor(Date.now() / 1000) + 900,
    }),
    'aud in a list in a list': tokens.token({ aud: [['billing']] }),
    'aud of a longer name': tokens.token({ aud: 'billing2' }),
    'aud as an object': tokens.token({ aud: { billing: true } }),
    'aud with something else': tokens.token({ aud: ['billing', 7] }),
    'no aud': tokens.token({ aud: undefined }),
    'iss in a list': tokens.token({ iss: [ISSUER] }),
    'iss with a slash': tokens.token({ iss: `${ISSUER}/` }),
    'iss in capitals': tokens.token({ iss: ISSUER.toUpperCase() }),
    'sub that climbs': tokens.token({ sub: 'octo/../octo/app' }),
    'sub with an empty segment': tokens.token({ sub: 'octo//app' }),
    'sub with its slash encoded': tokens.token({ sub: 'octo%2Fapp' }),
    'sub with another slash': tokens.token({ sub: 'octo\u2215app' }),
    'sub of a SPIFFE ID': tokens.token({ sub: 'spiffe://a.test/web' }),
    'sub with half a character': tokens.token({ sub: 'octo\ud800' }),
    'no sub': tokens.token({ sub: undefined }),
    'sub by number': tokens.token({ sub: 7 }),
    'act as text': tokens.token({ act: 'octo/app' }),
    'act without a name': tokens.token({ act: {} }),
    'no signature algorithm': tokens.token({}, { alg: 'none' }),
    'a symmetric algorithm': tokens.token({}, { alg: 'HS256' }),
    'another curve': tokens.token({}, { alg: 'ES384' }),
    'another kind of key': tokens.token({}, { alg: 'RS256' }),
    'a key of its own': tokens.token({}, { jwk: mintSigner().jwk }),
    critical: tokens.token({}, { crit: ['exp'] }),
    'not encoded': tokens.token({}, { b64: false }),
    'of another type': tokens.token({}, { typ: 'logout+jwt' }),
    'a type of ours': tokens.token({}, { typ: 'identity-assertion+jwt' }),
    'kid of another case': tokens.token({}, { kid: 'K1' }),
    'kid in a list': tokens.token({}, { kid: ['k1'] }),
    'bound by two': tokens.token({ cnf: { 'x5t#S256': 'A'.repeat(43), jkt: 'x' } }),
    'bound to nothing': tokens.token({ cnf: null }),
    'nested too deep': tokens.signer.sign(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`),
  };
  for (const [what, token] of Object.entries(bad)) {
    const [answer] = await (await world.client(world.admin)).ask(ask('/token/a', token));
    t.ok(
      answer?.status === 401 || (answer?.status === 403 && reasonIn(answer.body) === 'policy_denied'),
      `${what}: ${answer && outcome(answer)}`,
    );
  }
  t.equal(world.upstream.bytes, '');
});

t.test('what anybody writes into a token does not fill the records', async (t) => {
  const { world } = await start(t);
  const long = '"'.repeat(2000);
  const of = (head: object, payload = '{}'): string =>
    `${encode(JSON.stringify(head))}.${encode(payload)}.${encode('x')}`;
  const texts = [
    of({ alg: long }),
    of({ alg: [long] }),
    of({ alg: 'ES256', typ: long }),
    of({ alg: 'ES256' }, `{${JSON.stringify(long)}:1,${JSON.stringify(long)}:2}`),
    of({ alg: 'ES256' }, JSON.stringify({ iss: ISSUER, sub: long })),
    of({ alg: 'ES256', typ: 'JWT', kid: 'k1' }, JSON.stringify({ sub: `spiffe://${long}` })),
  ];
  for (const text of texts) {
    const [answer] = await (await world.nobody()).ask(ask('/token/a', text));
    t.equal(answer?.status, 401);
  }
  for (const record of await world.untilRecords(texts.length))
    t.ok(
      (record.decision.detail ?? '').length <= 300,
      `${record.decision.reason}: ${record.decision.detail?.length}`,
    );
});

t.test(
  'tokens of an entry that a route excludes from now on are refused, also those that were verified',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const token = tokens.token();
    const client = await world.client();
    t.equal((await client.ask(ask('/token/a', token)))[0]?.status, 200);
    const { sequence } = await world.snapshot();
    const text = world.configText({}).includes('accept') ? '' : 'accept: token, upgrade: [websocket]';
    t.not(text, undefined);
    const config = await readConfig(world.dir);
    world.replace(
      'countersign.yaml',
      config.replace(
        'path: /token/**, upstream: u, accept: token',
        'path: /token/**, upstream: u, accept: token, tokens: [once]',
      ),
    );
    await world.untilSnapshot((now) => now.sequence > sequence);
    t.equal(outcome((await client.ask(ask('/token/a', token)))[0]!), '401 token_invalid');
    t.same(reasons(await world.untilRecords(2)), ['rule_allowed', 'token_issuer_unknown']);
  },
);

const readConfig = async (dir: string): Promise<string> =>
  (await import('node:fs/promises')).readFile(`${dir}/countersign.yaml`, 'utf8');
