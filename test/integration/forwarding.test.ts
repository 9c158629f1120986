import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect as netConnect } from 'node:net';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { RawClient } from '../support/raw-client.js';
import { World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const MIB = 1024 * 1024;

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

/** A world whose upstream is a real Node server. */
async function startBefore(
  t: Test,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<World> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const world = await start(t);
  const { port } = server.address() as { port: number };
  world.replace('countersign.yaml', world.configText().replace(`:${world.upstream.port}"`, `:${port}"`));
  await waitFor(async () => (await world.snapshot()).sequence > 1);
  return world;
}

t.test(
  'bodies stream both ways: the upstream answers the first piece before the second is sent',
  async (t) => {
    const world = await startBefore(t, (request, response) => {
      response.writeHead(200);
      request.on('data', (chunk: Buffer) => response.write(`got ${chunk}`));
      request.on('end', () => response.end('done'));
    });
    const client = await world.client();
    client.send('POST /upload HTTP/1.1\r\nHost: svc.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n');
    await client.until(() => client.received.includes('got one'));
    client.send('3\r\ntwo\r\n');
    await client.until(() => client.received.includes('got two'));
    client.send('0\r\n\r\n');
    await client.until(() => client.answers.length === 1);
    t.equal(client.answers[0]?.body, 'got onegot twodone');
  },
);

t.test('requests one after another share a connection to the upstream', async (t) => {
  const world = await start(t);
  const client = await world.client();
  for (let i = 0; i < 5; i++) t.equal((await client.ask(GET)).at(-1)?.status, 200);
  const other = await world.client(world.admin);
  t.equal((await other.ask(GET))[0]?.status, 200);
  t.equal(world.upstream.connections.filter(({ bytes }) => bytes !== '').length, 1);
});

for (const [method, status, sent, length] of [
  ['HEAD', 200, 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', '5'],
  ['GET', 204, 'HTTP/1.1 204 No Content\r\n\r\n', undefined],
  ['GET', 304, 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n', '5'],
] as const) {
  t.test(`an answer without a body is one (${method}, ${status}), and the connection goes on`, async (t) => {
    const world = await start(t);
    world.upstream.respond = ({ socket }) => void socket.write(sent);
    const client = await world.client();
    const bytes = GET.replace('GET', method);
    for (let i = 1; i <= 2; i++) {
      client.send(bytes);
      await client.until(
        () => client.received.split('HTTP/1.1').length === i + 1 && client.received.endsWith('\r\n\r\n'),
      );
    }
    t.equal(client.closed, false);
    t.match(client.received, new RegExp(`^HTTP/1.1 ${status} `));
    t.notMatch(client.received.toLowerCase(), /transfer-encoding/);
    if (length === undefined) t.notMatch(client.received.toLowerCase(), /content-length/);
    else t.match(client.received.toLowerCase(), `content-length: ${length}`);
    const records = await world.untilRecords(2);
    t.ok(records.every((record) => record.response.outcome === 'complete'));
  });
}

t.test('an allowed client that waits for 100-continue gets it, once, and its body arrives', async (t) => {
  const world = await start(t);
  const client = await world.client();
  client.send('POST /upload HTTP/1.1\r\nHost: svc.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n');
  await client.until(() => client.received.includes('100 Continue\r\n\r\n'));
  client.send('hello');
  await client.until(() => client.answers.length === 1);
  t.equal(client.received.split('100 Continue').length, 2);
  const [request] = world.upstream.requests;
  t.equal(request?.body, 'hello');
  t.equal(request?.header('expect'), undefined);
});

t.test('early hints pass to a 1.1 client and never to a 1.0 client', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }) =>
    void socket.write(
      'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    );
  const client = await world.client();
  t.equal((await client.ask(GET))[0]?.body, 'ok');
  t.match(client.received, /^HTTP\/1\.1 103 [^\r]*\r\nlink: <\/a\.css>; rel=preload\r\n/i);
  const old = await world.client();
  await old.ask('GET /public/a HTTP/1.0\r\nHost: svc.test\r\n\r\n');
  t.notMatch(old.received, /103/);
});

t.test('trailers are dropped in both directions', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }, fresh) => {
    if (!fresh.includes('0\r\n')) return;
    socket.write(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: secret\r\n\r\n',
    );
  };
  const client = await world.client();
  const [answer] = await client.ask(
    'POST /upload HTTP/1.1\r\nHost: svc.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-U\r\n\r\n2\r\nhi\r\n0\r\nX-U: hidden\r\n\r\n',
  );
  t.equal(answer?.body, 'ok');
  t.notMatch(client.received, /secret/);
  t.notMatch(world.upstream.bytes, /hidden/);
});

t.test('an HTTP/1.0 client gets a body it can read: no chunks, and the connection ends', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }) =>
    void socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n');
  const client = await world.client();
  client.send('GET /public/a HTTP/1.0\r\nHost: svc.test\r\n\r\n');
  await client.untilClosed();
  t.match(client.received, /\r\n\r\nhello$/);
  t.notMatch(client.received.toLowerCase(), /transfer-encoding/);
  t.equal(client.error, undefined);
});

t.test(
  '64 MiB pass in each direction, whole, in bounded memory, also past a reader that pauses',
  async (t) => {
    const size = 64 * MIB;
    const piece = Buffer.alloc(MIB, 'x');
    let taken = 0;
    const world = await startBefore(t, (request, response) => {
      request.on('data', (chunk: Buffer) => {
        taken += chunk.length;
      });
      request.on('end', () => {
        response.writeHead(200, { 'content-length': size });
        let left = size;
        const pump = (): void => {
          while (left > 0) {
            left -= MIB;
            if (!response.write(piece)) return void response.once('drain', pump);
          }
          response.end();
        };
        pump();
      });
    });
    const socket = connect({
      port: world.port,
      host: '127.0.0.1',
      servername: 'svc.test',
      cert: world.web.chainPem,
      key: world.web.keyPem,
      rejectUnauthorized: false,
    });
    t.teardown(() => socket.destroy());
    let received = 0;
    let highest = 0;
    const before = process.memoryUsage().rss;
    socket.on('data', (chunk: Buffer) => {
      if (received === 0) {
        socket.pause();
        setTimeout(() => socket.resume(), 300);
      }
      received += chunk.length;
      highest = Math.max(highest, process.memoryUsage().rss - before);
    });
    socket.write(`POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: ${size}\r\n\r\n`);
    for (let left = size; left > 0; left -= MIB) {
      if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve));
      highest = Math.max(highest, process.memoryUsage().rss - before);
    }
    const [record] = await world.untilRecords(1, 20_000);
    await waitFor(() => received >= size);
    t.equal(taken, size);
    t.equal(record?.request.bytes, size);
    t.equal(record?.response.bytes, size);
    t.equal(record?.response.outcome, 'complete');
    t.ok(
      highest < 100 * MIB,
      `${Math.round(highest / MIB)} MiB more for client, proxy and upstream together`,
    );
  },
);

for (const [kind, address] of [
  ['IPv6', '"[::1]:0"'],
  ['unix', 'unix:listener.sock'],
] as const) {
  t.test(`a listener on ${kind} serves and records where its caller came from`, async (t) => {
    const world = new World();
    t.teardown(() => world.close());
    await world.prepare();
    world.writeConfig();
    const text = address.startsWith('unix') ? `unix:${world.dir}/listener.sock` : address;
    world.write(
      'countersign.yaml',
      world.configText().replace('address: 127.0.0.1:0\n    protocol', `address: ${text}\n    protocol`),
    );
    await world.run();
    const bound = world.app.addresses.get('inbound') ?? '';
    const transport = netConnect(
      kind === 'unix' ? { path: bound } : { host: '::1', port: Number(bound.split(':').at(-1)) },
    );
    const client = await RawClient.open({ identity: world.web, port: 0, socket: transport });
    t.teardown(() => client.destroy());
    t.equal((await client.ask(GET))[0]?.status, 200);
    const [record] = await world.untilRecords(1);
    t.equal(record?.peer.address, kind === 'unix' ? '' : '::1');
  });
}
