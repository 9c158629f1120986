import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import t, { type Test } from 'tap';
import { ProcessWorld } from '../support/run-process.js';
import { waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const UPGRADE =
  'GET /ws HTTP/1.1\r\nHost: svc.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

async function start(t: Test, drain: string): Promise<ProcessWorld> {
  const proxy = await ProcessWorld.start({ drain });
  t.teardown(() => proxy.close());
  return proxy;
}

const isRefused = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });

t.test(
  'SIGTERM: not ready at once, still serving for the delay, then no new connection, and exit 0',
  async (t) => {
    const proxy = await start(t, '{ delay: 1s, deadline: 5s }');
    const client = await proxy.client();
    t.equal((await client.ask(GET))[0]?.status, 200);
    t.equal((await proxy.admin('/readyz')).status, 200);
    proxy.child.kill('SIGTERM');
    await waitFor(async () => (await proxy.admin('/readyz')).status === 503);
    const [answer] = await client.ask(GET);
    t.equal(answer?.status, 200, 'still served');
    t.equal(answer?.headers.connection, 'close', 'and told to go elsewhere');
    t.equal((await (await proxy.client()).ask(GET))[0]?.status, 200, 'new connections too');
    await waitFor(() => isRefused(proxy.port));
    t.equal(await proxy.exited, 0);
    const events = proxy.world.records.map((record) => record.event);
    t.ok(events.includes('process.draining'));
    t.equal(events.at(-1), 'process.stopped');
  },
);

t.test(
  'a request in flight finishes, idle connections close, and the process does not wait for the deadline',
  async (t) => {
    const proxy = await start(t, '{ delay: 0s, deadline: 20s }');
    let release = (): void => undefined;
    const { upstream } = proxy.world;
    upstream.respond = ({ socket }) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab');
      release = () => void socket.write('cd');
    };
    const [busy, idle, silent] = [await proxy.client(), await proxy.client(), await proxy.client()];
    const half = connect(proxy.port, '127.0.0.1');
    t.teardown(() => half.destroy());
    half.on('error', () => undefined).resume();
    busy.send(GET);
    await busy.until(() => busy.received.endsWith('ab'));
    const before = performance.now();
    proxy.child.kill('SIGTERM');
    await Promise.all([idle.untilClosed(), silent.untilClosed()]);
    t.notOk(busy.closed);
    release();
    await busy.untilClosed();
    t.equal(busy.answers[0]?.body, 'abcd');
    t.equal(await proxy.exited, 0);
    t.ok(performance.now() - before < 5000, 'a connection without a handshake does not hold it up either');
    t.equal(proxy.accesses[0]?.response.outcome, 'complete');
  },
);

t.test(
  'at the deadline what is left is cut: a slow answer and a WebSocket, each with its record',
  async (t) => {
    const proxy = await start(t, '{ delay: 0s, deadline: 700ms }');
    proxy.world.upstream.respond = ({ socket }, fresh) =>
      void socket.write(
        fresh.startsWith('GET /ws')
          ? 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
          : 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab',
      );
    const [slow, tunnel] = [await proxy.client(), await proxy.client()];
    slow.send(GET);
    tunnel.send(UPGRADE);
    await slow.until(() => slow.received.endsWith('ab'));
    await tunnel.until(() => tunnel.received.includes('101'));
    const before = performance.now();
    proxy.child.kill('SIGTERM');
    await Promise.all([slow.untilClosed(), tunnel.untilClosed()]);
    t.ok(performance.now() - before >= 600, 'not before the deadline');
    t.equal(slow.answers.length, 0, 'cut, not ended');
    t.equal(await proxy.exited, 0);
    t.ok(performance.now() - before < 4000);
    const ends = proxy.accesses.filter((record) => record.phase !== 'start');
    t.same(ends.map((record) => [record.request.path, record.response.outcome]).sort(), [
      ['/public/a', 'deadline_exceeded'],
      ['/ws', 'deadline_exceeded'],
    ]);
  },
);

for (const [when, drain] of [
  ['during the delay', '{ delay: 30s, deadline: 30s }'],
  ['while requests are awaited', '{ delay: 0s, deadline: 30s }'],
] as const) {
  t.test(`a second signal ${when} stops at once`, async (t) => {
    const proxy = await start(t, drain);
    proxy.world.upstream.respond = () => undefined;
    const client = await proxy.client();
    client.send(GET);
    await waitFor(() => proxy.world.upstream.requests.length === 1);
    const before = performance.now();
    proxy.child.kill('SIGTERM');
    await waitFor(() => proxy.world.records.some((record) => record.event === 'process.draining'));
    proxy.child.kill('SIGINT');
    t.equal(await proxy.exited, 0);
    t.ok(performance.now() - before < 3000);
    t.equal(proxy.accesses.length, 1, 'what was cut has its record');
    t.equal(proxy.world.records.at(-1)?.event, 'process.stopped');
  });
}
