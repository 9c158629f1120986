import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { pseudonymOf } from '../../src/message/via.js';
import { ASK, type OutboundOptions, OutboundWorld } from '../support/outbound-world.js';
import { Program } from '../support/program.js';
import { RawClient } from '../support/raw-client.js';
import { changeConfig } from '../support/sources.js';
import { waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: OutboundOptions = {}): Promise<OutboundWorld> {
  const outbound = await OutboundWorld.start(options);
  t.teardown(() => outbound.close());
  return outbound;
}

const ask = (more: string, path = '/ledger/1'): string =>
  `GET ${path} HTTP/1.1\r\nHost: ledger.test\r\n${more}\r\n`;

t.test(
  'a workload beside us reaches a service over mTLS, as us, and the record says whom it reached',
  async (t) => {
    const outbound = await start(t);
    const { world, server } = outbound;
    const client = await outbound.client();
    const [answer] = await client.ask(ASK);
    t.equal(answer?.status, 200);
    t.equal(answer?.body, 'ok');
    t.equal(server.clients[0], world.own.serial, 'the server was shown our own SVID');
    const [request] = server.recorder.requests;
    t.equal(request?.header('host'), 'ledger.test', 'the authority is what the workload asked for');
    const [record] = await world.untilRecords(1);
    t.match(record, {
      event: 'access',
      principal: { id: 'spiffe://a.test/proxy', kind: 'workload' },
      decision: { effect: 'allow', rule: 'calls' },
      request: { listener: 'out', direction: 'outbound', destination: 'ledger', path: '/ledger/1' },
      upstream: { server: { id: 'spiffe://b.test/ledger', kind: 'workload' } },
      response: { status: 200, outcome: 'complete' },
      tls: { resumed: false },
      peer: { address: '127.0.0.1' },
    });
    t.equal(record?.tls.version, undefined, 'there is no TLS on our side');
    t.equal(request?.header('x-request-id'), record?.id);
    t.match(request?.header('traceparent'), new RegExp(`^00-${record?.request.traceId}-`));
  },
);

t.test('policy decides what our own workload may call', async (t) => {
  const outbound = await start(t);
  const client = await outbound.client();
  t.equal((await client.ask(ask('', '/other')))[0]?.status, 403);
  t.equal(outbound.server.handshakes, 0);
  t.match((await outbound.world.untilRecords(1))[0], {
    principal: { id: 'spiffe://a.test/proxy' },
    decision: { effect: 'deny', reason: 'no_rule_matched' },
  });
});

const FORGED = [
  'X-SPIFFE-ID: spiffe://a.test/admin',
  'x_spiffe_id: spiffe://a.test/admin',
  'X-Forwarded-Client-Cert: URI=spiffe://a.test/admin',
  'Client-Cert: :Zm9v:',
  'X-Forwarded-For: 10.0.0.1',
  'X_Forwarded_For: 10.0.0.1',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Host: evil.test',
  'Forwarded: for=10.0.0.1',
  'X-Identity-Assertion: forged',
  'X-HTTP-Method-Override: DELETE',
  'X-Original-URL: /admin',
  'X-Request-Id: forged',
  'Connection: x-other, keep-alive',
  'X-Other: gone',
  'X-App: stays',
];

t.test('what the workload claims about identity is removed, and nothing of the kind is set', async (t) => {
  const outbound = await start(t, {
    extra:
      'forward: { clientCert: true, headers: { X-Remote-User: "{id}" } }\ntrustedPeers: { gateways: [{ spiffeId: spiffe://a.test/proxy }] }',
  });
  const { server, world } = outbound;
  const client = await outbound.client();
  await client.ask(ask(`${FORGED.join('\r\n')}\r\nX-Remote-User: admin\r\n`));
  const [request] = server.recorder.requests;
  const [record] = await world.untilRecords(1);
  t.same(request?.headers.map(([name]) => name.toLowerCase()).sort(), [
    'connection',
    'host',
    'traceparent',
    'via',
    'x-app',
    'x-request-id',
  ]);
  t.equal(request?.header('x-request-id'), record?.id, 'also where our own ID is a trusted peer');
  t.equal(record?.request.requestId, undefined);
});

t.test('a trace of the workload goes on', async (t) => {
  const outbound = await start(t);
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const client = await outbound.client();
  await client.ask(ask(`traceparent: 00-${traceId}-b7ad6b7169203331-01\r\n`));
  t.match(outbound.server.recorder.requests[0]?.header('traceparent'), new RegExp(`^00-${traceId}-`));
  t.equal((await outbound.world.untilRecords(1))[0]?.request.traceId, traceId);
});

t.test(
  'a workload that came in through us may pass on the Via it got; what went out here is not let out again',
  async (t) => {
    const outbound = await start(t);
    const { server } = outbound;
    const client = await outbound.client();
    await client.ask(ASK);
    const ours = server.recorder.requests[0]?.header('via') ?? '';
    t.match(ours, /^1\.1 countersign-[0-9a-f]{8}$/);
    const [again] = await client.ask(ask(`Via: ${ours}\r\n`));
    t.equal(again?.status, 508);
    const inbound = pseudonymOf('spiffe://a.test/proxy', 'inbound');
    t.equal((await (await outbound.client()).ask(ask(`Via: 1.1 ${inbound}\r\n`)))[0]?.status, 200);
  },
);

t.test('a process of another machine is refused, whatever the address says', async (t) => {
  const own = Object.values(networkInterfaces())
    .flat()
    .find((one) => one?.family === 'IPv4' && !one.internal)?.address;
  if (own === undefined) return t.comment('skipped: this machine has no address but loopback');
  const outbound = await start(t);
  const client = await outbound.client({ localAddress: own });
  client.send(ASK);
  await client.untilClosed();
  t.equal(client.received, '');
  t.equal(outbound.server.handshakes, 0);
  t.match((await outbound.world.untilRecords(1))[0], {
    event: 'handshake',
    decision: { effect: 'deny', reason: 'peer_not_local' },
    peer: { address: own },
  });
});

t.test(
  'connections of our own workload count against limits.connections, and not as one identity’s',
  async (t) => {
    const outbound = await start(t, { extra: 'limits: { connections: 3, connectionsPerPrincipal: 1 }' });
    const clients = [await outbound.client(), await outbound.client(), await outbound.client()];
    for (const client of clients) t.equal((await client.ask(ASK))[0]?.status, 200);
    const beyond = await outbound.client();
    await beyond.untilClosed();
    t.match((await outbound.world.untilRecords(4)).find(({ event }) => event === 'handshake')?.decision, {
      reason: 'connection_limit',
    });
  },
);

t.test('calls from several of our own processes are no shared credential', async (t) => {
  const outbound = await start(t, {
    audit: 'audit.ndjson, signals: { sharedAddresses: 2, privatePrefix: 32 }',
  });
  for (const localAddress of ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'])
    t.equal((await (await outbound.client({ localAddress })).ask(ASK))[0]?.status, 200);
  await outbound.world.untilRecords(4);
  t.notOk(outbound.world.records.some(({ event }) => event === 'credential.shared'));
});

/** A folder with a name short enough for sockets. */
function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'cs-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const modeOf = (path: string): number => statSync(path).mode & 0o777;

t.test('a unix socket has its mode from the first moment, and is gone with us', async (t) => {
  const path = join(folder(t), 'out.sock');
  const before = process.umask(0);
  t.teardown(() => process.umask(before));
  const outbound = await OutboundWorld.start({ address: `unix:${path}` });
  try {
    t.equal(modeOf(path), 0o600);
    t.same(readdirSync(join(path, '..')), ['out.sock'], 'nothing is left of how it was made');
    const [answer] = await (await outbound.client()).ask(ASK);
    t.equal(answer?.status, 200);
    t.match((await outbound.world.untilRecords(1))[0]?.peer, { address: '' });
    t.equal(outbound.address, path);
  } finally {
    await outbound.close();
  }
  t.same(readdirSync(join(path, '..')), []);
});

t.test('a unix socket may be opened to a group', async (t) => {
  const path = join(folder(t), 'out.sock');
  await start(t, { address: `unix:${path}`, outboundExtra: '\n    socketMode: "0660"' });
  t.equal(modeOf(path), 0o660);
});

t.test('a socket that a dead process left is replaced', async (t) => {
  const path = join(folder(t), 'out.sock');
  const first = await start(t, { address: `unix:${path}` });
  const ino = statSync(path).ino;
  const left = join(path, '..', 'left.sock');
  renameSync(path, left); // closing leaves it alone: it is not where it was put
  await first.world.app.close();
  renameSync(left, path);
  t.equal(statSync(path).ino, ino);
  const second = await start(t, { address: `unix:${path}` });
  t.equal((await (await second.client()).ask(ASK))[0]?.status, 200);
});

t.test('a socket that somebody listens on is not taken over', async (t) => {
  const path = join(folder(t), 'out.sock');
  const other = createServer((socket) => socket.on('error', () => undefined).end('other')).listen(path);
  t.teardown(() => other.close());
  await t.rejects(OutboundWorld.start({ address: `unix:${path}` }), /another process listens on/);
  t.ok(statSync(path).isSocket());
});

t.test('a file that is no socket is not removed', async (t) => {
  const path = join(folder(t), 'out.sock');
  writeFileSync(path, 'precious');
  await t.rejects(OutboundWorld.start({ address: `unix:${path}` }), /is there and is no socket/);
  t.equal(statSync(path).size, 8);
});

t.test('a path in which no socket can be made safely is refused with a word', async (t) => {
  const long = folder(t);
  const path = join(long, 'x'.repeat(105 - long.length - 3), 's');
  mkdirSync(dirname(path));
  await t.rejects(OutboundWorld.start({ address: `unix:${path}` }), /bytes too long for sockets/);
});

t.test('a listener whose direction was changed lets nothing through before a restart', async (t) => {
  const outbound = await start(t);
  const client = await outbound.client();
  t.equal((await client.ask(ASK))[0]?.status, 200);
  changeConfig(outbound.world, (text) => text.replace('direction: outbound', 'direction: inbound'));
  await outbound.world.app.reload();
  const { status } = (await (await outbound.client()).ask(ASK))[0] ?? {};
  t.equal(status, 503);
  await waitFor(() => outbound.world.diagnostics.some(({ detail }) => 'restartNeeded' in detail));
});

t.test('several workers share one unix socket, which goes with them', async (t) => {
  const path = join(folder(t), 'out.sock');
  const outbound = await OutboundWorld.start({ address: `unix:${path}`, extra: 'workers: 2' });
  t.teardown(() => outbound.close());
  await outbound.world.app.close();
  const program = new Program(['run', '-c', join(outbound.world.dir, 'countersign.yaml')]);
  try {
    const addresses = await program.ready();
    t.equal(addresses.out, path);
    t.equal(modeOf(path), 0o600);
    for (let i = 0; i < 4; i++) {
      const client = await RawClient.openPlain({ path });
      t.equal((await client.ask(ASK))[0]?.status, 200);
      client.destroy();
    }
    program.child.kill('SIGTERM');
    t.equal((await program.endWithin(10_000)).code, 0);
    t.same(readdirSync(join(path, '..')), []);
  } finally {
    program.child.kill('SIGKILL');
    await program.end();
  }
});
