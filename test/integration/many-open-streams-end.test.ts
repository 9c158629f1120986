import t, { type Test } from 'tap';
import { EchoService } from '../support/echo-service.js';
import { EchoServer, openSocket } from '../support/echo-socket.js';
import { Http2Client } from '../support/http2-client.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';
import { startTcpWorld, TcpService } from '../support/tcp-world.js';

const MANY = 200;
const AT_ONCE = 20;
const CALLS = 40;
const GRPC_POLICY = `version: 1
default: deny
rules:
  - { id: echo, effect: allow, principals: ["spiffe://a.test/web"], destinations: [grpc], methods: [POST], paths: ["/test.Echo/*"] }
`;
/** An empty message: not compressed, no bytes. */
const MESSAGE = '\0\0\0\0\0';

/** In groups: a machine has no room for as many handshakes at once. */
async function openMany<T>(count: number, open: () => Promise<T>): Promise<T[]> {
  const opened: T[] = [];
  while (opened.length < count)
    opened.push(
      ...(await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - opened.length) }, open))),
    );
  return opened;
}

const revoke = (world: World): void =>
  world.replace('revoked.yaml', `version: 1\nrevoked: [{ id: "${world.web.uri}", reason: test }]\n`);

const isEnd = ({ event, phase }: ReadRecord): boolean => event === 'access' && phase !== 'start';
const ofEvent = (world: World, event: string): ReadRecord[] =>
  world.records.filter((record) => record.event === event);

/** Each stream has one end, each connection one record of its own, and all of that comes before the word that it is done. */
async function checkRecords(t: Test, world: World, streams: number, connections: number): Promise<void> {
  await waitFor(() => ofEvent(world, 'revocation.enforced').length > 0);
  const { records } = world;
  const enforced = records.findIndex(({ event }) => event === 'revocation.enforced');
  t.equal(records[enforced]?.connections, connections);
  const before = records.slice(0, enforced);
  const ends = before.filter(isEnd);
  t.equal(ends.length, streams);
  t.equal(new Set(ends.map(({ id }) => id)).size, streams);
  t.same([...new Set(ends.map(({ response }) => response.outcome))], ['access_ended']);
  t.same([...new Set(ends.map(({ response }) => response.reason))], ['access_ended']);
  t.same([...new Set(ends.map(({ decision }) => decision.effect))], ['allow'], 'they had been let through');
  const terminated = before.filter(({ event }) => event === 'connection.terminated');
  t.equal(terminated.length, connections);
  t.same([...new Set(terminated.map(({ reason }) => reason))], ['svid_revoked']);
  const slowest = Math.max(...terminated.map(({ latencyMs }) => latencyMs));
  t.equal(records[enforced]?.latencyMs, slowest, 'it took as long as the last of them');
  t.equal(records.slice(enforced).filter(isEnd).length, 0);
}

t.test('hundreds of WebSockets of one identity end together, each with its records', async (t) => {
  const server = await new EchoServer().open();
  const world = await World.start({ upstreams: `\n  u: { url: "http://127.0.0.1:${server.port}" }` });
  t.teardown(async () => {
    await world.close();
    server.close();
  });
  const sockets = await openMany(MANY, () => openSocket(world.port, world.web));
  revoke(world);
  await Promise.all(sockets.map(({ closed }) => closed));
  await checkRecords(t, world, MANY, MANY);
});

t.test(
  'hundreds of TCP connections of one identity end together, and so do those to the service',
  async (t) => {
    const service = await new TcpService().open();
    t.teardown(() => service.close());
    const world = await startTcpWorld(service, {});
    t.teardown(() => world.close());
    const clients = await openMany(MANY, async () => {
      const client = await world.client(world.web, { ALPNProtocols: undefined as never });
      client.send('hello');
      await client.until(() => client.received === 'hello');
      return client;
    });
    revoke(world);
    await Promise.all(clients.map((client) => client.untilClosed()));
    await checkRecords(t, world, MANY, MANY);
    await waitFor(
      () => service.resets === MANY,
      10_000,
      () => `${service.resets} resets`,
    );
    const ends = world.records.filter(isEnd);
    t.ok(ends.every(({ request, response }) => request.bytes === 5 && response.bytes === 5));
  },
);

t.test('hundreds of gRPC calls of one identity end together, told why or cut', async (t) => {
  const service = await new EchoService().open();
  t.teardown(() => service.server.forceShutdown());
  const world = await World.start({
    routes: '\n      - { name: grpc, host: svc.test, path: /**, upstream: grpc }',
    policy: GRPC_POLICY,
    upstreams: `\n  grpc: { url: "http://127.0.0.1:${service.port}", protocol: http2 }`,
  });
  t.teardown(() => world.close());
  const fields = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  const connections = await openMany(MANY / CALLS, () => Http2Client.open(world.port, world.web));
  t.teardown(() => {
    for (const { session } of connections) session.destroy();
  });
  const calls = connections.flatMap((client) =>
    Array.from({ length: CALLS }, () => client.send('/test.Echo/Chat', fields, null)),
  );
  for (const { stream } of calls) stream.write(MESSAGE);
  await waitFor(() => calls.every(({ body }) => body !== ''));
  revoke(world);
  const ended = await Promise.all(calls.map(({ done }) => done));
  t.ok(
    ended.every(({ trailers }) => trailers['grpc-status'] !== '0'),
    'none looks as if it were whole',
  );
  await checkRecords(t, world, MANY, connections.length);
  await waitFor(() => service.cancelled.length === MANY);
});
