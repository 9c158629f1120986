import { performance } from 'node:perf_hooks';
import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import {
  block,
  END_HEADERS,
  END_STREAM,
  Frame,
  frameOf,
  RawHttp2,
  requestFields,
} from '../support/raw-http2-client.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

const open = (world: World, more: Partial<Parameters<typeof RawHttp2.open>[0]> = {}): Promise<RawHttp2> =>
  RawHttp2.open({ port: world.port, identity: world.web, ...more });

const reasonOf = (record: ReadRecord): unknown => record.response.reason;
const brokenOf = (world: World): ReadRecord[] =>
  world.exchanges.filter(
    (record) => reasonOf(record) === 'protocol_error' && record.request.path === undefined,
  );

/** Writes as fast as it is taken, until it is out or the connection is gone. */
async function pour(client: RawHttp2, piece: Buffer, times: number): Promise<void> {
  for (let i = 0; i < times && !client.closed; i++) {
    if (client.socket.write(piece)) continue;
    await new Promise<void>((resolve) => {
      client.socket.once('drain', resolve);
      client.socket.once('close', resolve);
    });
  }
}

/** Somebody else is served all the time. */
async function withHonest(t: Test, world: World, flood: () => Promise<void>): Promise<void> {
  const honest = await world.client(world.admin);
  let isOver = false;
  const over = flood().finally(() => {
    isOver = true;
  });
  let worstMs = 0;
  while (!isOver) {
    const before = performance.now();
    const [answer] = await honest.ask('GET /public/honest HTTP/1.1\r\nHost: svc.test\r\n\r\n');
    worstMs = Math.max(worstMs, performance.now() - before);
    if (answer?.status !== 200) t.fail(`the honest client got ${answer?.status}`);
  }
  await over;
  t.ok(worstMs < 2000, `the slowest honest answer took ${worstMs} ms`);
}

const HEADS = block(requestFields('GET', '/public/a'));

t.test(
  'P097 rapid resets end their connection, and reach the upstream no faster than streams may',
  async (t) => {
    const world = await start(t);
    await withHonest(t, world, async () => {
      const client = await open(world);
      const reset = Buffer.from([0, 0, 0, 8]);
      for (let from = 1; from < 200_000 && !client.closed; from += 400) {
        const frames: Buffer[] = [];
        for (let id = from; id < from + 400; id += 2) {
          frames.push(frameOf(Frame.headers, END_HEADERS | END_STREAM, id, HEADS));
          frames.push(frameOf(Frame.reset, 0, id, reset));
        }
        await pour(client, Buffer.concat(frames), 1);
      }
      await client.untilClosed();
    });
    const atUpstream = world.upstream.requests.filter(({ target }) => target === '/public/a').length;
    t.ok(atUpstream <= 500, `${atUpstream} reached the upstream`);
    await waitFor(() => brokenOf(world).length > 0);
    t.equal(brokenOf(world).length, 1, 'one record says it of the connection');
    t.equal(brokenOf(world)[0]?.principal?.id, world.web.uri);
    const ofFlood = world.exchanges.filter(({ request }) => request.path === '/public/a').length;
    t.ok(ofFlood <= 1000, `${ofFlood} records`);
  },
);

t.test('P098 CONTINUATION without end ends its connection', async (t) => {
  const world = await start(t);
  await withHonest(t, world, async () => {
    const client = await open(world);
    client.frame(Frame.headers, END_STREAM, 1, HEADS);
    const piece = block([['x-a', 'a'.repeat(100)]]);
    await pour(client, frameOf(Frame.continuation, 0, 1, piece), 10_000);
    await client.untilClosed();
  });
  t.notMatch(world.upstream.bytes, /public\/a /);
  await waitFor(() => world.exchanges.some((record) => record.principal?.id === world.web.uri));
  const of = world.exchanges.filter((record) => record.principal?.id === world.web.uri);
  t.ok(of.length >= 1 && of.length <= 2, `${of.length} records`);
  await holdInvariants(t, world);
});

for (const [name, piece] of [
  ['SETTINGS', frameOf(Frame.settings, 0, 0)],
  ['PING', frameOf(Frame.ping, 0, 0, 'pingpong')],
  ['PRIORITY', frameOf(Frame.priority, 0, 1, Buffer.from([0, 0, 0, 0, 1]))],
  ['WINDOW_UPDATE', frameOf(Frame.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1]))],
  ['frames of an unknown type', frameOf(0xfa, 0, 0, 'nothing')],
] as const) {
  t.test(`P099 a flood of ${name} ends its connection`, async (t) => {
    const world = await start(t);
    await withHonest(t, world, async () => {
      const client = await open(world);
      const many = Buffer.concat(Array.from({ length: 1000 }, () => piece));
      await pour(client, many, 10_000);
      await client.untilClosed();
    });
    await waitFor(() => brokenOf(world).length > 0);
    t.equal(brokenOf(world).length, 1);
    await holdInvariants(t, world);
  });
}

t.test('a flood of empty DATA frames ends its connection', async (t) => {
  const world = await start(t);
  const client = await open(world);
  client.headers(1, requestFields('POST', '/public/p'), END_HEADERS);
  await pour(client, Buffer.concat(Array.from({ length: 1000 }, () => frameOf(Frame.data, 0, 1))), 100);
  await client.untilClosed();
  await waitFor(() => brokenOf(world).length > 0);
  t.equal(brokenOf(world).length, 1);
});

t.test('malformed requests have their records, and a flood of them ends its connection', async (t) => {
  const world = await start(t);
  const client = await open(world);
  const bad = block([...requestFields('GET', '/public/a'), ['connection', 'close']]);
  for (let id = 1; id <= 41; id += 2) client.frame(Frame.headers, END_HEADERS | END_STREAM, id, bad);
  await client.settled(41);
  const refused = (): number => world.exchanges.filter((r) => reasonOf(r) === 'request_malformed').length;
  await waitFor(() => refused() === 21); // while the connection is open
  const frames: Buffer[] = [];
  for (let id = 43; id < 2000; id += 2)
    frames.push(frameOf(Frame.headers, END_HEADERS | END_STREAM, id, bad));
  client.socket.write(Buffer.concat(frames));
  await client.untilClosed();
  await waitFor(() => brokenOf(world).length > 0);
  t.equal(brokenOf(world).length, 1);
  t.notMatch(world.upstream.bytes, /public/);
  await holdInvariants(t, world);
});

t.test('limits.streams holds for a client that never reads our SETTINGS', async (t) => {
  const world = await start(t, { extra: 'limits: { streams: 10 }' });
  world.upstream.respond = () => undefined;
  const client = await open(world, { acknowledges: false });
  for (let id = 1; id <= 59; id += 2) client.get(id);
  await client.until(() => client.frames.filter(({ type }) => type === Frame.reset).length === 20);
  await waitFor(() => world.upstream.requests.length === 10);
  for (let id = 21; id <= 59; id += 2) t.equal(client.resetOf(id), 7, 'REFUSED_STREAM');
  t.equal(world.upstream.requests.length, 10);
  client.destroy();
  await world.untilRecords(10);
});

t.test('a head that never ends is over at the head deadline', async (t) => {
  const world = await start(t, { extra: 'deadlines: { head: 500ms }' });
  const client = await open(world, { answersPings: false }); // nothing may come between the frames of one head
  await client.until(() => client.frames.some(({ type }) => type === Frame.settings)); // and acknowledged
  client.frame(Frame.headers, 0, 1, HEADS);
  await client.untilClosed();
  await world.untilRecords(1);
  t.same(world.exchanges.map(reasonOf), ['request_timeout']);
  t.equal(world.upstream.bytes, '');
  await holdInvariants(t, world);
});

t.test(
  'P109 a client whose window is closed is cut at the body deadline, and others on its connection are not',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { body: 500ms }' });
    world.upstream.respond = (connection, fresh) => {
      if (!fresh.includes('/public/large'))
        return void connection.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n${'a'.repeat(10_000_000)}`);
    };
    const client = await open(world, { windowSize: 1 });
    client.get(1, '/public/large');
    client.headers(3, requestFields('GET', '/admin/no'));
    await Promise.all([client.settled(1), client.settled(3)]);
    t.not(client.resetOf(1), undefined);
    t.not(client.resetOf(3), undefined, 'a refusal that is not taken goes too');
    client.get(5);
    await client.settled(5);
    t.equal(client.statusOf(5), 200);
    client.destroy();
    await world.untilRecords(3);
    const outcomes = world.exchanges.map(({ request, response }) => [request.path, response.outcome]);
    t.same(new Map(outcomes as [string, string][]).get('/public/large'), 'deadline_exceeded');
  },
);

t.test('P108 a body that drips is cut at the body deadline, and its upstream request with it', async (t) => {
  const world = await start(t, { extra: 'deadlines: { body: 500ms }' });
  const client = await open(world);
  client.headers(1, requestFields('POST', '/public/p'), END_HEADERS);
  const drip = setInterval(() => client.frame(Frame.data, 0, 1, 'a'), 50);
  await client.settled(1);
  clearInterval(drip);
  t.equal(client.statusOf(1), 408);
  await waitFor(() => world.upstream.connections.every(({ closed }) => closed));
  t.notMatch(world.upstream.bytes, /\r\n0\r\n\r\n$/);
  client.destroy();
});

t.test(
  'a connection without a stream is closed when it has been idle for too long, with a GOAWAY',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { idle: 1s }' });
    const client = await open(world);
    client.get(1);
    await client.settled(1);
    await client.untilClosed();
    t.same(client.goaways.map(({ code }) => code).at(-1), 0);
  },
);

t.test('the last request of a connection is announced, and what was sent before is answered', async (t) => {
  const world = await start(t, { extra: 'limits: { requestsPerConnection: 3 }' });
  const client = await open(world);
  for (let id = 1; id <= 19; id += 2) client.get(id);
  for (let id = 1; id <= 19; id += 2) await client.settled(id);
  for (let id = 1; id <= 19; id += 2) t.equal(client.statusOf(id), 200);
  await client.untilClosed();
  t.same(client.goaways, [{ last: 19, code: 0 }]);
  await world.untilRecords(10);
});
