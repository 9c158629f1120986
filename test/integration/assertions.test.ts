import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  createLocalJWKSet,
  decodeProtectedHeader,
  type JSONWebKeySet,
  type JWTPayload,
  jwtVerify,
} from 'jose';
import t from 'tap';
import { Http2Client } from '../support/http2-client.js';
import { answerOk } from '../support/recorder-upstream.js';
import { newSealKey } from '../support/seal-key.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const routes = `
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: other, host: svc.test, path: /other/**, upstream: u, assertion: { audience: ledger } }
      - { name: none, host: svc.test, path: /none/**, upstream: u, assertion: false }
      - { name: ws, host: svc.test, path: /ws, upstream: u, upgrade: [websocket] }`;
const policy = `version: 1
default: deny
rules:
  - { id: all, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }
`;
const get = (path: string, ...lines: string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

const forwarding = (more = ''): string =>
  `forward: { assertion: { audience: billing, key: assert.jwk${more} } }\nhealth: { address: 127.0.0.1:0 }`;

async function start(key: string, options: WorldOptions = {}): Promise<World> {
  return World.start({
    routes,
    policy,
    extra: forwarding(),
    ...options,
    files: { 'assert.jwk': key, ...options.files },
  });
}

/** What the service got, in the order in which it came. */
function assertions(world: World): string[] {
  return world.upstream.requests.flatMap((request) =>
    request.headers.filter(([name]) => name === 'x-identity-assertion').map(([, value]) => value),
  );
}

async function jwksOf(world: World, name = 'admin'): Promise<JSONWebKeySet> {
  const address = world.app.addresses.get(name);
  return (await (await fetch(`http://${address}/.well-known/jwks.json`)).json()) as JSONWebKeySet;
}

async function verified(
  text: string | undefined,
  jwks: JSONWebKeySet,
  audience = 'billing',
): Promise<JWTPayload> {
  const { payload } = await jwtVerify(text ?? '', createLocalJWKSet(jwks), {
    audience,
    issuer: 'spiffe://a.test/proxy',
    typ: 'identity-assertion+jwt',
  });
  return payload;
}

for (const [type, alg] of [
  ['ed25519', 'EdDSA'],
  ['p256', 'ES256'],
] as const) {
  t.test(
    `a service verifies with jose who called, by the ${alg} key that admin and health show`,
    async (t) => {
      const key = await newSealKey(type);
      const world = await start(key.text);
      t.teardown(() => world.close());
      const client = await world.client();
      await client.ask(get('/public/a'));
      const [text = ''] = assertions(world);
      t.same(decodeProtectedHeader(text), { alg, kid: key.kid, typ: 'identity-assertion+jwt' });
      t.same(await jwksOf(world), await jwksOf(world, 'health'));
      const claims = await verified(text, await jwksOf(world));
      const { iat = 0, exp = 0, jti = '', ...rest } = claims;
      t.same(rest, {
        iss: 'spiffe://a.test/proxy',
        sub: 'spiffe://a.test/web',
        aud: 'billing',
        cnf: { 'x5t#S256': Buffer.from(world.web.sha256, 'hex').toString('base64url') },
      });
      t.equal(exp - iat, 60);
      t.match(jti, /^[0-9a-f]{32}$/);
      const [record] = await world.untilRecords(1);
      t.equal(record?.upstream.assertion, jti);
      t.notMatch(
        JSON.stringify(record),
        text.slice(-20),
        'a record must not hold an assertion that is still good',
      );
    },
  );
}

t.test('one signature serves a caller and an audience until half of its life is over', async (t) => {
  let nowMs = Math.floor(Date.now() / 1000) * 1000;
  const world = await start((await newSealKey()).text, { nowMs: () => nowMs });
  t.teardown(() => world.close());
  const [web, admin] = [await world.client(), await world.client(world.admin)];
  const signed = async (): Promise<number> => {
    const line = /^countersign_assertions_signed_total (\d+)$/m.exec(await world.metrics());
    return Number(line?.[1]);
  };
  await web.ask(get('/public/a') + get('/public/b') + get('/public/c'), 3);
  const [first] = assertions(world);
  t.same(new Set(assertions(world)), new Set([first]));
  t.equal(await signed(), 1);
  await admin.ask(get('/public/a'));
  await web.ask(get('/other/a'));
  t.equal(await signed(), 3, 'another caller, another audience');
  nowMs += 29_000;
  await web.ask(get('/public/d'));
  t.equal(assertions(world).at(-1), first);
  nowMs += 2000;
  await web.ask(get('/public/e'));
  const second = assertions(world).at(-1);
  t.not(second, first, 'less than half of its life was left');
  nowMs -= 10_000;
  await web.ask(get('/public/f'));
  const third = await verified(assertions(world).at(-1), await jwksOf(world));
  t.equal(third.iat, nowMs / 1000, 'of a clock that was set back there is none from the future');
});

t.test(
  'a route names its audience or wants none, and what a client sends by the name never crosses',
  async (t) => {
    const world = await start((await newSealKey()).text);
    t.teardown(() => world.close());
    const client = await world.client();
    const forged = [
      'x-identity-assertion: forged',
      'X_Identity_Assertion: forged',
      'X-IDENTITY-ASSERTION: forged',
    ];
    for (const path of ['/public/a', '/other/a', '/none/a']) await client.ask(get(path, ...forged));
    t.notMatch(world.upstream.bytes, /forged/);
    const [billing, ledger, ...more] = assertions(world);
    t.equal((await verified(billing, await jwksOf(world))).aud, 'billing');
    t.equal((await verified(ledger, await jwksOf(world), 'ledger')).aud, 'ledger');
    t.same(more, [], 'the third route wants none');
    const records = await world.untilRecords(3);
    t.equal(records[2]?.upstream?.assertion, undefined);
  },
);

t.test(
  'an assertion never outlives the certificate that it rests on, and is not made over and over for that',
  async (t) => {
    const world = await start((await newSealKey()).text);
    t.teardown(() => world.close());
    const short = await world.caA.issue('spiffe://a.test/short', { ttlMs: 20_000 });
    const client = await world.client(short);
    await client.ask(get('/public/a') + get('/public/b'), 2);
    const [one, two] = assertions(world);
    t.equal(one, two);
    t.equal((await verified(one, await jwksOf(world))).exp, Math.floor(short.notAfter.getTime() / 1000));
  },
);

t.test('a WebSocket and HTTP/2 get one as well', async (t) => {
  const world = await start((await newSealKey()).text);
  t.teardown(() => world.close());
  world.upstream.respond = (connection) => {
    connection.socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
  };
  const client = await world.client();
  client.send(
    get(
      '/ws',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${'A'.repeat(22)}==`,
    ),
  );
  await client.until(() => client.received.includes('101'));
  const http2 = await Http2Client.open(world.port, world.admin);
  t.teardown(() => http2.destroy());
  world.upstream.respond = answerOk;
  await http2.ask('/public/a', { 'x-identity-assertion': 'forged' });
  const jwks = await jwksOf(world);
  const claims = await Promise.all(assertions(world).map((text) => verified(text, jwks)));
  t.same(
    claims.map(({ sub }) => sub),
    ['spiffe://a.test/web', 'spiffe://a.test/admin'],
  );
});

t.test(
  'a key is changed under load: what was signed by the old one stays verifiable, and a bad key changes nothing',
  async (t) => {
    const [one, two] = [await newSealKey(), await newSealKey('p256')];
    const world = await start(one.text, { extra: forwarding(', jwksFile: keys.json') });
    t.teardown(() => world.close());
    const file = join(world.dir, 'keys.json');
    const inFile = (): string[] => kidsOf(JSON.parse(readFileSync(file, 'utf8')) as JSONWebKeySet);
    t.same(inFile(), [one.kid]);
    t.equal(statSync(file).mode & 0o777, 0o644, 'a service of another user reads it');
    const client = await world.client();
    await client.ask(get('/public/a'));
    const broken = `${one.text.slice(0, -3)}A"}`;
    world.replace('assert.jwk', broken);
    await untilRecord(world, 'assertion.key_refused');
    await client.ask(get('/public/b'));
    t.equal(kidOf(assertions(world).at(-1)), one.kid, 'the last good one goes on signing');
    world.replace('assert.jwk', `{"keys":[${two.text},${one.text}]}`);
    const rotated = await untilRecord(world, 'assertion.key_rotated');
    t.equal(rotated.detail, `key ${two.kid}`);
    await client.ask(get('/public/c'));
    t.equal(kidOf(assertions(world).at(-1)), two.kid);
    world.replace('assert.jwk', two.text);
    await waitFor(async () => (await world.snapshot()).sources.some(isSettled), 10_000);
    await untilRecord(world, 'assertion.key_rotated', 2);
    t.same(kidsOf(await jwksOf(world)), [two.kid, one.kid]);
    t.same(inFile(), [two.kid, one.kid]);
    for (const text of assertions(world)) t.ok(await verified(text, await jwksOf(world)));
    const shown = [
      await world.metrics(),
      JSON.stringify(await world.snapshot()),
      JSON.stringify(world.records),
    ];
    const told = [...shown, JSON.stringify(world.diagnostics), readFileSync(file, 'utf8')].join('\n');
    for (const { secret } of [one, two]) t.notOk(told.includes(secret), 'nothing private is told anywhere');
    t.match(told, /countersign_reloads_total\{source="assertion-key",result="refused"\} 1/);
  },
);

t.test(
  'a key whose public half cannot be kept in its file does not sign: services could not verify it',
  async (t) => {
    const world = start((await newSealKey()).text, { extra: forwarding(', jwksFile: nowhere/keys.json') });
    await t.rejects(world, { message: /assertion-key: .*nowhere\/keys\.json: cannot be written \(ENOENT\)/ });
  },
);

t.test('the configuration that names the key, the audience or the place is reloaded live', async (t) => {
  const [one, two] = [await newSealKey(), await newSealKey()];
  const world = await start(one.text, { files: { 'two.jwk': two.text } });
  t.teardown(() => world.close());
  const client = await world.client();
  await client.ask(get('/public/a'));
  const config = readFileSync(join(world.dir, 'countersign.yaml'), 'utf8');
  const next = config
    .replace('key: assert.jwk', 'key: two.jwk, lifetime: 5m')
    .replace('audience: billing', 'audience: books');
  world.replace('countersign.yaml', next);
  await untilRecord(world, 'assertion.key_rotated', 0);
  await waitFor(async () => {
    await client.ask(get('/public/b'));
    return kidOf(assertions(world).at(-1)) === two.kid;
  });
  const { iat = 0, exp = 0 } = await verified(assertions(world).at(-1), await jwksOf(world), 'books');
  t.equal(exp - iat, 300);
  t.same(kidsOf(await jwksOf(world)), [two.kid, one.kid], 'the key of the file before is published on');
  t.same((await world.snapshot()).restartNeeded, []);
  world.replace(
    'countersign.yaml',
    config.replace(/forward: .*\n/, '').replace('assertion: { audience: ledger }', 'assertion: false'),
  );
  await waitFor(async () => {
    const before = assertions(world).length;
    await client.ask(get('/public/c'));
    return assertions(world).length === before;
  });
  t.notOk(existsSync(join(world.dir, 'keys.json')));
});

const kidsOf = ({ keys }: JSONWebKeySet): string[] => keys.map(({ kid }) => String(kid));
const kidOf = (text: string | undefined): string | undefined => decodeProtectedHeader(text ?? '').kid;
const isSettled = ({ name, lastError }: ReadRecord): boolean =>
  name === 'assertion-key' && lastError === undefined;

async function untilRecord(world: World, event: string, count = 1): Promise<ReadRecord> {
  const found = (): ReadRecord[] => world.records.filter((record) => record.event === event);
  await waitFor(
    () => found().length >= count,
    10_000,
    () => `${count} records ${event}`,
  );
  return found().at(-1) ?? {};
}
