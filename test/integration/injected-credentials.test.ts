import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Http2Client } from '../support/http2-client.js';
import { answerOk } from '../support/recorder-upstream.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const SECRET = 'c0unters1gn-l3gacy-k3y';
const routes = `
      - { name: key, host: svc.test, path: /key/**, upstream: u, upgrade: [websocket], injectCredential: { header: x-api-key, file: key.txt } }
      - { name: bearer, host: svc.test, path: /bearer/**, upstream: u, injectCredential: { header: authorization, prefix: "Bearer ", file: key.txt } }
      - { name: plain, host: svc.test, path: /plain/**, upstream: u }`;
const policy = `version: 1
default: deny
rules:
  - { id: all, effect: allow, principals: ["spiffe://a.test/web"], destinations: [u] }
`;
const start = (options: WorldOptions = {}): Promise<World> =>
  World.start({ routes, policy, ...options, files: { 'key.txt': `${SECRET}\n`, ...options.files } });

const get = (path: string, ...lines: string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

/** What a server could take for this header, in the order in which it came. */
const linesLike = (world: World, name: string): string[][] =>
  world.upstream.requests.map(({ headers }) =>
    headers
      .filter(([key]) => key.toLowerCase().replace(/[^a-z0-9]/g, '-') === name)
      .map(([, value]) => value),
  );

/** Everything that the proxy says anywhere. */
async function toldBy(world: World): Promise<string> {
  const shown = [await world.metrics(), JSON.stringify(await world.snapshot())];
  const page = await fetch(`${world.adminUrl}/`);
  const records = readFileSync(join(world.dir, 'audit.ndjson'), 'utf8');
  return [...shown, await page.text(), records, JSON.stringify(world.diagnostics)].join('\n');
}

t.test(
  'the secret is put in last, once, in the place of whatever the caller sent by that name in any spelling',
  async (t) => {
    const world = await start();
    t.teardown(() => world.close());
    const client = await world.client();
    const forged = [
      'x-api-key: forged',
      'X-API-KEY: forged',
      'X_Api_Key: forged',
      'x.api.key: forged',
      "x'api'key: forged",
    ];
    await client.ask(get('/key/a', ...forged, 'Connection: x-api-key'));
    await client.ask(get('/bearer/a', 'Authorization: Basic Zm9yZ2Vk', 'AUTHORIZATION: Bearer forged'));
    t.same(linesLike(world, 'x-api-key')[0], [SECRET]);
    t.same(linesLike(world, 'authorization')[1], [`Bearer ${SECRET}`]);
    t.notMatch(world.upstream.bytes, /forged|Zm9yZ2Vk/);
    for (const { headers } of world.upstream.requests.slice(0, 2)) {
      const ours = headers.filter(([name]) => !['host', 'connection'].includes(name.toLowerCase()));
      t.match(ours.at(-1)?.[1], SECRET, 'nothing comes behind it');
    }
  },
);

t.test('a route without one leaves these headers to its callers', async (t) => {
  const world = await start();
  t.teardown(() => world.close());
  const client = await world.client();
  await client.ask(get('/plain/a', 'X-Api-Key: own', 'Authorization: Basic b3du'));
  t.same(linesLike(world, 'x-api-key'), [['own']]);
  t.same(linesLike(world, 'authorization'), [['Basic b3du']]);
  const [record] = await world.untilRecords(1);
  t.equal(record?.upstream, undefined);
});

t.test('HTTP/2 and WebSocket callers get it put in as well', async (t) => {
  const world = await start();
  t.teardown(() => world.close());
  const http2 = await Http2Client.open(world.port, world.web);
  t.teardown(() => http2.destroy());
  t.equal((await http2.ask('/key/a', { 'x-api-key': 'forged', x_api_key: 'forged' })).status, 200);
  world.upstream.respond = (connection) =>
    void connection.socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
  const client = await world.client();
  const handshake = ['Sec-WebSocket-Version: 13', `Sec-WebSocket-Key: ${'A'.repeat(22)}==`];
  client.send(get('/key/ws', 'Connection: Upgrade', 'Upgrade: websocket', 'X_API_KEY: forged', ...handshake));
  await client.until(() => client.received.includes('101'));
  world.upstream.respond = answerOk;
  t.same(linesLike(world, 'x-api-key'), [[SECRET], [SECRET]]);
  t.notMatch(world.upstream.bytes, /forged/);
});

t.test('whoever is refused is not put anything in for', async (t) => {
  const world = await start();
  t.teardown(() => world.close());
  const client = await world.client(world.admin);
  const [answer] = await client.ask(get('/key/a'));
  t.equal(answer?.status, 403);
  t.match(answer?.body, /policy_denied/);
  t.equal(world.upstream.bytes, '');
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.reason, 'no_rule_matched');
  t.equal(record?.upstream, undefined);
  t.notMatch(await world.metrics(), /injected_credential_requests_total\{/);
});

t.test(
  'records and a metric say how much still rests on a secret, and the secret is told nowhere',
  async (t) => {
    const world = await start();
    t.teardown(() => world.close());
    const client = await world.client();
    await client.ask(get('/key/a') + get('/key/b') + get('/bearer/a'), 3);
    const records = await world.untilRecords(3);
    t.same(
      records.map(({ upstream }) => upstream.injected),
      ['x-api-key', 'x-api-key', 'authorization'],
    );
    world.upstream.respond = (connection) => connection.socket.destroy();
    const [failed] = await client.ask(get('/key/c'));
    t.equal(failed?.status, 502);
    t.notMatch(client.received, SECRET, 'no answer of ours holds it');
    world.replace('key.txt', `${SECRET}-next\r\nsecond line\n`);
    await waitFor(async () =>
      (await world.snapshot()).sources.some(({ lastError }: { lastError?: string }) => lastError),
    );
    const told = await toldBy(world);
    t.match(told, /countersign_injected_credential_requests_total\{route="key"\} 3/);
    t.match(told, /countersign_injected_credential_requests_total\{route="bearer"\} 1/);
    t.match(told, /injected-credential:key/);
    t.notOk(told.includes(SECRET), 'the secret is nowhere in what is told');
    t.notOk(told.includes('second line'), 'nor is what else stands in its file');
  },
);

t.test(
  'a secret that is replaced is the one of the next request, and a broken file changes nothing',
  async (t) => {
    const world = await start();
    t.teardown(() => world.close());
    const client = await world.client();
    await client.ask(get('/key/a'));
    world.replace('key.txt', 'two\nlines\n');
    await waitFor(async () => /injected-credential:key.*refused/.test(await world.metrics()));
    await client.ask(get('/key/b'));
    world.replace('key.txt', 'next-secret\n');
    await waitFor(async () => {
      await client.ask(get('/key/c'));
      return linesLike(world, 'x-api-key').at(-1)?.[0] === 'next-secret';
    });
    t.same(linesLike(world, 'x-api-key').slice(0, 2), [[SECRET], [SECRET]]);
    t.same((await world.snapshot()).restartNeeded, []);
  },
);

t.test('a file that is not there is said at the start, with its place', async (t) => {
  const missing = routes.replaceAll('key.txt', 'missing.txt');
  await t.rejects(start({ routes: missing }), {
    message: /injected-credential:key: .*missing\.txt: cannot be read \(ENOENT\)/,
  });
});
