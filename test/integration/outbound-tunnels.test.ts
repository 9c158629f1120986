import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type OutboundOptions, OutboundWorld } from '../support/outbound-world.js';
import type { World } from '../support/start-proxy.js';

const LEDGER = 'spiffe://b.test/ledger';
const WEBSOCKET =
  'GET /ledger/ws HTTP/1.1\r\nHost: ledger.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

async function start(t: Test, options: OutboundOptions = {}): Promise<OutboundWorld> {
  const outbound = await OutboundWorld.start(options);
  t.teardown(() => outbound.close());
  return outbound;
}

const revoke = (world: World, id: string): void =>
  world.replace('revoked.yaml', `version: 1\nrevoked:\n  - { id: "${id}", reason: "key leaked" }\n`);

t.test('a WebSocket ends at once when its server is revoked', async (t) => {
  const outbound = await start(t);
  const { world, server } = outbound;
  server.recorder.respond = ({ socket }) => {
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    );
  };
  const client = await outbound.client();
  client.send(WEBSOCKET);
  await client.until(() => client.received.includes('101'));
  revoke(world, LEDGER);
  await client.untilClosed();
  const records = await world.untilRecords(2);
  t.match(records[1], {
    phase: 'end',
    upstream: { server: { id: LEDGER } },
    response: { reason: 'upstream_untrusted' },
  });
});

/** The same listener and upstream, for bytes of any kind. */
async function startTcp(t: Test): Promise<OutboundWorld> {
  const outbound = await start(t, { policy: TCP_POLICY });
  const { world } = outbound;
  await world.app.close();
  const text = readFileSync(join(world.dir, 'countersign.yaml'), 'utf8')
    .replace('direction: outbound', 'direction: outbound\n    protocol: tcp')
    .replace(
      '{ name: ledger-route, path: /**, upstream: ledger, upgrade: [websocket] }',
      '{ name: ledger-route, upstream: ledger }',
    )
    .replace('https://127.0.0.1', 'tls://127.0.0.1')
    .replace('protocol: http1, ', '');
  world.write('countersign.yaml', text);
  world.write('audit.ndjson', '');
  await world.run();
  outbound.server.recorder.respond = ({ socket }, fresh) => void socket.write(fresh.toUpperCase());
  return outbound;
}

const TCP_POLICY = `version: 1
default: deny
rules:
  - { id: calls, effect: allow, principals: ["spiffe://a.test/proxy"], destinations: [ledger] }
`;

t.test('a workload beside us reaches a TCP service over mTLS, as us', async (t) => {
  const outbound = await startTcp(t);
  const { world, server } = outbound;
  const client = await outbound.client();
  client.send('hello');
  await client.until(() => client.received === 'HELLO');
  t.equal(server.clients[0], world.own.serial);
  client.socket.end();
  await client.untilClosed();
  const [begun, ended] = await world.untilRecords(2);
  t.match(begun, {
    phase: 'start',
    principal: { id: 'spiffe://a.test/proxy' },
    request: { direction: 'outbound', protocol: 'tcp', method: 'CONNECT' },
    upstream: { server: { id: LEDGER } },
  });
  t.match(ended, { phase: 'end', request: { bytes: 5 }, response: { bytes: 5, outcome: 'complete' } });
});

t.test('a TCP connection ends at once when its server is revoked, or when we are', async (t) => {
  for (const id of [LEDGER, 'spiffe://a.test/proxy']) {
    const outbound = await startTcp(t);
    const client = await outbound.client();
    client.send('hello');
    await client.until(() => client.received === 'HELLO');
    const gone = once(outbound.server.recorder.connections[0]!.socket, 'close');
    revoke(outbound.world, id);
    await client.untilClosed();
    await gone;
    const [, ended] = await outbound.world.untilRecords(2);
    t.match(ended, {
      phase: 'end',
      response: { reason: id === LEDGER ? 'upstream_untrusted' : 'access_ended' },
    });
  }
});

t.test('a TCP connection outlives a rotation of our own SVID', async (t) => {
  const outbound = await startTcp(t);
  const client = await outbound.client();
  client.send('hello');
  await client.until(() => client.received === 'HELLO');
  await outbound.world.rotateOwn();
  client.send('again');
  await client.until(() => client.received === 'HELLOAGAIN');
  t.equal(outbound.server.handshakes, 1);
});

t.test('a TCP connection to a server that is somebody else carries no byte', async (t) => {
  const outbound = await startTcp(t);
  outbound.server.show(await outbound.world.caB.issue('spiffe://b.test/other'));
  const client = await outbound.client();
  client.send('hello');
  await client.untilClosed();
  t.equal(outbound.server.recorder.bytes, '');
  t.equal(client.received, '');
  t.match((await outbound.world.untilRecords(1))[0], {
    decision: { detail: /svid_id_invalid/ },
    response: { reason: 'upstream_untrusted' },
  });
});
