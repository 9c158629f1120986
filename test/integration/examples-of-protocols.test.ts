import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2, type Http2Server } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  Client,
  credentials,
  Server as GrpcServer,
  Metadata,
  ServerCredentials,
  status,
} from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { EchoServer, openSocket } from '../support/echo-socket.js';
import { Examples, type RunningExample, type Workload } from '../support/example.js';
import { RawClient } from '../support/raw-client.js';
import { missingPostgres, programOf, startPostgres } from '../support/real-postgres.js';
import { missingRedis, startRedis } from '../support/real-redis.js';
import { TcpService } from '../support/tcp-world.js';

const WEB = 'spiffe://example.org/ns/prod/sa/web';
const BILLING = 'spiffe://example.org/ns/prod/sa/billing';
const INBOUND = { '0.0.0.0:8443': '127.0.0.1:0' };

async function listen(t: Test, server: Server | Http2Server, path?: string): Promise<number> {
  await once(path === undefined ? server.listen(0, '127.0.0.1') : server.listen(path), 'listening');
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Says who called, by which version of HTTP. */
const sayWho = (request: {
  url?: string | undefined;
  headers: IncomingMessage['headers'];
  httpVersion: string;
}): string => `${request.url} by ${request.httpVersion} for ${request.headers['x-spiffe-id']}`;

const plainService = (t: Test, path?: string): Promise<number> => {
  const server = createServer({ keepAliveTimeout: 1 }, (request, response) => response.end(sayWho(request)));
  t.teardown(() => server.closeAllConnections());
  return listen(t, server, path);
};

t.test('websocket.yaml: ws through the route that says so, and through no other', async (t) => {
  const examples = await Examples.mint(t);
  const service = await new EchoServer().open();
  t.teardown(() => service.close());
  const places = { ...INBOUND, '127.0.0.1:8080': `127.0.0.1:${service.port}` };
  const example = await examples.run(t, 'websocket.yaml', places);
  const { socket, closed } = await openSocket(example.port('inbound'), examples.svid('web'), '/events');
  socket.close();
  await closed;
  await t.rejects(openSocket(example.port('inbound'), examples.svid('batch'), '/events'), /403/);
  await t.rejects(openSocket(example.port('inbound'), examples.svid('web'), '/elsewhere'), /400/);
  const records = await example.records(4);
  t.match(records, [
    { phase: 'start', response: { status: 101 }, decision: { rule: 'web-follows-events' } },
    { phase: 'end', principal: { id: WEB }, request: { route: 'events', upgrade: 'websocket' } },
    { decision: { effect: 'deny', reason: 'no_rule_matched' } },
    { decision: { effect: 'deny', reason: 'upgrade_refused' }, request: { route: 'pages' } },
  ]);
});

/** One request on a connection of its own. */
async function askHttp2(t: Test, examples: Examples, port: number, path: string, who: Workload = 'web') {
  const { chainPem: cert, keyPem: key } = examples.svid(who);
  const session = connectHttp2(`https://localhost:${port}`, { ca: examples.root.certPem, cert, key });
  t.teardown(() => session.destroy());
  const stream = session.request({ ':path': path });
  let body = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    body += chunk;
  });
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  await once(stream, 'end');
  return { status: headers[':status'], body };
}

t.test('http2.yaml: HTTP/2 and HTTP/1.1 on one port, to services of either', async (t) => {
  const examples = await Examples.mint(t);
  const pages = await plainService(t);
  const api = await listen(
    t,
    createHttp2((request, response) => void response.end(sayWho(request))),
  );
  const places = { '127.0.0.1:8080': `127.0.0.1:${pages}`, '127.0.0.1:8081': `127.0.0.1:${api}` };
  const example = await examples.run(t, 'http2.yaml', { ...INBOUND, ...places });
  const port = example.port('inbound');
  t.same(await askHttp2(t, examples, port, '/a'), { status: 200, body: `/a by 1.1 for ${WEB}` });
  t.same(await askHttp2(t, examples, port, '/api/a'), { status: 200, body: `/api/a by 2.0 for ${WEB}` });
  t.match(await askHttp2(t, examples, port, '/api/a', 'batch'), { status: 403, body: /policy_denied/ });
  const old = await RawClient.open({ identity: examples.svid('web'), port });
  t.teardown(() => old.destroy());
  const [answer] = await old.ask('GET /api/b HTTP/1.1\r\nHost: localhost\r\n\r\n');
  t.match(answer, { status: 200, body: `/api/b by 2.0 for ${WEB}` });
  const records = await example.records(4);
  t.same(
    records.map(({ request, decision }) => [request.protocol, request.destination, decision.effect]),
    [
      ['http/2', 'pages', 'allow'],
      ['http/2', 'api', 'allow'],
      ['http/2', 'api', 'deny'],
      ['http/1.1', 'api', 'allow'],
    ],
  );
});

const whole = (bytes: Buffer): Buffer => bytes;
const method = (path: string, responseStream: boolean) => ({
  ...{ path, requestStream: false, responseStream },
  ...{
    requestSerialize: whole,
    requestDeserialize: whole,
    responseSerialize: whole,
    responseDeserialize: whole,
  },
});

/** Who called, as an answer of one message and as a stream of three. */
async function grpcService(t: Test): Promise<number> {
  const server = new GrpcServer();
  t.teardown(() => server.forceShutdown());
  server.addService(
    {
      get: method('/shop.v1.Invoices/Get', false),
      watch: method('/shop.v1.Invoices/Watch', true),
      check: method('/grpc.health.v1.Health/Check', false),
    },
    {
      get: (call: { metadata: Metadata }, done: (error: null, answer: Buffer) => void) =>
        done(null, Buffer.from(String(call.metadata.get('x-spiffe-id')[0]))),
      watch: (call: { write(part: Buffer): void; end(): void }) => {
        for (const part of ['a', 'b', 'c']) call.write(Buffer.from(part));
        call.end();
      },
      check: (_call: unknown, done: (error: null, answer: Buffer) => void) =>
        done(null, Buffer.from([0x08, 0x01])), // SERVING
    },
  );
  return promisify(server.bindAsync.bind(server))(
    '127.0.0.1:0',
    ServerCredentials.createInsecure(),
  ) as Promise<number>;
}

t.test('grpc.yaml: calls, a stream and the health service, each under policy', async (t) => {
  const examples = await Examples.mint(t);
  const places = { ...INBOUND, '127.0.0.1:50051': `127.0.0.1:${await grpcService(t)}` };
  const example = await examples.run(t, 'grpc.yaml', places);
  const clientOf = (who: Workload): Client => {
    const { chainPem, keyPem } = examples.svid(who);
    const pems = [examples.root.certPem, keyPem, chainPem].map((text) => Buffer.from(text)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const client = new Client(`localhost:${example.port('inbound')}`, credentials.createSsl(...pems));
    t.teardown(() => client.close());
    return client;
  };
  const [web, monitor] = [clientOf('web'), clientOf('monitor')];
  const call = (client: Client, path: string): Promise<string> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(path, whole, whole, Buffer.from('7'), new Metadata(), (error, answer) =>
        resolve(error === null ? String(answer) : status[error.code]!),
      );
    });
  t.equal(await call(web, '/shop.v1.Invoices/Get'), WEB);
  const stream = web.makeServerStreamRequest('/shop.v1.Invoices/Watch', whole, whole, Buffer.from('7'));
  const parts: string[] = [];
  for await (const part of stream) parts.push(String(part));
  t.same(parts, ['a', 'b', 'c']);
  t.equal(await call(web, '/shop.v1.Invoices/Delete'), 'PERMISSION_DENIED');
  t.equal(await call(web, '/grpc.health.v1.Health/Check'), 'PERMISSION_DENIED');
  t.equal(await call(monitor, '/grpc.health.v1.Health/Check'), '\x08\x01');
  t.equal(await call(web, '/other.Service/Get'), 'UNIMPLEMENTED', 'no route');
  const records = await example.records(6);
  t.same(
    records.map(({ decision, response }) => [decision.effect, response.status, response.grpcStatus]),
    [
      ['allow', 200, 0],
      ['allow', 200, 0],
      ['deny', 200, status.PERMISSION_DENIED],
      ['deny', 200, status.PERMISSION_DENIED],
      ['allow', 200, 0],
      ['deny', 200, status.UNIMPLEMENTED],
    ],
  );
});

/** A Redis where one is installed; else what answers one of its commands. */
async function redis(t: Test): Promise<number> {
  if (missingRedis() === false) {
    const server = await startRedis();
    t.teardown(() => server.stop());
    return server.port;
  }
  const service = await new TcpService().open();
  t.teardown(() => service.close());
  service.onSocket = (socket) => void socket.on('data', () => socket.write('+PONG\r\n'));
  return service.port;
}

async function ping(t: Test, client: RawClient<never> | RawClient): Promise<void> {
  t.teardown(() => client.destroy());
  client.send('PING\r\n');
  await client.until(() => client.received.length >= 7);
  client.socket.end();
  await client.untilClosed();
}

const startTcp = async (t: Test, examples: Examples): Promise<RunningExample> =>
  examples.run(t, 'tcp.yaml', {
    '0.0.0.0:6380': '127.0.0.1:0',
    '127.0.0.1:6379': `127.0.0.1:${await redis(t)}`,
  });

t.test('tcp.yaml: Redis for those who may, and nothing for others', async (t) => {
  const examples = await Examples.mint(t);
  const example = await startTcp(t, examples);
  const port = example.port('cache');
  const client = await RawClient.open({ identity: examples.svid('web'), port });
  await ping(t, client);
  t.equal(client.received, '+PONG\r\n');
  const other = await RawClient.open({ identity: examples.svid('batch'), port });
  await ping(t, other);
  t.equal(other.received, '');
  t.match(await example.records(3), [
    { phase: 'start', principal: { id: WEB }, request: { protocol: 'tcp', method: 'CONNECT' } },
    { phase: 'end', request: { bytes: 6 }, response: { bytes: 7, outcome: 'complete' } },
    { decision: { effect: 'deny', reason: 'no_rule_matched' } },
  ]);
});

t.test('outbound-tcp.yaml: plaintext in, over mTLS to tcp.yaml, and both sides have records', async (t) => {
  const examples = await Examples.mint(t);
  const inbound = await startTcp(t, examples);
  const outbound = await examples.run(t, 'outbound-tcp.yaml', {
    '127.0.0.1:6379\n': '127.0.0.1:0\n',
    'cache.internal:6380': `localhost:${inbound.port('cache')}`,
  });
  const client = await RawClient.openPlain({ host: '127.0.0.1', port: outbound.port('to-cache') });
  await ping(t, client as RawClient<never>);
  t.equal(client.received, '+PONG\r\n');
  const [, out] = await outbound.records(2);
  t.match(out, { phase: 'end', request: { direction: 'outbound' }, upstream: { server: { id: BILLING } } });
  const [, there] = await inbound.records(2);
  t.match(there, { phase: 'end', principal: { id: WEB, serial: out?.principal.serial } });
});

t.test('postgresql.yaml: psql with a client certificate', { skip: missingPostgres() }, async (t) => {
  const examples = await Examples.mint(t);
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const places = { '0.0.0.0:5432': '127.0.0.1:0', '127.0.0.1:5433': `127.0.0.1:${server.port}` };
  const example = await examples.run(t, 'postgresql.yaml', places);
  const ask = (who: Workload) => {
    const at = (file: string): string => join(examples.dir, 'pki', file);
    const words = `host=localhost hostaddr=127.0.0.1 port=${example.port('pg')} user=app dbname=postgres sslmode=verify-full`;
    const tls = `sslrootcert=${at('bundle.pem')} sslcert=${at(`${who}.pem`)} sslkey=${at(`${who}-key.pem`)}`;
    return promisify(execFile)(programOf('psql')!, [`${words} ${tls}`, '-Atc', 'select 6 * 7']);
  };
  t.equal((await ask('web')).stdout, '42\n');
  await t.rejects(ask('batch'), /policy_denied/);
  t.match(await example.records(3), [
    { phase: 'start', decision: { rule: 'web-uses-database' } },
    { phase: 'end', principal: { id: WEB }, request: { protocol: 'tcp' } },
    { decision: { effect: 'deny', reason: 'no_rule_matched' } },
  ]);
});
