import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { UpstreamTarget } from '../../../src/config/config.js';
import { probeTarget, type Spoken } from '../../../src/upstream/health-probe.js';
import { PlainConnector } from '../../../src/upstream/plain-connector.js';
import { answerOk, RecorderUpstream } from '../../support/recorder-upstream.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, openUpstream, requestOf, tcpTarget } from './caller.js';

async function listening(t: Test, server: Server): Promise<UpstreamTarget> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return tcpTarget((server.address() as AddressInfo).port);
}

const probe = (
  target: UpstreamTarget,
  path: string | undefined,
  spoken: Spoken = 'http1',
  timeoutMs = 1000,
): Promise<string | undefined> =>
  probeTarget(new PlainConnector(target), spoken, { timeoutMs, ...(path === undefined ? {} : { path }) });

t.test('200 to 399 is good, anything else is not, over HTTP/1.1 and HTTP/2', async (t) => {
  for (const spoken of ['http1', 'http2'] as const) {
    const seen: string[] = [];
    const answer: RequestListener = (request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers['user-agent']}`);
      t.equal(Object.keys(request.headers).filter((name) => /spiffe|xfcc|forwarded/i.test(name)).length, 0);
      response.writeHead(Number(request.url?.slice(1))).end();
    };
    const server = spoken === 'http1' ? createHttp(answer) : createHttp2(answer as never);
    const target = await listening(t, server as unknown as Server);
    for (const status of [200, 204, 302, 399]) t.equal(await probe(target, `/${status}`, spoken), undefined);
    for (const status of [400, 404, 500, 503])
      t.equal(await probe(target, `/${status}`, spoken), `answered ${status}`);
    t.equal(seen.length, 8);
    t.equal(seen[0], 'GET /200 countersign');
  }
});

t.test('a host name that an URL takes for a malformed address is asked like any other', async (t) => {
  const server = createHttp2((_request, response) => void response.end());
  const target = await listening(t, server as unknown as Server);
  t.equal(await probe({ ...target, name: 'web.1:80' }, '/', 'http2'), undefined);
});

t.test('what does not listen, hangs up, answers rubbish or says nothing in time is not good', async (t) => {
  const target = await listening(
    t,
    createServer((socket) => socket.on('error', () => undefined).end('rubbish\r\n\r\n')),
  );
  t.match(await probe(target, '/'), /^malformed: /);
  const closing = await listening(
    t,
    createServer((socket) => socket.destroy()),
  );
  t.match(await probe(closing, '/'), /./);
  const silent = await listening(
    t,
    createServer((socket) => {
      socket.on('error', () => undefined);
      t.teardown(() => socket.destroy());
    }),
  );
  const before = performance.now();
  t.equal(await probe(silent, '/', 'http1', 150), 'no answer');
  t.equal(await probe(silent, '/', 'http2', 150), 'no answer');
  t.ok(performance.now() - before < 2000);
  t.match(await probe(tcpTarget(1), '/'), /^upstream_unreachable: /);
});

t.test('without a path a connection that opens is enough, and nothing is written on it', async (t) => {
  const upstream = await new RecorderUpstream().open();
  t.teardown(() => upstream.close());
  t.equal(await probe(tcpTarget(upstream.port), undefined), undefined);
  await waitFor(() => upstream.connections[0]?.closed === true);
  t.equal(upstream.bytes, '');
  t.match(await probe(tcpTarget(1), undefined, 'tcp'), /^upstream_unreachable: /);
});

t.test('a unix socket is asked, and serves calls, as any other target', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-unix-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'app.sock');
  const hosts: (string | undefined)[] = [];
  const server = createHttp((request, response) => {
    hosts.push(request.headers.host);
    response.end('ok');
  }).listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const target: UpstreamTarget = { address: { kind: 'unix', path }, name: `unix:${path}` };
  t.equal(await probe(target, '/'), undefined);
  const upstream = openUpstream(t, { targets: [target] });
  const caller = await new Caller(t).send(upstream, requestOf('GET', '/a')).over;
  t.match(caller, { status: 200, body: 'ok', servers: [{ target: `unix:${path}` }] });
  t.same(hosts, ['localhost', 'svc.test']);
  const gone: UpstreamTarget = { address: { kind: 'unix', path: `${path}.gone` }, name: 'gone' };
  const nobody = openUpstream(t, { targets: [gone] });
  t.equal((await new Caller(t).send(nobody, requestOf('GET', '/')).over).code, 'upstream_unreachable');
});

t.test('health checks take a target out without any request, and bring it back', async (t) => {
  const servers = [await new RecorderUpstream().open(), await new RecorderUpstream().open()];
  t.teardown(() => Promise.all(servers.map((server) => server.close())));
  const [first] = servers;
  const upstream = openUpstream(t, {
    targets: servers.map(({ port }) => tcpTarget(port)),
    ejection: false,
    healthCheck: { path: '/healthz', everyMs: 20, timeoutMs: 500, healthy: 2, unhealthy: 2 },
  });
  const states = (): string => upstream.status.map(({ state }) => state).join(' ');
  first!.respond = ({ socket }) => socket.end('HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n');
  await waitFor(() => states() === 'unhealthy available');
  t.equal(upstream.status[0]?.lastError?.problem, 'answered 503');
  for (let i = 0; i < 4; i++) {
    const caller = await new Caller(t).send(upstream, requestOf('GET', '/call')).over;
    t.match(caller.servers, [{ target: `127.0.0.1:${servers[1]!.port}` }]);
  }
  first!.respond = answerOk;
  await waitFor(() => states() === 'available available');
  upstream.close();
  const asked = first!.requests.length;
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.ok(first!.requests.length <= asked + 1, 'they end with their upstream');
});
