import t from 'tap';
import { POLICY, type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const openConnections = async (world: World): Promise<number> =>
  ((await (await fetch(`${world.adminUrl}/connections`)).json()) as { total: number }).total;
const one = (world: World, from: string, to: string): string => world.configText().replace(from, to);

t.test(
  'a request that waits for an upstream connection is judged again before its first byte is sent',
  async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    world.replace(
      'countersign.yaml',
      one(world, `${world.upstream.port}" }`, `${world.upstream.port}", maxConnections: 1 }`),
    );
    await waitFor(async () => (await world.snapshot()).sequence > 1);
    let release = (): void => undefined;
    world.upstream.respond = ({ socket }) => {
      release = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    };
    const [admin, web] = [await world.client(world.admin), await world.client()];
    admin.send(GET);
    await waitFor(() => world.upstream.requests.length === 1);
    web.send(GET);
    world.replace('revoked.yaml', `version: 1\nrevoked:\n  - { id: "${world.web.uri}", reason: "test" }\n`);
    await waitFor(async () => (await world.snapshot()).revocations === 1);
    release();
    await web.untilClosed();
    t.equal(web.answers[0]?.status, 403);
    t.equal(JSON.parse(web.answers[0]?.body ?? '{}').reason, 'svid_revoked');
    await admin.until(() => admin.answers.length === 1);
    t.equal(admin.answers[0]?.status, 200);
    t.notMatch(world.upstream.bytes, /a\.test\/web/);
    const records = await world.untilRecords(2);
    const record = records.find((each) => each.principal?.id === world.web.uri);
    t.equal(record?.decision.effect, 'deny');
    t.equal(record?.decision.reason, 'svid_revoked');
  },
);

t.test('a request whose client leaves before it was sent is no allow in the records', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  world.replace(
    'countersign.yaml',
    one(world, `${world.upstream.port}" }`, `${world.upstream.port}", maxConnections: 1 }`),
  );
  await waitFor(async () => (await world.snapshot()).sequence > 1);
  world.upstream.respond = () => undefined;
  const [first, second] = [await world.client(world.admin), await world.client()];
  first.send(GET);
  await waitFor(() => world.upstream.requests.length === 1);
  second.send(GET);
  await waitFor(
    async () =>
      ((await (await fetch(`${world.adminUrl}/connections`)).json()) as ReadRecord).connections.filter(
        (c: ReadRecord) => c.open === 1,
      ).length === 2,
  );
  second.destroy();
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.effect, 'deny');
  t.equal(record?.decision.reason, 'client_aborted');
  t.equal(world.upstream.requests.length, 1);
});

t.test(
  'the record of an allowed request names who it was then, whatever became of the trust since',
  async (t) => {
    const world = await World.start({ extra: 'deadlines: { accessEnd: 0s }' });
    t.teardown(() => world.close());
    world.upstream.respond = () => undefined;
    const client = await world.client(world.bweb);
    client.send(GET);
    await waitFor(() => world.upstream.requests.length === 1);
    world.replace('b.pem', world.caC.certPem);
    await client.untilClosed();
    const [record] = await world.untilRecords(1);
    t.equal(record?.decision.effect, 'allow');
    t.equal(record?.principal.kind, 'workload');
    t.match(record?.principal.authority, /^[0-9a-f]{64}$/);
  },
);

t.test('a refused handshake is recorded with what was presented, also where that is no SVID', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const two = await world.caA.issue(['spiffe://a.test/web', 'spiffe://a.test/admin']);
  const client = await world.client(two);
  await waitFor(async () => (await openConnections(world)) === 1);
  client.destroy();
  const [record] = await world.untilRecords(1);
  t.equal(record?.event, 'handshake');
  t.equal(record?.decision.reason, 'svid_uri_san_count');
  t.equal(record?.principal.kind, 'none');
  t.equal(record?.principal.id, 'spiffe://a.test/web spiffe://a.test/admin');
  t.equal(record?.principal.sha256, two.sha256);
});

t.test('certificates that nobody vouches for are not kept when their connections are gone', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  for (let i = 0; i < 20; i++) {
    const client = await world.client(await world.caC.issue(`spiffe://c.test/w${i}`));
    await waitFor(async () => (await openConnections(world)) === 1);
    client.destroy();
    await waitFor(async () => (await openConnections(world)) === 0);
  }
  await world.untilRecords(20);
  t.same((await world.snapshot()).credentials, 0);
  await (await world.client()).ask(GET);
  t.same((await world.snapshot()).credentials, 1);
});

t.test('a deny is not got round by a form of the path that a lax upstream takes for another', async (t) => {
  const policy = POLICY.replace(
    'rules:\n',
    'rules:\n  - { id: no-users, effect: deny, principals: ["spiffe://a.test/**"], destinations: [r1], paths: ["/public/users/**"] }\n',
  );
  const world = await World.start({ policy });
  t.teardown(() => world.close());
  const client = await world.client();
  for (const path of [
    'users/1',
    'USERS/1',
    'users/',
    'u%C5%BFers/1',
    '%EF%BD%95sers/1',
    'users%20/1',
    'users./1',
    'users..%20/1',
  ]) {
    const [answer] = await client.ask(`GET /public/${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
    t.ok(answer?.status === 403 || answer?.status === 400, `${path}: ${answer?.status}`);
    if (answer?.headers.connection === 'close') break;
  }
  t.equal(world.upstream.bytes, '');
});
