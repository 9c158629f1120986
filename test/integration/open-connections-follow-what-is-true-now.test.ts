import { createServer, request as httpRequest } from 'node:http';
import t from 'tap';
import WebSocket, { WebSocketServer } from 'ws';
import { POLICY, type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const revoked = (entry: string): string => `version: 1\nrevoked:\n  - { ${entry}, reason: "test" }\n`;

for (const [name, entry] of [
  ['its SPIFFE ID', (w: World) => `id: "${w.web.uri}"`],
  ['an ID prefix', () => 'idPrefix: "spiffe://a.test/web"'],
  ['its fingerprint', (w: World) => `sha256: "${w.web.sha256}"`],
  ['its serial', (w: World) => `serial: "${w.web.serial}", issuer: ${JSON.stringify(w.caA.subject)}`],
] as const) {
  t.test(`a workload revoked by ${name} is put off its open connection, and others are not`, async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    const [web, admin] = [await world.client(), await world.client(world.admin)];
    t.equal((await web.ask(GET))[0]?.status, 200);
    t.equal((await admin.ask(GET))[0]?.status, 200);
    world.replace('revoked.yaml', revoked(entry(world)));
    await web.untilClosed();
    t.equal((await admin.ask(GET))[0]?.status, 200);
    const again = await world.client();
    const [answer] = await again.ask(GET);
    t.equal(answer?.status, 403);
    t.equal(JSON.parse(answer?.body ?? '{}').reason, 'svid_revoked');
    t.equal(answer?.headers.connection, 'close');
    const ends = (): ReadRecord[] =>
      world.records.filter((record) => record.event === 'connection.terminated');
    await waitFor(() => ends().length > 0);
    const terminated = ends();
    t.equal(terminated.length, 1);
    t.equal(terminated[0]?.reason, 'svid_revoked');
    t.equal(terminated[0]?.principal.id, world.web.uri);
    t.equal(world.upstream.requests.length, 3);
  });
}

t.test('a workload that was reissued after issuedBefore is let in again', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const until = new Date(Date.now() - 4000).toISOString();
  world.replace('revoked.yaml', revoked(`id: "${world.web.uri}", issuedBefore: ${until}`));
  const old = await world.client();
  await waitFor(async () => (await world.snapshot()).revocations === 1);
  await old.untilClosed();
  const fresh = await world.caA.issue(world.web.uri, { notBefore: new Date(Date.now() - 2000) });
  t.equal((await (await world.client(fresh)).ask(GET))[0]?.status, 200);
});

t.test('removing an authority ends what it verified, and only that', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const [web, bweb] = [await world.client(), await world.client(world.bweb)];
  t.equal((await web.ask(GET))[0]?.status, 200);
  t.equal((await bweb.ask(GET))[0]?.status, 200);
  world.replace('b.pem', world.caC.certPem);
  await bweb.untilClosed();
  t.equal((await web.ask(GET))[0]?.status, 200);
  const [answer] = await (await world.client(world.bweb)).ask(GET);
  t.equal(answer?.status, 403);
  t.equal(JSON.parse(answer?.body ?? '{}').reason, 'chain_untrusted');
});

t.test('a certificate that reaches its end is refused on the connection it opened', async (t) => {
  let skewMs = 0;
  const world = await World.start({
    nowMs: () => Date.now() + skewMs,
    extra: 'deadlines: { accessEnd: 0s }',
  });
  t.teardown(() => world.close());
  const short = await world.caA.issue('spiffe://a.test/web', { ttlMs: 600_000 });
  const client = await world.client(short);
  t.equal((await client.ask(GET))[0]?.status, 200);
  skewMs = 601_000;
  const answers = await client.ask(GET);
  t.ok(answers.length === 0 || answers[0]?.status === 403);
  await client.untilClosed();
  skewMs = 0; // the clock steps back (P033): the connection stays gone, nothing was forwarded
  t.equal(world.upstream.requests.length, 1);
});

t.test(
  'a policy that no longer allows: 403 on the open connection where something is left, closed where nothing is',
  async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    const [web, bweb] = [await world.client(), await world.client(world.bweb)];
    t.equal((await web.ask(GET))[0]?.status, 200);
    t.equal((await bweb.ask(GET))[0]?.status, 200);
    const before = (await world.snapshot()).policyRevision;
    world.replace('policy.yaml', POLICY.replace(/^ {2}- \{ id: public.*\n/m, ''));
    await bweb.untilClosed();
    await waitFor(async () => (await world.snapshot()).policyRevision !== before);
    const [answer] = await web.ask(GET);
    t.equal(answer?.status, 403);
    t.equal(JSON.parse(answer?.body ?? '{}').reason, 'policy_denied');
  },
);

type Change = (world: World, config: string) => void;
const endings: readonly (readonly [string, Change])[] = [
  [
    'the policy no longer allows it',
    (w) => w.replace('policy.yaml', POLICY.replace(/^ {2}- \{ id: ws.*\n/m, '')),
  ],
  ['its workload is revoked', (w) => w.replace('revoked.yaml', revoked(`id: "${w.web.uri}"`))],
  [
    'its route takes no upgrade now',
    (w, c) => w.replace('countersign.yaml', c.replace(', upgrade: [websocket]', '')),
  ],
  [
    'its upstream is another now',
    (w, c) => w.replace('countersign.yaml', c.replace(/url: "[^"]*"/, 'url: "http://127.0.0.1:9"')),
  ],
];

for (const [why, change] of endings) {
  t.test(`an open WebSocket ends when ${why}, and leaves a record at its start and at its end`, async (t) => {
    const server = createServer();
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const world = await World.start({ files: {} });
    t.teardown(async () => {
      await world.close();
      sockets.close();
      server.close();
    });
    const config = world.configText().replace(`127.0.0.1:${world.upstream.port}`, `127.0.0.1:${port}`);
    world.replace('countersign.yaml', config);
    await waitFor(async () => (await world.snapshot()).sequence > 1);
    const options = {
      cert: world.web.chainPem,
      key: world.web.keyPem,
      rejectUnauthorized: false,
      servername: 'svc.test',
      headers: { host: 'svc.test' },
    };
    const socket = new WebSocket(`wss://127.0.0.1:${world.port}/ws`, options);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', () => resolve()).once('error', reject);
    });
    const echo = new Promise((resolve) => socket.once('message', (data) => resolve(String(data))));
    socket.send('hello');
    t.equal(await echo, 'echo hello');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    change(world, config);
    await closed;
    const records = await world.untilRecords(2);
    t.same(
      records.map((record) => record.phase),
      ['start', 'end'],
    );
    t.equal(records[0]?.id, records[1]?.id);
    t.equal(records[1]?.response.outcome, 'access_ended');
    t.ok(records[1]?.request.bytes > 0);
  });
}

t.test('a request in flight may finish for deadlines.accessEnd; with 0s it is cut at once', async (t) => {
  for (const [setting, whole] of [
    ['5s', true],
    ['0s', false],
  ] as const) {
    const world = await World.start({ extra: `deadlines: { accessEnd: ${setting} }` });
    t.teardown(() => world.close());
    let release = (): void => undefined;
    world.upstream.respond = ({ socket }) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab');
      release = () => socket.write('cd');
    };
    const client = await world.client();
    client.send(GET);
    await client.until(() => client.received.endsWith('ab'));
    world.replace('revoked.yaml', revoked(`id: "${world.web.uri}"`));
    if (whole) {
      await waitFor(async () => (await world.snapshot()).revocations === 1);
      release();
    }
    await client.untilClosed();
    t.equal(client.answers.length, whole ? 1 : 0, setting);
    const [record] = await world.untilRecords(1);
    t.equal(record?.response.outcome, whole ? 'complete' : 'access_ended');
  }
});

t.test('the admin listener is not reachable through the proxy and takes no orders from pages', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const status = await new Promise<number | undefined>((resolve) => {
    const { port } = new URL(world.adminUrl);
    httpRequest(
      { host: '127.0.0.1', port, path: '/drain', method: 'POST', headers: { origin: 'http://evil.test' } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    ).end();
  });
  t.equal(status, 403);
  t.equal(
    (await (await world.client()).ask('GET /snapshot HTTP/1.1\r\nHost: svc.test\r\n\r\n'))[0]?.status,
    404,
  );
});
