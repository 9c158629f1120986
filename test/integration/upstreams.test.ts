import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { formatProblem } from '../../src/config/problem.js';
import { answerOk, RecorderUpstream } from '../support/recorder-upstream.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const POST = 'POST /public/a HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 5\r\n\r\nhello';

async function servers(t: Test, count: number): Promise<RecorderUpstream[]> {
  const all: RecorderUpstream[] = [];
  for (let i = 0; i < count; i++) all.push(await new RecorderUpstream().open());
  t.teardown(() => Promise.all(all.map((server) => server.close().catch(() => undefined))));
  return all;
}

/** A world whose upstream `u` is this. */
async function worldWith(t: Test, upstream: string, files: Record<string, string> = {}): Promise<World> {
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig({ files });
  world.write('countersign.yaml', withUpstream(world, upstream));
  await world.run();
  return world;
}

const withUpstream = (world: World, upstream: string): string =>
  world.configText().replace(/^ {2}u: .*$/m, `  u: ${upstream}`);

const urls = (all: readonly RecorderUpstream[]): string =>
  all.map(({ port }) => `"http://127.0.0.1:${port}"`).join(', ');

t.test(
  'one of three targets dies under load: no safe request fails, and no POST is delivered twice',
  async (t) => {
    const all = await servers(t, 3);
    const world = await worldWith(t, `{ targets: [${urls(all)}], ejection: { failures: 3, for: 30s } }`);
    const statuses: Record<string, number> = {};
    let posts = 0;
    const run = async (round: number): Promise<void> => {
      const client = await world.client();
      for (let i = 0; i < 60; i++) {
        if (round === 0 && i === 20) {
          const [dying] = all;
          for (const { socket } of dying!.connections) socket.resetAndDestroy();
          dying!.server.close();
        }
        const isPost = i % 3 === 2;
        const text = isPost ? POST.replace('/a ', `/p-${round}-${++posts} `) : GET;
        const [answer] = await client.ask(text);
        const key = `${isPost ? 'POST' : 'GET'} ${answer?.status}`;
        statuses[key] = (statuses[key] ?? 0) + 1;
      }
    };
    await Promise.all([0, 1, 2, 3].map(run));
    t.equal(statuses['GET 200'], 160, JSON.stringify(statuses));
    t.same(
      Object.keys(statuses).filter((key) => !['GET 200', 'POST 200', 'POST 502'].includes(key)),
      [],
    );
    const delivered = all.flatMap(({ requests }) =>
      requests.map(({ method, target }) => `${method} ${target}`),
    );
    const once = delivered.filter((line) => line.startsWith('POST'));
    t.equal(new Set(once).size, once.length, 'no POST twice');
    const { upstreams } = await world.snapshot();
    t.equal(upstreams.u.length, 3);
    t.match(upstreams.u[0].lastError.problem, /^upstream_/);
    const metrics = await world.metrics();
    t.match(metrics, /countersign_upstream_targets\{upstream="u",state="(available|ejected)"\}/);
    t.match(metrics, /countersign_upstream_retries_total\{upstream="u"\} [1-9]/);
    t.match(metrics, /countersign_upstream_connections\{upstream="u"\} \d/);
    const records = await world.untilRecords(240);
    const again = records.filter(({ upstream }) => upstream?.attempts > 1);
    t.ok(again.every(({ request }: ReadRecord) => request.method === 'GET'));
  },
);

t.test(
  'a service that flaps: answers are 200, 502 or 504, nothing unsafe twice, and it recovers at once',
  async (t) => {
    const all = await servers(t, 1);
    const [server] = all;
    const world = await worldWith(t, `{ targets: [${urls(all)}], timeouts: { connect: 1s, response: 1s } }`);
    const client = await world.client();
    const seen = new Set<number | undefined>();
    for (let round = 0; round < 6; round++) {
      server!.respond = round % 2 === 0 ? answerOk : ({ socket }) => socket.resetAndDestroy();
      for (let i = 0; i < 10; i++) {
        const [answer] = await client.ask(i % 2 === 0 ? GET : POST.replace('/a ', `/r${round}-${i} `));
        seen.add(answer?.status);
        if (round % 2 === 0 && i > 0) t.equal(answer?.status, 200);
      }
    }
    t.same([...seen].sort(), [200, 502]);
    const targets = server!.requests.filter(({ method }) => method === 'POST').map(({ target }) => target);
    t.equal(new Set(targets).size, targets.length);
    const text = await world.metrics();
    t.match(text, /countersign_upstream_targets\{upstream="u",state="available"\} 1/);
  },
);

t.test('a reload adds and takes away targets; those that stay keep their connections', async (t) => {
  const all = await servers(t, 2);
  const [first, second] = all;
  const world = await worldWith(t, `{ targets: [${urls([first!])}] }`);
  const client = await world.client();
  t.equal((await client.ask(GET))[0]?.status, 200);
  world.replace('countersign.yaml', withUpstream(world, `{ targets: [${urls(all)}] }`));
  await world.untilSnapshot(({ upstreams }) => upstreams.u.length === 2);
  for (let i = 0; i < 4; i++) t.equal((await client.ask(GET))[0]?.status, 200);
  t.equal(first!.connections.length, 1);
  t.equal(second!.requests.length, 2);
  world.replace('countersign.yaml', withUpstream(world, `{ targets: [${urls([second!])}] }`));
  await waitFor(() => first!.connections[0]?.closed === true);
  t.equal((await client.ask(GET))[0]?.status, 200);
  t.equal(second!.connections.length, 1);
});

async function tlsService(t: Test, world: World, name: string): Promise<number> {
  const svid = await world.caC.issue([], { otherSans: [`DNS:${name}`] });
  const server = createHttps({ cert: svid.chainPem, key: svid.keyPem }, (_request, response) => {
    response.end('over TLS');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

t.test('a TLS service by a private authority; a broken file keeps the last good, and says so', async (t) => {
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig({ files: { 'ca.pem': world.caC.certPem } });
  const port = await tlsService(t, world, 'svc.internal');
  const upstream = `{ url: "https://127.0.0.1:${port}", tls: { ca: ca.pem, serverName: svc.internal } }`;
  world.write('countersign.yaml', withUpstream(world, upstream));
  await world.run();
  const client = await world.client();
  t.match((await client.ask(GET))[0], { status: 200, body: 'over TLS' });
  world.replace('ca.pem', 'rubbish');
  await world.app.reload();
  t.match((await client.ask(GET))[0], { status: 200 });
  const said = world.diagnostics.find(
    ({ message }) => message === 'authorities of an upstream cannot be read',
  );
  t.match(said, {
    level: 'error',
    detail: { problem: /^upstreams\.u\.tls\.ca: .*ca\.pem: holds no certificate/ },
  });
  world.replace('ca.pem', world.caB.certPem);
  await world.app.reload();
  t.equal((await client.ask(GET))[0]?.status, 502);
  const [, , record] = await world.untilRecords(3);
  t.match(JSON.stringify(record), /upstream_untrusted/);
});

t.test('without good authorities it does not start, and says which file', async (t) => {
  const upstream = '{ url: "https://127.0.0.1:1", tls: { ca: ca.pem } }';
  for (const content of ['', 'rubbish'])
    await t.rejects(worldWith(t, upstream, { 'ca.pem': content }), {
      message: /upstreams\.u\.tls\.ca: .*ca\.pem: holds no certificate/,
    });
});

t.test("a route's own time to connect replaces the upstream's", async (t) => {
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig();
  const config = withUpstream(
    world,
    '{ url: "https://127.0.0.1:PORT", tls: { ca: a.pem }, timeouts: { connect: 30s } }',
  );
  const silent = await new RecorderUpstream().open(); // takes the ClientHello and says nothing
  silent.respond = () => undefined;
  t.teardown(() => silent.close());
  world.write(
    'countersign.yaml',
    config
      .replace('PORT', String(silent.port))
      .replace('path: /public/**, upstream: u', '$&, deadlines: { upstreamConnect: 200ms }'),
  );
  await world.run();
  const client = await world.client();
  const before = performance.now();
  t.equal((await client.ask(GET))[0]?.status, 504);
  t.ok(performance.now() - before < 5000);
  const [record] = await world.untilRecords(1);
  t.match(JSON.stringify(record), /upstream_connect_timeout/);
});

t.test('config/upstreams.yaml is good, and docs/upstreams.md shows a part of it', async (t) => {
  const { problems, warnings } = await loadConfig('config/upstreams.yaml', {});
  t.same([...problems, ...warnings].map(formatProblem), []);
  const example = parse(readFileSync('config/upstreams.yaml', 'utf8')) as ReadRecord;
  const [, shown = ''] = /```yaml\n(.*?)```/s.exec(readFileSync('docs/upstreams.md', 'utf8')) ?? [];
  const { maxConnections: _most, ...billing } = example.upstreams.billing;
  t.same(parse(shown), { upstreams: { billing } });
});
