import type { webcrypto } from 'node:crypto';
import t, { type Test } from 'tap';
import { generateKeys, type Svid } from '../support/pki.js';
import type { RawClient } from '../support/raw-client.js';
import { GET } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const HOUR = 3_600_000;
const SECOND_LISTENER = `
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: r2, host: svc.test, path: /admin/**, upstream: u }
      - { name: r3, host: svc.test, path: /upload, upstream: u }
      - { name: r4, host: svc.test, path: /ws, upstream: u, upgrade: [websocket] }
      - { name: r5, host: locked.test, path: /**, upstream: u }
  - name: six
    address: "[::1]:0"
    routes: [{ name: v6, path: /public/**, upstream: u }]`;

async function start(t: Test, signals = '{}', options: WorldOptions = {}): Promise<World> {
  const world = await World.start({ ...options, audit: `audit.ndjson, signals: ${signals}` });
  t.teardown(() => world.close());
  return world;
}

const ofEvent = (world: World, event: string): ReadRecord[] =>
  world.records.filter((record) => record.event === event);
const shared = (world: World): ReadRecord[] => ofEvent(world, 'credential.shared');
async function until(world: World, event: string, count = 1): Promise<ReadRecord[]> {
  await waitFor(
    () => ofEvent(world, event).length >= count,
    10_000,
    () => `${count} ${event}`,
  );
  return ofEvent(world, event);
}

async function from(world: World, svid: Svid, localAddress: string): Promise<RawClient> {
  const isSix = localAddress.includes(':');
  const port = Number(
    world.app.addresses
      .get(isSix ? 'six' : 'inbound')
      ?.split(':')
      .at(-1),
  );
  const client = await world.client(svid, { localAddress, port, ...(isSix ? { host: '::1' } : {}) });
  await client.ask(GET);
  return client;
}

const gauge = async (world: World, kind: string): Promise<string | undefined> =>
  new RegExp(`^countersign_shared_credentials\\{kind="${kind}"\\} (\\d+)$`, 'm').exec(
    await world.metrics(),
  )?.[1];

t.test('one key in use from several addresses at once is told, once while it lasts', async (t) => {
  const world = await start(t, '{}', { routes: SECOND_LISTENER });
  await from(world, world.web, '127.0.0.1');
  await from(world, world.web, '127.0.0.1');
  await from(world, world.web, '::1');
  await world.untilRecords(3);
  t.same(shared(world), [], 'an IPv4 and an IPv6 address are how a host has them');
  t.equal(await gauge(world, 'addresses'), '0');

  await from(world, world.web, '127.0.0.2');
  const [record] = await until(world, 'credential.shared');
  t.match(record, {
    source: 'inbound',
    principal: { id: world.web.uri, kind: 'workload' },
    shared: { kind: 'addresses', total: 3, networks: 2, addresses: ['127.0.0.1', '::1', '127.0.0.2'] },
    policyRevision: /^[0-9a-f]+$/,
  });
  await from(world, world.web, '127.0.0.3');
  t.equal(await gauge(world, 'addresses'), '1');
  t.match((await world.snapshot()).signals.shared, {
    total: 1,
    shown: [{ kind: 'addresses', networks: 3, id: world.web.uri, keySha256: record?.principal.keySha256 }],
  });
  t.equal(shared(world).length, 1);
});

t.test('what was over for a while and returns is told again', async (t) => {
  let nowMs = Date.now();
  const world = await start(t, '{ over: 10m }', { nowMs: () => nowMs });
  const svid = await world.caA.issue(world.web.uri, { ttlMs: 24 * HOUR });
  await from(world, svid, '127.0.0.1');
  const second = await from(world, svid, '127.0.0.2');
  await until(world, 'credential.shared');
  second.destroy();
  const openOnes = async (): Promise<number> =>
    ((await (await fetch(`${world.adminUrl}/connections`)).json()) as ReadRecord).total;
  await waitFor(async () => (await openOnes()) === 1);
  t.equal(await gauge(world, 'addresses'), '1', 'it lasts a while');
  nowMs += 9 * 60_000;
  const third = await from(world, svid, '127.0.0.2');
  third.destroy();
  await waitFor(async () => (await openOnes()) === 1);
  await world.untilRecords(3);
  t.equal(shared(world).length, 1, 'it was not over');
  nowMs += 10 * 60_000;
  t.equal(await gauge(world, 'addresses'), '0');
  await from(world, svid, '127.0.0.2');
  t.equal((await until(world, 'credential.shared', 2)).length, 2);
});

t.test('one key under several IDs is always told', async (t) => {
  const world = await start(t);
  const keys: webcrypto.CryptoKeyPair = await generateKeys();
  const one = await world.caA.issue('spiffe://a.test/one', { keys });
  const renewed = await world.caA.issue('spiffe://a.test/one', { keys });
  const other = await world.caB.issue('spiffe://b.test/other', { keys });
  for (const svid of [one, renewed]) (await from(world, svid, '127.0.0.1')).destroy();
  await world.untilRecords(2);
  t.same(shared(world), [], 'a renewal may keep its key');
  await from(world, other, '127.0.0.1');
  const [record] = await until(world, 'credential.shared');
  t.match(record, {
    principal: { id: other.uri },
    shared: { kind: 'ids', total: 2, ids: [one.uri, other.uri] },
  });
  await from(world, one, '127.0.0.1');
  await world.untilRecords(4);
  t.equal(shared(world).length, 1);
  t.equal(await gauge(world, 'ids'), '1');
});

t.test(
  'one ID with unusually many certificates in use is told; twenty nodes that renew are not',
  async (t) => {
    const world = await start(t);
    const issue = (): Promise<Svid> => world.caA.issue(world.web.uri);
    const nodes = await Promise.all(Array.from({ length: 20 }, (_, i) => `127.0.1.${i + 1}`));
    for (const node of nodes)
      for (const svid of [await issue(), await issue()]) await from(world, svid, node);
    await world.untilRecords(40);
    t.same(shared(world), [], 'one SVID for each entry and node, and renewals overlap');
    t.same(ofEvent(world, 'credential.near_expiry'), []);

    const small = await start(t, '{ liveCertificates: 4 }');
    const again = await small.caA.issue(small.web.uri);
    for (let i = 0; i < 3; i++) (await from(small, again, '127.0.0.1')).destroy();
    for (let i = 0; i < 2; i++)
      (await from(small, await small.caA.issue(small.web.uri), '127.0.0.1')).destroy();
    await small.untilRecords(5);
    t.same(shared(small), [], 'three');
    for (let i = 0; i < 3; i++) await from(small, await small.caA.issue(small.web.uri), '127.0.0.1');
    await small.untilRecords(8);
    t.equal(shared(small).length, 1, 'once');
    t.match(shared(small)[0], {
      principal: { id: small.web.uri },
      shared: { kind: 'certificates', total: 4 },
    });
    t.equal(await gauge(small, 'certificates'), '1');
  },
);

t.test('strangers and the refused raise nothing', async (t) => {
  const world = await start(t);
  const keys = await generateKeys();
  const foreign = [
    await world.caC.issue('spiffe://c.test/a', { keys }),
    await world.caC.issue('spiffe://c.test/b', { keys }),
    await world.caA.issue('spiffe://a.test/x', {
      keys,
      notBefore: new Date(Date.now() - 2 * HOUR),
      notAfter: new Date(Date.now() - HOUR),
    }),
  ];
  for (const [i, svid] of foreign.entries())
    for (const address of ['127.0.0.1', '127.0.0.2']) {
      const client = await world.client(svid, { localAddress: address });
      await client.ask(`GET /public/${i} HTTP/1.1\r\nHost: svc.test\r\nAuthorization: Basic eDp5\r\n\r\n`);
    }
  const records = await world.untilRecords(6);
  t.same(
    records.map(({ request }) => request.secrets),
    Array.from({ length: 6 }, () => ['basic']),
  );
  for (const event of [
    'credential.shared',
    'static_secret.observed',
    'identity.first_seen',
    'edge.first_seen',
  ])
    t.same(ofEvent(world, event), [], event);
  t.notMatch(await world.metrics(), /static_secrets_total\{/);
  t.same((await world.snapshot()).signals.memory.keys, { known: 0 });
});

t.test('a certificate near its end that opens connections still is told once', async (t) => {
  const world = await start(t);
  const aged = (minutesLeft: number): Promise<Svid> =>
    world.caA.issue(world.web.uri, {
      notBefore: new Date(Date.now() - (60 - minutesLeft) * 60_000),
      notAfter: new Date(Date.now() + minutesLeft * 60_000),
    });
  const half = await aged(29);
  const old = await aged(11);
  await from(world, half, '127.0.0.1');
  const idle = await world.client(old);
  await waitFor(async () => (await world.snapshot()).credentials === 2);
  t.same(ofEvent(world, 'credential.near_expiry'), [], 'nothing was asked with it');
  await idle.ask(GET);
  await idle.ask(GET);
  await from(world, old, '127.0.0.1');
  await world.untilRecords(4);
  const told = ofEvent(world, 'credential.near_expiry');
  t.equal(told.length, 1);
  t.match(told[0], {
    source: 'inbound',
    principal: { serial: old.serial },
    detail: /^6[56]\d seconds of its life/,
  });
});

t.test('static secrets are told by kind, caller and route, and never what they are', async (t) => {
  const world = await start(t);
  const basic = Buffer.from('user:hunter2hunter2').toString('base64');
  const client = await world.client();
  const ask = (path: string, ...lines: readonly string[]): Promise<unknown> =>
    client.ask(
      `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`,
    );
  for (let i = 0; i < 3; i++) await ask('/public/a', `Authorization: Basic ${basic}`);
  await ask('/public/a', 'X_Api_Key: hunter2hunter2');
  await ask('/public/a?api_key=hunter2hunter2', 'Proxy-Authorization: Basic aHVudGVyMg');
  await ask('/admin/a', `authorization:\tBasic   ${basic}`);
  await ask('/public/a', 'Accept: */*');
  const records = await world.untilRecords(7);
  t.same(
    records.map(({ request }) => request.secrets),
    [['basic'], ['basic'], ['basic'], ['api_key'], ['basic', 'query'], ['basic'], undefined],
  );
  const told = await until(world, 'static_secret.observed', 4);
  t.same(
    told.map(({ secret, request }) => [secret.kind, secret.name, request.route, request.listener]),
    [
      ['basic', 'authorization', 'r1', 'inbound'],
      ['api_key', 'x-api-key', 'r1', 'inbound'],
      ['query', 'api_key', 'r1', 'inbound'],
      ['basic', 'authorization', 'r2', 'inbound'],
    ],
    'also where it was refused: it did arrive',
  );
  t.ok(told.every(({ principal }) => principal.id === world.web.uri));
  const metrics = await world.metrics();
  t.match(metrics, /^countersign_static_secrets_total\{route="r1",kind="basic"\} 4$/m);
  t.match(metrics, /^countersign_static_secrets_total\{route="r1",kind="query"\} 1$/m);
  t.match(metrics, /^countersign_static_secrets_total\{route="r2",kind="basic"\} 1$/m);
  const all = JSON.stringify([world.records, world.diagnostics, await world.snapshot()]) + metrics;
  for (const secret of ['hunter2', basic, basic.slice(0, 12), 'aHVudGVyMg']) t.notMatch(all, secret);
});

t.test('an open tunnel is told of when it opens, and once', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }) =>
    void socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    );
  const tunnel = await world.client();
  tunnel.send(
    'GET /ws HTTP/1.1\r\nHost: svc.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Basic eDp5\r\n\r\n',
  );
  await until(world, 'edge.first_seen');
  t.match(await until(world, 'static_secret.observed'), [{ request: { route: 'r4', destination: 'u' } }]);
  tunnel.destroy();
  const records = await world.untilRecords(2);
  t.same(
    records.map(({ phase, request }) => [phase, request.secrets]),
    [
      ['start', ['basic']],
      ['end', ['basic']],
    ],
  );
  t.match(await world.metrics(), /^countersign_static_secrets_total\{route="r4",kind="basic"\} 1$/m);
});

t.test('identities and edges are told where they are seen first', async (t) => {
  const world = await start(t);
  await from(world, world.web, '127.0.0.1');
  const again = await from(world, world.web, '127.0.0.1');
  await again.ask('GET /admin/a HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  await (await world.client(world.bweb)).ask('GET /admin/a HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  await world.untilRecords(4);
  const ids = await until(world, 'identity.first_seen', 2);
  t.same(
    ids.map(({ principal }) => principal.id),
    [world.web.uri, world.bweb.uri],
  );
  t.match(ofEvent(world, 'edge.first_seen'), [
    { principal: { id: world.web.uri }, request: { listener: 'inbound', route: 'r1', destination: 'u' } },
  ]);
  t.equal(ofEvent(world, 'edge.first_seen').length, 1, 'what was refused is no edge');
});

t.test('false switches each of them off, also while it runs', async (t) => {
  const off =
    '{ sharedAddresses: false, sharedIds: false, liveCertificates: false, nearExpiry: false, staticSecrets: false, firstSeen: false }';
  const world = await start(t, off);
  const keys = await generateKeys();
  const times = { notBefore: new Date(Date.now() - HOUR), notAfter: new Date(Date.now() + 60_000) };
  const one = await world.caA.issue('spiffe://a.test/one', { keys, ...times });
  const two = await world.caA.issue('spiffe://a.test/two', { keys, ...times });
  const secret = GET.replace('\r\n\r\n', '\r\nAuthorization: Basic eDp5\r\n\r\n');
  const clients: RawClient[] = [];
  for (const svid of [one, two])
    for (const address of ['127.0.0.1', '127.0.0.2']) clients.push(await from(world, svid, address));
  await clients[0]?.ask(secret);
  const records = await world.untilRecords(5);
  t.equal(records[4]?.request.secrets, undefined);
  const signals = /^(credential|static_secret|identity|edge)\./;
  t.same(
    world.records.filter(({ event }) => signals.test(event)),
    [],
  );

  const sequence = (await world.snapshot()).sequence;
  world.replace('countersign.yaml', world.configText({ audit: 'audit.ndjson' }));
  const now = await world.untilSnapshot((snapshot) => snapshot.sequence > sequence);
  t.same(now.restartNeeded, []);
  await clients[0]?.ask(secret);
  await until(world, 'static_secret.observed');
  await from(world, one, '127.0.0.1');
  t.same(
    (await until(world, 'credential.shared', 2)).map(({ shared }) => shared.kind),
    ['addresses', 'ids'],
  );
});

t.test('requests are counted by principal where that is asked for, up to so many', async (t) => {
  const silent = await start(t);
  await from(silent, silent.web, '127.0.0.1');
  await silent.untilRecords(1);
  t.notMatch(await silent.metrics(), /principal_requests_total\{/);

  const world = await start(t, '{}', { extra: 'metrics: { principals: 2 }' });
  const extra = await world.caA.issue('spiffe://a.test/extra');
  for (const svid of [world.web, world.bweb, extra, world.admin, world.web])
    await from(world, svid, '127.0.0.1');
  const client = await world.client(world.web);
  await client.ask('GET /admin/a HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  await client.ask('GET /nowhere HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  const stranger = await world.client(await world.caC.issue('spiffe://c.test/x'));
  await stranger.ask(GET);
  await world.untilRecords(8);
  const series = [...(await world.metrics()).matchAll(/^countersign_principal_requests_total(\{.*)$/gm)];
  t.same(series.map(([, one]) => one).sort(), [
    `{principal="other",destination="u",effect="allow"} 2`,
    `{principal="${world.web.uri}",destination="",effect="deny"} 1`,
    `{principal="${world.web.uri}",destination="u",effect="allow"} 2`,
    `{principal="${world.web.uri}",destination="u",effect="deny"} 1`,
    `{principal="${world.bweb.uri}",destination="u",effect="allow"} 1`,
  ]);
});
