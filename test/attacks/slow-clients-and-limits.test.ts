import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import type { RawClient } from '../support/raw-client.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

const reasonsOf = (records: readonly ReadRecord[]): string[] =>
  records.map((record) => record.response?.reason ?? record.decision.reason);
const reasonIn = (body: string | undefined): unknown => JSON.parse(body ?? '{}').reason;

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

/** Sends these bytes one by one, a byte every `everyMs`, until the connection is gone. */
function drip(client: RawClient, bytes: string, everyMs: number): void {
  let at = 0;
  const timer = setInterval(() => {
    if (client.closed || at >= bytes.length) clearInterval(timer);
    else client.send(bytes[at++]!);
  }, everyMs);
}

t.test('P107 slow heads are 408 at the head deadline while others are served as before', async (t) => {
  const world = await start(t, { extra: 'deadlines: { head: 500ms }' });
  const honest = await world.client(world.admin);
  const latencies: number[] = [];
  const ask = async (): Promise<void> => {
    const before = performance.now();
    const [answer] = await honest.ask(GET);
    if (answer?.status !== 200) throw new Error(`the honest client got ${answer?.status}`);
    latencies.push(performance.now() - before);
  };
  await ask(); // a kept connection between requests has no head deadline
  const slow: RawClient[] = [];
  for (let i = 0; i < 100; i++) {
    const client = await world.client();
    slow.push(client);
    drip(client, `${GET.slice(0, -2)}X-A: ${'a'.repeat(10_000)}`, 100);
  }
  const closed = Promise.all(slow.map((client) => client.untilClosed()));
  let done = false;
  void closed.then(() => {
    done = true;
  });
  while (!done) await ask();
  t.ok(latencies.length > 20, 'the honest client was served all the time');
  for (const client of slow) {
    t.equal(client.answers[0]?.status, 408);
    t.equal(reasonIn(client.answers[0]?.body), 'request_timeout');
  }
  latencies.sort((a, b) => a - b);
  t.ok(latencies[Math.floor(latencies.length * 0.99)]! < 250, 'honest p99');
  const denied = (): ReadRecord[] => world.exchanges.filter((record) => record.decision.effect === 'deny');
  await waitFor(() => denied().length >= 100);
  const refused = denied();
  t.equal(refused.length, 100);
  t.ok(refused.every((record) => record.decision.reason === 'request_timeout'));
  await holdInvariants(t, world);
});

t.test(
  'P107 a connection that says nothing after its handshake is closed by the head deadline without an answer',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { head: 300ms }' });
    const silent = await world.client();
    await silent.untilClosed();
    t.equal(silent.received, '');
    await holdInvariants(t, world);
  },
);

t.test(
  'P107 a second request on a kept connection has the same deadline, and one between requests has not',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { head: 400ms, idle: 2s }' });
    const [slow, idle] = [await world.client(), await world.client()];
    await slow.ask(GET);
    await idle.ask(GET);
    slow.send('GET /public/a HTT');
    await slow.untilClosed();
    t.equal(slow.answers.at(-1)?.status, 408);
    t.equal(idle.closed, false);
    t.equal((await idle.ask(GET))[0]?.status, 200);
    await idle.untilClosed();
    t.equal(idle.answers.length, 2, 'idle connections close without an answer');
    await holdInvariants(t, world);
  },
);

for (const [what, head, first] of [
  ['declared', 'Content-Length: 1000000\r\n\r\n', 'a'],
  ['chunked', 'Transfer-Encoding: chunked\r\n\r\n', 'ff\r\na'],
] as const) {
  t.test(
    `P108 a slow ${what} body is 408 at the body deadline and the upstream request is aborted`,
    async (t) => {
      const world = await start(t, { extra: 'deadlines: { body: 600ms }' });
      const client = await world.client();
      client.send(`POST /upload HTTP/1.1\r\nHost: svc.test\r\n${head}${first}`);
      drip(client, 'b'.repeat(1000), 100);
      await client.untilClosed();
      t.equal(client.answers[0]?.status, 408);
      t.equal(reasonIn(client.answers[0]?.body), 'request_timeout');
      await waitFor(() => world.upstream.connections.every(({ bytes, closed }) => bytes === '' || closed));
      t.equal(world.upstream.requests[0]?.complete, false, 'aborted, not completed');
      const [record] = await world.untilRecords(1);
      t.equal(record?.response.status, 408);
      t.equal(record?.response.reason, 'request_timeout');
      await holdInvariants(t, world);
    },
  );
}

t.test('P108 a slow body for a refused request is not waited for', async (t) => {
  const world = await start(t);
  const client = await world.client();
  const before = performance.now();
  client.send('POST /admin/x HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 1000000\r\n\r\na');
  await client.until(() => client.answers.length === 1);
  t.equal(client.answers[0]?.status, 403);
  await client.untilClosed();
  t.ok(performance.now() - before < 4000, 'lingering is short');
  t.equal(world.upstream.bytes, '');
  await holdInvariants(t, world);
});

t.test('P108 an upstream that takes no body is its own fault: 504, not 408', async (t) => {
  const world = await start(t, { extra: 'deadlines: { body: 700ms }' });
  const client = await world.client();
  world.upstream.respond = ({ socket }) => void socket.pause();
  client.send(`POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: ${1 << 28}\r\n\r\n`);
  const chunk = Buffer.alloc(1 << 20, 'a');
  const pump = (): void => {
    while (!client.closed && client.socket.write(chunk));
  };
  client.socket.on('drain', pump);
  pump();
  const [record] = await world.untilRecords(1);
  t.equal(record?.response.reason, 'upstream_timeout');
  t.equal(record?.response.status, 504);
  t.ok(record?.request.bytes < 1 << 25, 'what waits in memory and kernel is bounded');
});

t.test(
  'P109 clients that do not read are cut at the write deadline, and little was taken from the upstream for them',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { body: 700ms }' });
    const size = 1 << 26;
    const chunk = Buffer.alloc(1 << 16, 'x');
    world.upstream.respond = ({ socket, bytes }) => {
      if (bytes.includes('/public/ok'))
        return void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      const pump = (): void => {
        while (!socket.destroyed && socket.write(chunk));
      };
      socket.on('drain', pump);
      pump();
    };
    const clients: RawClient[] = [];
    for (let i = 0; i < 20; i++) {
      const client = await world.client();
      client.socket.pause();
      client.send(GET);
      clients.push(client);
    }
    const records = await world.untilRecords(20);
    t.ok(records.every((record) => record.response.outcome === 'deadline_exceeded'));
    t.ok(records.every((record) => record.response.bytes < 1 << 24));
    await waitFor(() => world.upstream.connections.every(({ bytes, closed }) => bytes === '' || closed));
    for (const client of clients) client.socket.resume();
    await Promise.all(clients.map((client) => client.untilClosed()));
    t.ok(
      clients.every((client) => client.answers.length === 0),
      'nobody can take it for whole',
    );
    await holdInvariants(t, world);
  },
);

t.test(
  'P110 silent and half handshakes are closed at the handshake deadline, each with a record',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { handshake: 500ms }' });
    const sockets: Socket[] = [];
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
    });
    const half = Buffer.from('16030100c8010000c40303', 'hex');
    const closed = Array.from({ length: 60 }, (_, i) => {
      const socket = connect(world.port, '127.0.0.1', () => {
        if (i % 2 === 1) socket.write(half);
      });
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.resume();
      return new Promise((resolve) => socket.once('close', resolve));
    });
    t.equal((await (await world.client()).ask(GET))[0]?.status, 200);
    await Promise.all(closed);
    const refused = (await world.untilRecords(61)).filter((record) => record.event === 'handshake');
    t.equal(refused.length, 60);
    t.same([...new Set(reasonsOf(refused))], ['tls_handshake_timeout']);
    await holdInvariants(t, world);
  },
);

t.test('P110 bytes that are no TLS are a failed handshake with a record', async (t) => {
  const world = await start(t);
  const socket = connect(world.port, '127.0.0.1', () => socket.write('GET /public/a HTTP/1.1\r\n\r\n'));
  socket.on('error', () => undefined);
  socket.resume();
  await new Promise((resolve) => socket.once('close', resolve));
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.reason, 'tls_handshake_failed');
  t.equal(record?.decision.effect, 'deny');
  await holdInvariants(t, world);
});

t.test(
  'P111 heads beyond the limit are 431, long targets 414 or 431, and nothing of them arrives',
  async (t) => {
    const world = await start(t, { extra: 'limits: { headerBytes: 16KiB }' });
    const cases: [string, number[]][] = [
      [`GET /public/a HTTP/1.1\r\nHost: svc.test\r\nX-A: ${'a'.repeat(17 * 1024)}\r\n\r\n`, [431]],
      [`GET /public/${'a'.repeat(20 * 1024)} HTTP/1.1\r\nHost: svc.test\r\n\r\n`, [414, 431]],
      [`GET /public/a?${'a'.repeat(20 * 1024)} HTTP/1.1\r\nHost: svc.test\r\n\r\n`, [414, 431]],
      [`GET /public/a HTTP/1.1\r\nHost: svc.test\r\n${'A: b\r\n'.repeat(150)}\r\n`, [431]],
      [`GET /public/a HTTP/1.1\r\nHost: svc.test\r\n${'X: \r\n'.repeat(3000)}\r\n`, [431]],
      [`GET /public/a HTTP/1.1\r\nHost: svc.test\r\n${'N'.repeat(17 * 1024)}: b\r\n\r\n`, [431]],
    ];
    for (const [bytes, statuses] of cases) {
      const client = await world.client();
      const [answer] = await client.ask(bytes);
      t.ok(statuses.includes(answer?.status ?? 0), `${bytes.slice(0, 60)}: ${answer?.status}`);
      t.ok(['headers_too_large', 'uri_too_long'].includes(String(reasonIn(answer?.body))));
      await client.untilClosed();
    }
    t.equal(world.upstream.bytes, '');
    t.equal((await world.untilRecords(cases.length)).length, cases.length);
    await holdInvariants(t, world);
  },
);

t.test('P111 trailers count too: an endless trailer section ends the request', async (t) => {
  const world = await start(t, { extra: 'limits: { headerBytes: 16KiB }' });
  const client = await world.client();
  client.send('POST /upload HTTP/1.1\r\nHost: svc.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n');
  client.send(`X-A: ${'a'.repeat(40 * 1024)}\r\n\r\n`);
  await client.untilClosed();
  t.notOk(client.answers.some((answer) => answer.status === 200));
  t.notOk(
    world.upstream.requests.some((request) => request.complete),
    'never completed',
  );
  await world.untilRecords(1);
  await holdInvariants(t, world);
});

for (const [what, body] of [
  ['declared', `Content-Length: 2000\r\n\r\n${'a'.repeat(2000)}`],
  ['chunked', `Transfer-Encoding: chunked\r\n\r\n7d0\r\n${'a'.repeat(2000)}\r\n0\r\n\r\n`],
  ['chunked, in small pieces', `Transfer-Encoding: chunked\r\n\r\n${'1\r\na\r\n'.repeat(2000)}0\r\n\r\n`],
] as const) {
  t.test(`P111 a body over the route's limit, ${what}, is 413 and never whole at the upstream`, async (t) => {
    const world = await start(t, {
      routes: `
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: r2, host: svc.test, path: /admin/**, upstream: u }
      - { name: r3, host: svc.test, path: /upload, upstream: u, bodyBytes: 1KiB }
      - { name: r4, host: svc.test, path: /ws, upstream: u, upgrade: [websocket] }
      - { name: r5, host: locked.test, path: /**, upstream: u }`,
    });
    const client = await world.client();
    const [answer] = await client.ask(`POST /upload HTTP/1.1\r\nHost: svc.test\r\n${body}`);
    t.equal(answer?.status, 413);
    t.equal(reasonIn(answer?.body), 'body_too_large');
    await client.untilClosed();
    await waitFor(() => world.upstream.connections.every(({ bytes, closed }) => bytes === '' || closed));
    t.notOk(world.upstream.requests.some((request) => request.complete));
    const [record] = await world.untilRecords(1);
    t.equal(record?.response.reason, 'body_too_large');
    t.equal(record?.response.status, 413);
    const lost = record?.decision.effect === 'allow' && world.upstream.requests.length === 0 ? 1 : 0;
    await holdInvariants(t, world, { lost });
  });
}

t.test(
  'P112 one identity gets its share of the connections, whatever certificate it shows, and others are served',
  async (t) => {
    const world = await start(t, { extra: 'limits: { connectionsPerPrincipal: 20 }' });
    const second = await world.caA.issue(world.web.uri);
    const held: RawClient[] = [];
    for (let i = 0; i < 20; i++) held.push(await world.client(i % 2 ? world.web : second));
    const excess = await Promise.all(Array.from({ length: 15 }, () => world.client()));
    await Promise.all(excess.map((client) => client.untilClosed()));
    for (const client of excess) {
      t.equal(client.answers[0]?.status, 503);
      t.equal(reasonIn(client.answers[0]?.body), 'connection_limit');
      t.equal(client.answers[0]?.headers.connection, 'close');
    }
    const records = await world.untilRecords(15);
    t.same(
      [...new Set(records.map((record) => `${record.event} ${record.decision.reason}`))],
      ['handshake connection_limit'],
    );
    t.equal(records[0]?.principal.id, world.web.uri);
    t.equal((await (await world.client(world.bweb)).ask(GET))[0]?.status, 200);
    t.equal((await held[0]!.ask(GET))[0]?.status, 200, 'connections that were there go on');
    held[1]?.destroy();
    await waitFor(async () =>
      /countersign_connections\{listener="inbound"\} 20\b/.test(await world.metrics()),
    );
    t.equal(
      (await (await world.client()).ask(GET))[0]?.status,
      200,
      'a place that is free again is given again',
    );
    t.match(await world.metrics(), /countersign_refusals_total\{[^}]*reason="connection_limit"\} 15\b/);
    await holdInvariants(t, world);
  },
);

t.test('P112 whoever only claims an identity takes nothing of its share', async (t) => {
  const world = await start(t, { extra: 'limits: { connectionsPerPrincipal: 5 }' });
  const impostor = await world.caC.issue(world.web.uri);
  for (let i = 0; i < 10; i++) await world.client(impostor);
  t.equal((await (await world.client()).ask(GET))[0]?.status, 200);
  await holdInvariants(t, world);
});

t.test('P112 beyond limits.connections nobody is let in until somebody goes', async (t) => {
  const world = await start(t, { extra: 'limits: { connections: 4 }' });
  const held = [await world.client(), await world.client(), await world.client(), await world.client()];
  const excess = await world.client(world.admin);
  await excess.untilClosed();
  t.equal(excess.received, '');
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.reason, 'connection_limit');
  t.equal((await held[0]!.ask(GET))[0]?.status, 200);
  for (const client of held) client.destroy();
  await waitFor(async () => /countersign_connections\{listener="inbound"\} 0\b/.test(await world.metrics()));
  await holdInvariants(t, world);
});

t.test('P153 a thousand integer-like header names or query keys cost no time', async (t) => {
  const world = await start(t);
  const names = Array.from({ length: 1000 }, (_, i) => `${i * 65_536}`);
  const client = await world.client();
  const before = performance.now();
  const [refused] = await client.ask(
    `GET /public/a HTTP/1.1\r\nHost: svc.test\r\n${names.map((name) => `${name}: 1\r\n`).join('')}\r\n`,
  );
  t.equal(refused?.status, 431);
  const other = await world.client();
  const [answer] = await other.ask(
    `GET /public/a?${names.map((name) => `${name}=1`).join('&')} HTTP/1.1\r\nHost: svc.test\r\n\r\n`,
  );
  t.equal(answer?.status, 200);
  t.ok(performance.now() - before < 500);
  await holdInvariants(t, world);
});
