import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { ProcessWorld } from '../support/run-process.js';
import { waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const CLOSING = GET.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');

async function start(t: Test, ...args: Parameters<typeof ProcessWorld.start>): Promise<ProcessWorld> {
  const proxy = await ProcessWorld.start(...args);
  t.teardown(() => proxy.close());
  return proxy;
}

const hasProc = process.platform === 'linux';
const descriptorsOf = (proxy: ProcessWorld): number => readdirSync(`/proc/${proxy.child.pid}/fd`).length;
const rssOf = (proxy: ProcessWorld): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${proxy.child.pid}/status`, 'utf8'))?.[1]);

const isServed = async (proxy: ProcessWorld): Promise<boolean> =>
  (await (await proxy.client()).ask(CLOSING))[0]?.status === 200;

t.test('P135 out of descriptors: alive, recording, and accepting again once some are free', async (t) => {
  const proxy = await start(t, {}, 512); // Node opens the modules of the program at once: it does not start with much fewer
  t.ok(await isServed(proxy));
  const held: Socket[] = [];
  t.teardown(() => {
    for (const socket of held) socket.destroy();
  });
  for (let i = 0; i < 600; i++) {
    const socket = connect(proxy.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    held.push(socket);
  }
  await waitFor(() => !hasProc || descriptorsOf(proxy) >= 500);
  t.equal(proxy.child.exitCode, null);
  for (const socket of held) socket.destroy();
  await waitFor(() => isServed(proxy));
  await waitFor(() => proxy.accesses.length >= 2);
  proxy.child.kill('SIGTERM');
  t.equal(await proxy.exited, 0);
});

t.test(
  'P136 a thousand connections and two hundred failed handshakes leave neither memory nor descriptors behind',
  async (t) => {
    const proxy = await start(t);
    const cycle = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += 10) {
        await Promise.all(
          Array.from({ length: 10 }, async () => {
            const client = await proxy.client();
            const [answer] = await client.ask(CLOSING);
            if (answer?.status !== 200) throw new Error(`answered ${answer?.status}`);
            client.destroy();
          }),
        );
      }
    };
    const fail = async (): Promise<void> => {
      const socket = connect(proxy.port, '127.0.0.1', () => socket.end('no TLS at all\r\n\r\n'));
      socket.on('error', () => undefined).resume();
      await new Promise((resolve) => socket.once('close', resolve));
    };
    await cycle(200);
    const [fds, rss] = hasProc ? [descriptorsOf(proxy), rssOf(proxy)] : [0, 0];
    await cycle(1000);
    for (let i = 0; i < 200; i += 20) await Promise.all(Array.from({ length: 20 }, fail));
    const metrics = async (): Promise<string> => (await proxy.admin('/metrics')).text();
    await waitFor(async () => /countersign_connections\{listener="inbound"\} 0\b/.test(await metrics()));
    if (hasProc) {
      await waitFor(() => descriptorsOf(proxy) <= fds + 5);
      t.ok(rssOf(proxy) < rss * 1.5, `${rss} kB before, ${rssOf(proxy)} kB after`);
    }
    await waitFor(() => proxy.world.exchanges.length === 1400);
    t.equal(proxy.accesses.length, 1200, 'one record each');
    t.equal(proxy.child.exitCode, null);
  },
);

t.test(
  'P137 SIGTERM under load loses no request that was accepted, and exits 0 before the deadline',
  async (t) => {
    const proxy = await start(t, { drain: '{ delay: 500ms, deadline: 10s }' });
    let broken = 0;
    let whole = 0;
    const load = Array.from({ length: 8 }, async () => {
      for (;;) {
        const client = await proxy.client();
        if (client.closed || client.error !== undefined) return;
        while (!client.closed) {
          client.received = '';
          const [answer] = await client.ask(GET);
          if (answer === undefined) {
            broken += client.received === '' ? 0 : 1;
            break;
          }
          whole++;
          if (answer.headers.connection === 'close') break;
        }
        client.destroy();
      }
    });
    await waitFor(() => whole > 100);
    proxy.child.kill('SIGTERM');
    t.equal(await proxy.exited, 0);
    await Promise.all(load);
    t.equal(broken, 0);
    t.equal(proxy.accesses.filter((record) => record.response.outcome === 'complete').length, whole);
  },
);

t.test(
  'P139 clients that reset right after their request, or in the handshake, end nothing but themselves',
  async (t) => {
    const proxy = await start(t);
    for (let i = 0; i < 40; i++) {
      const client = await proxy.client();
      client.send(i % 2 ? GET : 'POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 10\r\n\r\nabc');
      const transport = (client.socket as unknown as { _parent?: Socket })._parent;
      if (i % 3 === 0) setImmediate(() => transport?.resetAndDestroy());
      else transport?.resetAndDestroy();
    }
    for (let i = 0; i < 20; i++) {
      const socket = connect(proxy.port, '127.0.0.1', () => {
        socket.write(Buffer.from('16030100c8010000c40303', 'hex'), () => socket.resetAndDestroy());
      });
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('close', resolve));
    }
    t.ok(await isServed(proxy));
    t.notMatch(proxy.stderr, /unexpected error|inside the proxy/);
    t.equal(proxy.child.exitCode, null);
  },
);
