import t, { type Test } from 'tap';
import { ask, reasonIn, TokenWorld, type TokenWorldOptions, thumbprintOf } from '../support/token-world.js';
import { mintSigner } from '../support/tokens.js';

async function start(t: Test, options?: TokenWorldOptions): Promise<TokenWorld> {
  const world = await TokenWorld.start(options);
  t.teardown(() => world.close());
  return world;
}

const answered = (answer: { status: number; body: string } | undefined): unknown[] => [
  answer?.status,
  answer?.status === 200 ? undefined : reasonIn(answer?.body),
];

t.test(
  'a client without a certificate is let in by its token, and the service never sees the token',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const client = await world.nobody();
    const token = tokens.token({ jti: 'job-1' });
    const [answer] = await client.ask(ask('/token/a', token, 'X-Spiffe-Id: spiffe://a.test/admin\r\n'));
    t.equal(answer?.status, 200);
    const [request] = world.upstream.requests;
    t.same(request?.all('authorization'), []);
    t.same(request?.all('x-spiffe-id'), [], 'a name of a token issuer is no SPIFFE ID');
    t.same(request?.all('x-forwarded-client-cert'), []);
    const [record] = await world.untilRecords(1);
    t.match(record, {
      principal: {
        id: 'ci:octo/app',
        kind: 'token',
        credential: 'oidc',
        trustDomain: 'ci:',
        issuer: 'https://ci.test',
      },
      token: { entry: 'ci', issuer: 'https://ci.test', jti: 'job-1', sha256: /^[0-9a-f]{64}$/ },
      decision: { effect: 'allow', rule: 'jobs' },
      request: { route: 'bearer', secrets: undefined },
    });
    const all =
      JSON.stringify([world.records, world.diagnostics, await world.snapshot()]) + (await world.metrics());
    for (const part of token.split('.')) t.notMatch(all, part, 'no part of a token is written down');
  },
);

t.test('a JWT-SVID names a workload, whose SPIFFE ID the service reads', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const [answer] = await (await world.nobody()).ask(ask('/svids/a', tokens.svid()));
  t.equal(answer?.status, 200);
  t.same(world.upstream.requests[0]?.all('x-spiffe-id'), ['spiffe://a.test/web']);
  const [record] = await world.untilRecords(1);
  t.match(record?.principal, { id: 'spiffe://a.test/web', kind: 'workload', credential: 'jwt-svid' });
  const { memory } = await world.snapshot();
  t.same(memory.tokens, { verified: 1, refused: 0, oneTime: 0 });
  const counted = /^countersign_token_verifications_total\{kind="jwt-svid",result="ok"\} 1$/m;
  t.match(await world.metrics(), counted);
});

t.test('an OIDC token whose subject looks like a SPIFFE ID is not that workload (TE-9)', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const asked = async (text: string): Promise<unknown[]> =>
    answered((await (await world.nobody()).ask(ask('/token/a', text)))[0]);
  t.same(await asked(tokens.token({ sub: 'spiffe://a.test/web' })), [401, 'token_invalid']);
  t.same(await asked(tokens.svidSigner.sign(tokens.claims())), [401, 'token_invalid']);
  t.same(
    (await world.untilRecords(2)).map(({ decision }) => decision.reason),
    ['token_subject', 'token_key_unknown'],
    'nor is it verified by the keys of workloads',
  );
  t.equal(world.upstream.bytes, '');
});

t.test('what each route asks for is what it gets', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const svid = tokens.svid();
  const good = tokens.token();
  const web = (path: string, token?: string) => async () =>
    (await (await world.client()).ask(ask(path, token)))[0];
  const nobody = (path: string, token?: string) => async () =>
    (await (await world.nobody()).ask(ask(path, token)))[0];
  const cases: [string, () => Promise<{ status: number; body: string } | undefined>, number, string?][] = [
    ['mtls: a certificate', web('/cert/a'), 200],
    ['mtls: Authorization is not looked at', web('/cert/a', 'garbage'), 200],
    ['mtls: a token alone', nobody('/cert/a', good), 403, 'certificate_missing'],
    ['mtls+token: a certificate alone', web('/both/a'), 401, 'token_missing'],
    ['mtls+token: both, of one workload', web('/both/a', svid), 200],
    ['mtls+token: a token alone', nobody('/both/a', svid), 403, 'certificate_missing'],
    ['mtls+token: a bad token', web('/both/a', 'garbage'), 401, 'token_invalid'],
    ['token: nothing', nobody('/token/a'), 401, 'token_missing'],
    ['token: a certificate alone', web('/token/a'), 401, 'token_missing'],
    ['token: a token', nobody('/token/a', good), 200],
    ['token: the token names the caller, not the certificate', web('/token/a', good), 200],
    ['either: nothing', nobody('/either/a'), 401, 'token_missing'],
    ['either: a certificate', web('/either/a'), 200],
    ['either: a token', nobody('/either/a', good), 200],
    ['either: a certificate and a bad token', web('/either/a', 'garbage'), 401, 'token_invalid'],
    ['an entry that does not count on the route', nobody('/svids/a', good), 401, 'token_invalid'],
  ];
  for (const [what, call, status, reason] of cases) t.same(answered(await call()), [status, reason], what);
});

t.test('a token that goes on does so only where the route says so', async (t) => {
  const tokens = await start(t);
  const token = tokens.token();
  const client = await tokens.world.nobody();
  t.equal((await client.ask(ask('/passed/a', token)))[0]?.status, 200);
  t.same(tokens.world.upstream.requests[0]?.all('authorization'), [`Bearer ${token}`]);
});

t.test(
  'with a certificate, another scheme than Bearer is the service own matter on a route that takes either',
  async (t) => {
    const tokens = await start(t);
    const client = await tokens.world.client();
    t.equal((await client.ask(ask('/either/a', undefined, 'Authorization: Basic dTpw\r\n')))[0]?.status, 200);
    t.same(tokens.world.upstream.requests[0]?.all('authorization'), ['Basic dTpw']);
  },
);

t.test(
  'a token that is bound to a certificate comes with that certificate or not at all (RFC 8705)',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const bound = tokens.token({ cnf: { 'x5t#S256': thumbprintOf(world.web) } });
    const at = async (path: string, identity: 'web' | 'admin' | undefined, token: string, more = '') => {
      const client = identity === undefined ? await world.nobody() : await world.client(world[identity]);
      return answered((await client.ask(ask(path, token, more)))[0]);
    };
    t.same(await at('/token/a', 'web', bound), [200, undefined]);
    t.same(
      await at('/token/a', 'admin', bound),
      [401, 'token_invalid'],
      'another certificate, and it was verified before',
    );
    t.same(await at('/token/a', undefined, bound), [401, 'token_invalid'], 'none');
    const header = `Client-Cert: :${world.web.certDer.toString('base64')}:\r\n`;
    t.same(await at('/token/a', undefined, bound, header), [401, 'token_invalid'], 'one in a header is none');
    const unknown = tokens.token({ cnf: { jkt: 'x' } });
    t.same(
      await at('/token/a', 'web', unknown),
      [401, 'token_invalid'],
      'bound by something that is not understood',
    );
    const records = await world.untilRecords(5);
    t.same(
      records.slice(1).map(({ decision }) => decision.reason),
      Array(4).fill('token_binding'),
    );
    t.match(records[0]?.token, { bound: true });
  },
);

t.test('a one-time token counts once', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const client = await world.client();
  const [one, other] = [tokens.oneTime('1'), tokens.oneTime('2')];
  t.same(answered((await client.ask(ask('/elsewhere', one)))[0]), [404, 'route_not_found']);
  t.same(
    answered((await client.ask(ask('/once/a', one)))[0]),
    [200, undefined],
    'it was not used up elsewhere',
  );
  t.same(answered((await client.ask(ask('/once/a', one)))[0]), [401, 'token_invalid']);
  t.same(answered((await client.ask(ask('/once/a', other)))[0]), [200, undefined]);
  t.same(answered((await client.ask(ask('/once/a', tokens.oneTime(undefined))))[0]), [401, 'token_invalid']);
  const records = await world.untilRecords(5);
  t.equal(records[2]?.decision.reason, 'token_replayed');
  t.equal(world.upstream.requests.length, 2);
});

t.test(
  'of many requests with one new token at once none waits for more than one verification, and all are counted once',
  async (t) => {
    const tokens = await start(t, { extra: 'limits: { requestsPerPrincipal: { rate: 1/h, burst: 10 } }' });
    const token = tokens.token();
    const clients = await Promise.all(Array.from({ length: 8 }, () => tokens.world.nobody()));
    const answers = await Promise.all(clients.map((client) => client.ask(ask('/token/a', token))));
    t.same(
      answers.map(([answer]) => answer?.status),
      Array(8).fill(200),
    );
    const more = await Promise.all(clients.slice(0, 3).map((client) => client.ask(ask('/token/a', token))));
    t.same(
      more.map(([answer]) => answer?.status).sort(),
      [200, 200, 429],
      'ten in all, not five that count twice',
    );
  },
);

t.test('what a token says is told to rules that ask, and limits count its principal', async (t) => {
  const tokens = await start(t, {
    policy: `version: 1
default: deny
reads: { claims: [ref] }
rules:
  - id: main
    effect: allow
    principals: ["ci:octo/*"]
    destinations: [bearer]
    when: credential.issuer == "https://ci.test" && credential.claims["ref"] == "main" && credential.kind == "oidc"
`,
  });
  const { world } = tokens;
  const client = await world.client();
  t.equal((await client.ask(ask('/token/a', tokens.token({ ref: 'main' }))))[0]?.status, 200);
  t.equal((await client.ask(ask('/token/a', tokens.token({ ref: 'other' }))))[0]?.status, 403);
  const [record] = await world.untilRecords(1);
  t.same(record?.request.claims, { ref: 'main' });
});

t.test(
  'a key that comes and a key that goes: tokens follow, also those that were verified before',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const client = await world.client();
    const next = mintSigner('ES256', 'k2');
    const [old, young] = [tokens.token(), next.sign(tokens.claims())];
    t.equal((await client.ask(ask('/token/a', old)))[0]?.status, 200);
    t.same(answered((await client.ask(ask('/token/a', young)))[0]), [401, 'token_invalid']);
    const before = (await world.snapshot()).sequence;
    tokens.replaceKeys(next);
    await world.untilSnapshot(({ sequence }) => sequence > before);
    t.equal((await client.ask(ask('/token/a', young)))[0]?.status, 200);
    t.same(answered((await client.ask(ask('/token/a', old)))[0]), [401, 'token_invalid']);
    const records = await world.untilRecords(4);
    t.same(
      records.map(({ decision }) => decision.reason),
      ['rule_allowed', 'token_key_unknown', 'rule_allowed', 'token_key_unknown'],
    );
  },
);

t.test(
  'one-time tokens and several workers are refused together: each worker would take a token once',
  async (t) => {
    for (const workers of ['2', 'auto'])
      await t.rejects(start(t, { extra: `workers: ${workers}` }), /tokens\[1\]\.oneTime: needs `workers: 1`/);
  },
);
