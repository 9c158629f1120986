import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { PREFACE } from '../support/http2-frames.js';
import { ASK, type OutboundOptions, OutboundWorld } from '../support/outbound-world.js';
import { waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: OutboundOptions = {}): Promise<OutboundWorld> {
  const outbound = await OutboundWorld.start(options);
  t.teardown(() => outbound.close());
  return outbound;
}

const portOf = (outbound: OutboundWorld): number => Number(outbound.address.split(':').at(-1));

async function plain(t: Test, outbound: OutboundWorld, more: Partial<NetConnectOpts> = {}): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: portOf(outbound), ...more } as NetConnectOpts);
  t.teardown(() => socket.destroy());
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function ask(
  t: Test,
  outbound: OutboundWorld,
  fields: Record<string, string>,
  body?: string,
): Promise<{ status: number; body: string }> {
  const session = connectHttp2(`http://127.0.0.1:${portOf(outbound)}`);
  t.teardown(() => session.destroy());
  const stream = session.request({ ':authority': 'ledger.test', ...fields });
  stream.end(body);
  const [headers] = await once(stream, 'response');
  let text = '';
  for await (const chunk of stream) text += chunk;
  session.close();
  return { status: headers[':status'], body: text };
}

t.test('a workload beside us may speak HTTP/2 without TLS, by its preface', async (t) => {
  const outbound = await start(t);
  const { server, world } = outbound;
  const body = 'x'.repeat(100_000);
  t.same(await ask(t, outbound, { ':path': '/ledger/1', ':method': 'POST' }, body), {
    status: 200,
    body: 'ok',
  });
  t.same(await ask(t, outbound, { ':path': '/ledger/2', cookie: 'a=b' }), { status: 200, body: 'ok' });
  const [first, second] = server.recorder.requests;
  t.equal(first?.body, body);
  t.equal(first?.header('host'), 'ledger.test');
  t.match(first?.header('via'), /^2 countersign-/);
  t.equal(second?.header('cookie'), 'a=b');
  const records = await world.untilRecords(2);
  t.match(records[0], {
    principal: { id: 'spiffe://a.test/proxy' },
    request: { protocol: 'http/2', direction: 'outbound', bytes: 100_000 },
    upstream: { server: { id: 'spiffe://b.test/ledger' } },
    response: { status: 200, outcome: 'complete' },
  });
  t.equal(records.length, 2);
});

t.test('in plaintext :scheme is http, and what policy does not allow is refused as ever', async (t) => {
  const outbound = await start(t);
  t.equal((await ask(t, outbound, { ':path': '/ledger/1', ':scheme': 'https' })).status, 400);
  t.equal((await ask(t, outbound, { ':path': '/other' })).status, 403);
  const reasons = (await outbound.world.untilRecords(2)).map(({ decision }) => decision.reason);
  t.same(reasons, ['target_malformed', 'no_rule_matched']);
  t.equal(outbound.server.handshakes, 0);
});

t.test('either version is told apart however its first bytes are cut', async (t) => {
  const outbound = await start(t);
  const opening = Buffer.concat([PREFACE, Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]);
  for (const [name, bytes, expected] of [
    ['HTTP/1.1', Buffer.from(ASK), 'HTTP/1.1 200'],
    ['HTTP/1.1 that begins like the preface', Buffer.from(ASK.replace('GET', 'POST')), 'HTTP/1.1 200'],
    ['HTTP/2', opening, '\0\0'],
    ['the preface with another end', Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'), 'HTTP/1.1 '],
  ] as const) {
    const socket = await plain(t, outbound, { noDelay: true } as Partial<NetConnectOpts>);
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1');
    });
    for (let i = 0; i < bytes.length; i++) {
      await new Promise((resolve) => socket.write(bytes.subarray(i, i + 1), resolve));
      if (i < 26) await new Promise((resolve) => setImmediate(resolve));
    }
    await waitFor(
      () => received.length >= 12,
      5000,
      () => `an answer to ${name}`,
    );
    t.ok(received.startsWith(expected), `${name}: ${JSON.stringify(received.slice(0, 20))}`);
    socket.destroy();
  }
});

t.test(
  'a preface that does not come, or does not end, is not waited for beyond deadlines.head',
  async (t) => {
    const outbound = await start(t, { extra: 'deadlines: { head: 300ms }' });
    const ends = await Promise.all(
      ['', 'P', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r'].map(async (bytes) => {
        const socket = await plain(t, outbound);
        let received = '';
        socket.on('data', (chunk: Buffer) => {
          received += chunk.toString('latin1');
        });
        socket.write(bytes);
        await once(socket, 'close');
        return received.slice(0, 12);
      }),
    );
    t.same(ends, ['', 'HTTP/1.1 408', 'HTTP/1.1 408']);
    const records = await outbound.world.untilRecords(2);
    t.same(
      records.map(({ decision }) => decision.reason),
      ['request_timeout', 'request_timeout'],
      'who said nothing asked for nothing',
    );
  },
);

t.test('a beginning that ends is a malformed request', async (t) => {
  const outbound = await start(t);
  const socket = await plain(t, outbound);
  socket.end('PRI * HT');
  socket.resume();
  await once(socket, 'close');
  (await plain(t, outbound)).end();
  const records = await outbound.world.untilRecords(1);
  t.same(
    records.map(({ decision }) => decision.reason),
    ['request_malformed'],
  );
});

t.test('http2: false leaves HTTP/1.1 alone', async (t) => {
  const outbound = await start(t, { outboundExtra: '\n    http2: false' });
  const socket = await plain(t, outbound);
  let received = '';
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  socket.write(PREFACE);
  await once(socket, 'close');
  t.match(received, /^HTTP\/1\.1 505/);
  t.equal((await (await outbound.client()).ask(ASK))[0]?.status, 200);
});
