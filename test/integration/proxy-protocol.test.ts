import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { parseProxyHeader, V2_SIGNATURE } from '../../src/message/proxy-protocol.js';
import type { RawClient } from '../support/raw-client.js';
import { World, waitFor } from '../support/start-proxy.js';
import { PlainClient, startTcpWorld, TcpService } from '../support/tcp-world.js';

const FROM = '\n    proxyProtocol: { from: [127.0.0.0/30] }';
const LINE = 'PROXY TCP4 203.0.113.7 192.0.2.1 50000 443\r\n';
const V2 = Buffer.concat([V2_SIGNATURE, Buffer.from('2111000ccb007107c0000201c35001bb', 'hex')]);

/** A TLS client behind a load balancer that says this. */
async function behind(
  world: World,
  header: Buffer | string,
  { pieces = false, localAddress = '127.0.0.1' } = {},
): Promise<RawClient> {
  const transport = connect({ port: world.port, host: '127.0.0.1', localAddress, noDelay: true });
  transport.on('error', () => undefined);
  await once(transport, 'connect');
  await say(transport, Buffer.from(header), pieces);
  return world.client(world.web, { socket: transport, ALPNProtocols: undefined as never });
}

async function say(transport: Socket, bytes: Buffer, inPieces: boolean): Promise<void> {
  if (!inPieces) return void transport.write(bytes);
  for (const octet of bytes) {
    transport.write(Buffer.from([octet]));
    await new Promise(setImmediate);
  }
}

async function startTcp(t: Test, options: Parameters<typeof startTcpWorld>[1] = {}) {
  const service = await new TcpService().open();
  t.teardown(() => service.close());
  const world = await startTcpWorld(service, { listener: FROM, ...options });
  t.teardown(() => world.close());
  return { world, service };
}

t.test('the address that a trusted load balancer tells is the peer’s, in both versions', async (t) => {
  const { world } = await startTcp(t);
  for (const header of [LINE, V2]) {
    for (const pieces of [false, true]) {
      const client = await behind(world, header, { pieces });
      client.send('x');
      await client.until(() => client.received === 'x');
      client.socket.end();
      await client.untilClosed();
    }
  }
  const records = await world.untilRecords(8);
  t.same([...new Set(records.map(({ peer }) => peer.address))], ['203.0.113.7']);
});

t.test('a connection of the balancer itself keeps its own address', async (t) => {
  const { world } = await startTcp(t);
  const local = Buffer.concat([V2_SIGNATURE, Buffer.from('20000000', 'hex')]);
  const client = await behind(world, local, { localAddress: '127.0.0.2' });
  client.send('x');
  await client.until(() => client.received === 'x');
  t.equal((await world.untilRecords(1))[0]?.peer.address, '127.0.0.2');
});

t.test('who is no load balancer is never read as one, and a balancer must be one', async (t) => {
  const { world, service } = await startTcp(t);
  const liar = await behind(world, LINE, { localAddress: '127.0.0.9' });
  await liar.untilClosed();
  const [record] = await world.untilRecords(1);
  t.same([record?.event, record?.decision.reason], ['handshake', 'tls_handshake_failed']);
  t.equal(record?.peer.address, '127.0.0.9');
  const direct = await world.client(world.web, { ALPNProtocols: undefined as never });
  await direct.untilClosed();
  const second = (await world.untilRecords(2))[1]!;
  t.same([second.event, second.decision.reason], ['handshake', 'proxy_header_malformed']);
  t.equal(second.peer.address, '127.0.0.1');
  const own = await world.client(world.web, { ALPNProtocols: undefined as never, localAddress: '127.0.0.9' });
  own.send('x');
  await own.until(() => own.received === 'x');
  t.equal(service.sockets.length, 1);
});

t.test(
  'a header that lies, floods or stalls is closed with one record, and nothing reaches the service',
  async (t) => {
    const { world, service } = await startTcp(t, { extra: 'deadlines: { handshake: 400ms }' });
    const cases: (readonly [Buffer | string, string])[] = [
      ['PROXY TCP4 203.0.113.7 192.0.2.1 50000 99999\r\n', 'proxy_header_malformed'],
      [`PROXY TCP4 ${'9'.repeat(10_000_000)}`, 'proxy_header_malformed'],
      [
        Buffer.concat([V2_SIGNATURE, Buffer.from('2111ffff', 'hex'), Buffer.alloc(10_000_000)]),
        'proxy_header_malformed',
      ],
      [
        Buffer.concat([V2_SIGNATURE, Buffer.from('21310024', 'hex'), Buffer.alloc(36)]),
        'proxy_header_malformed',
      ],
      [Buffer.concat([V2_SIGNATURE, Buffer.from('2111000c', 'hex')]), 'tls_handshake_timeout'],
      ['PROXY ', 'tls_handshake_timeout'],
    ];
    for (const [i, [bytes, reason]] of cases.entries()) {
      const client = new PlainClient(world.port);
      client.socket.write(bytes);
      await client.untilClosed();
      const records = await world.untilRecords(i + 1);
      t.equal(records.length, i + 1);
      t.same([records[i]?.event, records[i]?.decision.reason], ['handshake', reason]);
    }
    t.equal(service.sockets.length, 0);
    t.match(await world.metrics(), /countersign_refusals_total\{[^}]*proxy_header_malformed[^}]*\} 4/);
  },
);

t.test('requests carry the address that was told, too', async (t) => {
  const world = await World.start({ listenerExtra: FROM });
  t.teardown(() => world.close());
  const client = await behind(world, V2);
  const [answer] = await client.ask('GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  t.equal(answer?.status, 200);
  t.same(world.upstream.requests[0]?.all('x-forwarded-for'), ['203.0.113.7']);
  t.equal((await world.untilRecords(1))[0]?.peer.address, '203.0.113.7');
});

t.test('a service that wants it is told who calls, before the first byte', async (t) => {
  const { world, service } = await startTcp(t, { listener: '', upstream: ', proxyProtocol: v2' });
  service.onSocket = () => undefined;
  const client = await world.client(world.web, { ALPNProtocols: undefined as never, servername: 'db.test' });
  client.send('first');
  await waitFor(() => service.received.endsWith('first'));
  const bytes = Buffer.from(service.received, 'latin1');
  const header = parseProxyHeader(bytes);
  t.match(header, {
    ok: true,
    value: { length: bytes.length - 5, told: { source: { address: '127.0.0.1' } } },
  });
  t.equal(
    header?.ok === true && header.value.told?.source.port,
    client.socket.localPort,
    'the port of the client itself',
  );
  t.match(service.received, /\xe0\0\x13spiffe:\/\/a\.test\/web/);
  t.match(service.received, /\x02\0\x07db\.test/);
});
