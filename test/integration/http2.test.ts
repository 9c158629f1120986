import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { DecisionEngine, says } from '../support/decision-engine.js';
import { Http2Client } from '../support/http2-client.js';
import { holdInvariants } from '../support/invariants.js';
import { RecordPipe } from '../support/record-pipe.js';
import { POLICY, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

async function connect(t: Test, { port, web }: World, identity = web): Promise<Http2Client> {
  const client = await Http2Client.open(port, identity);
  t.teardown(() => client.destroy());
  return client;
}

const reasonIn = (body: string): unknown => (JSON.parse(body) as { reason?: unknown }).reason;

t.test(
  'rate limits say 429 with Retry-After, gRPC calls RESOURCE_EXHAUSTED; the connection stays',
  async (t) => {
    const world = await start(t, { extra: 'limits: { requestsPerPrincipal: { rate: 1/h, burst: 3 } }' });
    const client = await connect(t, world);
    for (let i = 0; i < 3; i++) t.equal((await client.ask('/public/a')).status, 200);
    const limited = await client.ask('/public/a');
    t.equal(limited.status, 429);
    t.equal(reasonIn(limited.body), 'rate_limited');
    t.match(limited.headers['retry-after'], /^3[56]\d\d$/);
    const call = await client.call('/public/a');
    t.match(call.headers, { ':status': 200, 'grpc-status': '8', 'retry-after': /^\d+$/ });
    t.equal(call.isWhole, true);
    t.equal(client.isOpen, true);
    const records = await world.untilRecords(5);
    t.match(records[3], { decision: { effect: 'deny', reason: 'rate_limited' }, response: { status: 429 } });
    t.match(records[4], { decision: { effect: 'deny' }, response: { status: 200, grpcStatus: 8 } });
    t.equal(world.upstream.requests.length, 3);
  },
);

t.test('limits on calls at once count streams, and one that ends makes room', async (t) => {
  const world = await start(t, { extra: 'limits: { concurrentPerPrincipal: 2 }' });
  const { respond } = world.upstream;
  world.upstream.respond = () => undefined;
  const client = await connect(t, world);
  const open = [client.send('/public/1'), client.send('/public/2')];
  await waitFor(() => world.upstream.requests.length === 2);
  const refused = await client.ask('/public/3');
  t.equal(refused.status, 429);
  t.equal(refused.headers['retry-after'], '1');
  world.upstream.respond = respond;
  for (const connection of world.upstream.connections) respond(connection, '');
  for (const { status } of await Promise.all(open.map(({ done }) => done))) t.equal(status, 200);
  t.equal((await client.ask('/public/4')).status, 200);
  await holdInvariants(t, world);
});

t.test('one identity gets no more than its connections, and hears it as GOAWAY', async (t) => {
  const world = await start(t, { extra: 'limits: { connectionsPerPrincipal: 2 }' });
  const clients = [await connect(t, world), await connect(t, world)];
  for (const client of clients) t.equal((await client.ask('/public/a')).status, 200);
  const beyond = await Http2Client.open(world.port, world.web).catch(() => undefined);
  await beyond?.untilClosed();
  const other = await connect(t, world, world.admin);
  t.equal((await other.ask('/public/a')).status, 200, 'others are served');
  const records = await world.untilRecords(4);
  t.match(
    records.filter(({ event }) => event === 'handshake').map(({ decision }) => decision.reason),
    ['connection_limit'],
  );
});

t.test('an external engine is asked about each stream, and its no is the answer', async (t) => {
  const engine = await new DecisionEngine().open();
  t.teardown(() => engine.close());
  const world = await start(t, { extra: `externalDecision: { url: "${engine.url}" }` });
  engine.reply = (asked, response, socket) =>
    says({ allow: asked.input.request.path !== '/public/no' })(asked, response, socket);
  const client = await connect(t, world);
  const answers = await Promise.all(['/public/1', '/public/no', '/public/2'].map((path) => client.ask(path)));
  t.same(
    answers.map(({ status }) => status),
    [200, 403, 200],
  );
  t.equal((await client.call('/public/no')).headers['grpc-status'], '7');
  t.equal(engine.asked.length, 4);
  const records = await world.untilRecords(4);
  t.ok(records.every(({ decision }) => decision.external !== undefined));
  t.equal(world.upstream.requests.length, 2);
});

t.test('a stream that its client gives up while the engine is asked goes nowhere', async (t) => {
  const engine = await new DecisionEngine().open();
  t.teardown(() => engine.close());
  const world = await start(t, { extra: `externalDecision: { url: "${engine.url}" }` });
  let release = (): void => undefined;
  engine.reply = (asked, response, socket) => {
    release = () => says(true)(asked, response, socket);
  };
  const client = await connect(t, world);
  const given = client.send('/public/a');
  await waitFor(() => engine.asked.length === 1);
  given.stream.close(8);
  const [record] = await world.untilRecords(1);
  release();
  t.equal(record?.response.outcome, 'client_aborted');
  engine.reply = says(true);
  t.equal((await client.ask('/public/b')).status, 200);
  t.equal(world.upstream.requests.length, 1, 'nothing of the other');
});

interface Kept {
  readonly world: World;
  readonly pipe: RecordPipe;
}

async function startKept(t: Test, durability: string): Promise<Kept> {
  const pipe = new RecordPipe(join(t.testdir(), 'records'));
  const world = await World.start({ audit: `${pipe.path}, durability: ${durability}` });
  t.teardown(async () => {
    await world.close();
    pipe.close();
  });
  await waitFor(() => pipe.read().length > 0);
  return { world, pipe };
}

t.test('durability written: the end of each answer waits for its record', async (t) => {
  const { world, pipe } = await startKept(t, 'written');
  const client = await connect(t, world);
  pipe.fill();
  const asked = [
    client.send('/public/a'),
    client.send('/public/a', { ':method': 'HEAD' }),
    client.send('/admin/x'),
    client.send('/nowhere'),
    client.send('/admin/x', { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' }),
  ];
  await waitFor(() => world.upstream.requests.length === 2);
  await new Promise((resolve) => setTimeout(resolve, 300)); // what must not come has had its time
  for (const answer of asked) {
    t.equal(answer.isWhole, false);
    t.equal(answer.body, '');
  }
  await waitFor(() => {
    pipe.read();
    return asked.every(({ isWhole }) => isWhole);
  });
  const records = pipe.read().filter(({ event }) => event === 'access');
  t.equal(records.length, asked.length, 'one each');
  t.same(
    asked.map(({ status }) => status),
    [200, 200, 403, 404, 200],
  );
});

t.test(
  'an answer whose record cannot be kept is reset; new requests get 503, gRPC calls UNAVAILABLE',
  async (t) => {
    const { world, pipe } = await startKept(t, 'written');
    const client = await connect(t, world);
    pipe.fill();
    const asked = [client.send('/public/a'), client.send('/admin/x')];
    await waitFor(() => world.upstream.requests.length === 1);
    pipe.close();
    for (const answer of await Promise.all(asked.map(({ done }) => done))) {
      t.equal(answer.isWhole, false);
      t.not(answer.code, 0, 'reset, never a clean end');
    }
    const other = client.isOpen ? client : await connect(t, world);
    const refused = await other.ask('/public/b');
    t.equal(refused.status, 503);
    t.equal(reasonIn(refused.body), 'audit_unavailable');
    t.match((await other.call('/public/b')).headers, { ':status': 200, 'grpc-status': '14' });
    t.equal(world.upstream.requests.length, 1, 'before anything is forwarded');
  },
);

t.test('early hints cross', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }) =>
    void socket.write(
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-SPIFFE-ID: forged\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    );
  const answer = await (await connect(t, world)).ask('/public/a');
  t.equal(answer.status, 200);
  t.match(answer.informational, [{ ':status': 103, link: '</a.css>; rel=preload' }]);
  t.equal(answer.informational[0]?.['x-spiffe-id'], undefined);
});

const EVENTS = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const REVOKE = (id: string): string => `version: 1\nrevoked: [{ id: "${id}", reason: test }]\n`;

t.test(
  'event streams outlive the deadlines of requests and end at once with their access, on both versions',
  async (t) => {
    const world = await start(t, {
      extra: 'deadlines: { upstreamFirstByte: 500ms, body: 500ms, accessEnd: 20s }',
    });
    world.upstream.respond = ({ socket }) => void socket.write(`${EVENTS}8\r\ndata: 1\n\r\n`);
    const http2 = (await connect(t, world)).send('/public/events');
    const http1 = await world.client();
    http1.send('GET /public/events HTTP/1.1\r\nHost: svc.test\r\n\r\n');
    await waitFor(() => world.exchanges.filter(({ phase }) => phase === 'start').length === 2);
    t.equal(http1.closed || http2.code !== 0, false);
    for (const { socket } of world.upstream.connections) socket.write('8\r\ndata: 2\n\r\n');
    await waitFor(() => http2.body.includes('data: 2') && http1.received.includes('data: 2'));
    const beforeMs = Date.now();
    world.replace('revoked.yaml', REVOKE(world.web.uri));
    await Promise.all([http2.done, http1.untilClosed()]);
    t.ok(Date.now() - beforeMs < 5000, 'not after deadlines.accessEnd');
    t.equal(http2.isWhole, false);
    t.not(http2.code, 0);
    await waitFor(() => world.exchanges.filter(({ phase }) => phase === 'end').length === 2);
    const ends = world.exchanges.filter(({ phase }) => phase === 'end');
    t.same(
      ends.map(({ response }) => response.outcome),
      ['access_ended', 'access_ended'],
    );
  },
);

t.test('who loses access has deadlines.accessEnd for what is under way, and nothing new', async (t) => {
  const world = await start(t, { extra: 'deadlines: { accessEnd: 700ms }' });
  const finishing = new Map<string, () => void>();
  world.upstream.respond = ({ socket, bytes }) => {
    const path = bytes.split(' ')[1] ?? '';
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab');
    finishing.set(path, () => socket.write('cd'));
  };
  const client = await connect(t, world);
  const [finishes, stays] = [client.send('/public/finishes'), client.send('/public/stays')];
  await waitFor(() => finishes.body === 'ab' && stays.body === 'ab');
  world.replace('revoked.yaml', REVOKE(world.web.uri));
  await waitFor(() => !client.isOpen); // GOAWAY
  finishing.get('/public/finishes')?.();
  t.equal((await finishes.done).body, 'abcd');
  t.equal(finishes.isWhole, true);
  await stays.done;
  t.equal(stays.isWhole, false, 'cut at the end of its time');
  await client.untilClosed();
  const records = await world.untilRecords(2);
  t.same(records.map(({ request, response }) => [request.path, response.outcome]).sort(), [
    ['/public/finishes', 'complete'],
    ['/public/stays', 'access_ended'],
  ]);
});

/** A service that speaks HTTP/2 alone. */
async function http2Service(t: Test, onStream: (stream: ServerHttp2Stream) => void): Promise<number> {
  const server: Http2Server = createServer();
  server.on('stream', onStream);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

t.test(
  'callers of either version reach a service of HTTP/2; trailers are for those who can have them',
  async (t) => {
    const port = await http2Service(t, (stream) => {
      let size = 0;
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length;
      });
      stream.on('end', () => {
        stream.respond({ ':status': 200, 'x-size': String(size) }, { waitForTrailers: true });
        stream.on('wantTrailers', () =>
          stream.sendTrailers({ 'x-sum': '1', 'x-spiffe-id': 'spiffe://a.test/forged', 'x-app': 'a' }),
        );
        stream.end('body');
      });
    });
    const world = await start(t, {
      upstreams: `\n  u: { url: "http://127.0.0.1:${port}", protocol: http2 }`,
      routes: '[{ name: r1, host: svc.test, path: /public/**, upstream: u }]',
      policy: POLICY.replace(/ {2}- \{ id: (?:admin|upload|ws),.*\n/g, ''),
    });
    const client = await connect(t, world);
    const post = { ':method': 'POST' };
    const with2 = await client.ask('/public/a', { ...post, te: 'trailers' }, 'x'.repeat(50_000));
    t.match([with2.status, with2.body, with2.headers['x-size']], [200, 'body', '50000']);
    t.match(with2.trailers, { 'x-sum': '1', 'x-app': 'a' });
    t.equal(with2.trailers['x-spiffe-id'], undefined);
    t.match(with2.headers.via, /^2 countersign-/);
    t.same((await client.ask('/public/a', post, 'x')).trailers, {}, 'not asked for');
    const http1 = await world.client();
    const [with1] = await http1.ask(
      'POST /public/a HTTP/1.1\r\nHost: svc.test\r\nTE: trailers\r\nContent-Length: 3\r\n\r\nabc',
    );
    t.match([with1?.status, with1?.headers['x-size']], [200, '3']);
    t.match(with1?.headers.via, /^2 countersign-/, 'what the answer came in');
    t.notMatch(http1.received, /x-sum|x-app/i);
    await waitFor(() => world.exchanges.length === 3);
    t.same(
      world.exchanges.map(({ request }) => request.protocol),
      ['http/2', 'http/2', 'http/1.1'],
    );
  },
);
