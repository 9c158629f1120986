import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import type { RawClient } from '../support/raw-client.js';
import { type ReadRecord, type World, waitFor } from '../support/start-proxy.js';
import { startTcp, TCP_POLICY } from '../support/tcp-world.js';

const NO_ALPN = { ALPNProtocols: undefined as never };
const decided = ({ decision, response }: ReadRecord): unknown => [
  decision.effect,
  decision.reason,
  response.outcome,
];

t.test('bytes cross both ways, and two records tell who, how much and how long', async (t) => {
  const { world } = await startTcp(t);
  const client = await world.client(world.web, { ...NO_ALPN, servername: 'db.test' });
  client.send('hello');
  await client.until(() => client.received === 'hello');
  const [first] = await world.untilRecords(1);
  t.equal(first?.phase, 'start');
  client.socket.end();
  await client.untilClosed();
  const [begun, ended] = await world.untilRecords(2);
  t.equal(begun?.id, ended?.id);
  t.equal(ended?.phase, 'end');
  t.equal(ended?.principal.id, 'spiffe://a.test/web');
  t.same(decided(ended!), ['allow', 'rule_allowed', 'complete']);
  t.match(ended?.request, {
    protocol: 'tcp',
    method: 'CONNECT',
    host: 'db.test',
    path: '/',
    route: 'db',
    destination: 'db',
    bytes: 5,
  });
  t.equal(ended?.response.bytes, 5);
  t.equal(ended?.response.status, 0);
});

t.test('who is not allowed is hung up on before the service hears of it, with one record', async (t) => {
  const { world, service } = await startTcp(t);
  const cases = [
    [await world.client(world.admin, NO_ALPN), 'no_rule_matched'],
    [await world.client(world.bweb, NO_ALPN), 'no_rule_matched'],
    [await world.nobody(NO_ALPN), 'certificate_missing'],
    [await world.client(await world.caC.issue('spiffe://c.test/web'), NO_ALPN), 'trust_domain_unknown'],
  ] as const;
  for (const [client] of cases) {
    client.send('DROP TABLE users;');
    await client.untilClosed();
    t.equal(client.received, '');
  }
  const records = await world.untilRecords(cases.length);
  t.same(
    records.map(({ decision }) => [decision.effect, decision.reason]).sort(),
    cases.map(([, reason]) => ['deny', reason]).sort(),
  );
  t.ok(records.every(({ event, phase }) => event === 'access' && phase === undefined));
  t.equal(service.sockets.length, 0);
});

t.test('a route may ask for the name that TLS was asked for', async (t) => {
  const { world, service } = await startTcp(t, { route: ', host: db.test' });
  for (const servername of ['other.test', 'db.test.', '']) {
    const client = await world.client(world.web, { ...NO_ALPN, servername });
    await client.untilClosed();
  }
  t.same((await world.untilRecords(3)).map(({ decision }) => decision.reason).sort(), [
    'host_malformed',
    'route_not_found',
    'route_not_found',
  ]);
  t.equal(service.sockets.length, 0);
  const client = await world.client(world.web, { ...NO_ALPN, servername: 'DB.test' });
  client.send('x');
  await client.until(() => client.received === 'x');
});

t.test('an end crosses and leaves the other way open, whoever it is from', async (t) => {
  const { world, service } = await startTcp(t);
  const size = 4 * 1024 * 1024;
  service.onSocket = (socket) => socket.once('end', () => socket.end(Buffer.alloc(size, 'u')));
  const client = await world.client(world.web, NO_ALPN);
  client.socket.allowHalfOpen = true;
  client.socket.end('all');
  await client.until(() => client.received.length === size);
  await client.untilClosed();
  t.equal(service.received, 'all');
  t.equal(service.ended, 1);
  t.same(decided((await world.untilRecords(2))[1]!), ['allow', 'rule_allowed', 'complete']);

  service.received = '';
  service.onSocket = (socket) => socket.end('first');
  const other = await world.client(world.web, { ...NO_ALPN, allowHalfOpen: true } as object);
  await once(other.socket, 'end');
  t.equal(other.received, 'first');
  other.socket.end('and then');
  await other.untilClosed();
  const record = (await world.untilRecords(4))[3]!;
  t.equal(service.received, 'and then');
  t.same(decided(record), ['allow', 'rule_allowed', 'complete']);
  t.same([record.request.bytes, record.response.bytes], [8, 5]);
});

t.test('what breaks off on one side breaks off on the other: no cut stream looks whole', async (t) => {
  const { world, service } = await startTcp(t);
  const client = await world.client(world.web, NO_ALPN);
  client.send('x');
  await client.until(() => client.received === 'x');
  service.sockets[0]!.resetAndDestroy();
  await client.untilClosed();
  t.equal((client.error as NodeJS.ErrnoException).code, 'ECONNRESET');
  const ended = (await world.untilRecords(2))[1]!;
  t.same(decided(ended), ['allow', 'rule_allowed', 'upstream_cut_short']);
  t.equal(ended.response.reason, 'upstream_reset');

  const { client: leaver, transport } = await overTransport(world);
  leaver.send('y');
  await leaver.until(() => leaver.received === 'y');
  transport.resetAndDestroy();
  await waitFor(() => service.resets === 1);
  t.equal(service.ended, 0);
  t.same(decided((await world.untilRecords(4))[3]!), ['allow', 'rule_allowed', 'client_aborted']);
});

/** A client whose transport is at hand. */
async function overTransport(
  world: World,
): Promise<{ readonly client: RawClient; readonly transport: Socket }> {
  const transport = connect({ port: world.port, host: '127.0.0.1', allowHalfOpen: true });
  transport.on('error', () => undefined);
  await once(transport, 'connect');
  return { client: await world.client(world.web, { ...NO_ALPN, socket: transport }), transport };
}

t.test('a TLS stream that ends without its goodbye is broken off, never ended', async (t) => {
  const { world, service } = await startTcp(t);
  const cases = [
    // a FIN, under the TLS that knows nothing of it
    [true, (_: RawClient, transport: Socket) => transport.end()],
    [false, ({ socket }: RawClient) => socket.end()],
    // within a record, where a whole goodbye would be as long
    [true, (_: RawClient, transport: Socket) => cutWithinRecord(transport)],
    [false, ({ socket }: RawClient) => socket.end(Buffer.alloc(8 * 1024 * 1024))],
  ] as const;
  for (const [i, [isCut, finish]] of cases.entries()) {
    const { client, transport } = await overTransport(world);
    client.send('half of a');
    await client.until(() => client.received === 'half of a');
    finish(client, transport);
    await waitFor(() => service.closed === i + 1);
    t.equal(service.ended, Math.floor((i + 1) / 2));
    const end = (await world.untilRecords(2 * i + 2))[2 * i + 1]!;
    t.same(decided(end), ['allow', 'rule_allowed', isCut ? 'client_aborted' : 'complete']);
    client.destroy();
  }
});

/** 24 bytes of a record of 4 KiB; then FIN. */
function cutWithinRecord(transport: Socket): void {
  const { _handle: handle } = transport as unknown as {
    readonly _handle: { writeBuffer(request: object, bytes: Buffer): number };
  };
  const bytes = Buffer.concat([Buffer.from('1703031000', 'hex'), Buffer.alloc(19)]);
  handle.writeBuffer({ oncomplete: () => undefined }, bytes);
  transport.end();
}

t.test('a service that is not there, or does not accept in time, is a failure with one record', async (t) => {
  const { world, service } = await startTcp(t);
  service.close();
  const client = await world.client(world.web, NO_ALPN);
  await client.untilClosed();
  const [record] = await world.untilRecords(1);
  t.same(decided(record!), ['allow', 'rule_allowed', 'upstream_failed']);
  t.equal(record?.response.reason, 'upstream_unreachable');
  t.equal(record?.phase, undefined);
});

t.test('idle tunnels and old tunnels end, and say so', async (t) => {
  const { world } = await startTcp(t, { route: ', deadlines: { tunnelIdle: 400ms, tunnelAge: 1500ms }' });
  const idle = await world.client(world.web, NO_ALPN);
  await idle.untilClosed();
  const busy = await world.client(world.web, NO_ALPN);
  const timer = setInterval(() => busy.socket.writable && busy.send('.'), 100);
  await busy.untilClosed();
  clearInterval(timer);
  t.ok(busy.received.length > 5, 'it was not ended for being idle');
  for (const record of (await world.untilRecords(4)).filter(({ phase }) => phase === 'end')) {
    t.same(decided(record), ['allow', 'rule_allowed', 'deadline_exceeded']);
  }
});

t.test('a revocation, and a policy that no longer allows, end what is open at once', async (t) => {
  const { world, service } = await startTcp(t);
  const first = await world.client(world.web, NO_ALPN);
  first.send('x');
  await first.until(() => first.received === 'x');
  world.replace('policy.yaml', TCP_POLICY.replace('a.test/web', 'a.test/other'));
  await first.untilClosed();
  await waitFor(() => service.resets === 1);
  t.same(decided((await world.untilRecords(2))[1]!), ['allow', 'rule_allowed', 'access_ended']);
  world.replace('policy.yaml', TCP_POLICY);
  await waitFor(async () => (await world.snapshot()).policyRevision !== undefined);
  const second = await untilAllowed(world);
  const revoked = 'version: 1\nrevoked: [{ id: "spiffe://a.test/web", reason: test }]\n';
  world.replace('revoked.yaml', revoked);
  await second.untilClosed();
  const last = world.exchanges.filter(({ phase }) => phase === 'end').at(-1)!;
  t.same(decided(last), ['allow', 'rule_allowed', 'access_ended']);
  t.equal(service.ended, 0);
});

async function untilAllowed(world: World): ReturnType<World['client']> {
  for (;;) {
    const client = await world.client(world.web, NO_ALPN);
    client.send('x');
    await client.until(() => client.received === 'x');
    if (!client.closed) return client;
  }
}

t.test('limits count a connection as one request', async (t) => {
  const { world } = await startTcp(t, {
    extra: 'limits: { requestsPerPrincipal: { rate: 1/m, burst: 2 }, connectionsPerPrincipal: 2 }',
  });
  const [one, two] = [await world.client(world.web, NO_ALPN), await world.client(world.web, NO_ALPN)];
  for (const client of [one, two]) {
    client.send('x');
    await client.until(() => client.received === 'x');
  }
  const third = await world.client(world.web, NO_ALPN);
  await third.untilClosed();
  t.equal(third.received, '', 'no answer of another protocol');
  one.socket.end();
  await one.untilClosed();
  const fourth = await world.client(world.web, NO_ALPN);
  await fourth.untilClosed();
  const reasons = (await world.untilRecords(5)).map(({ decision }) => decision.reason);
  t.ok(reasons.includes('connection_limit'));
  t.ok(reasons.includes('rate_limited'));
});

t.test('draining leaves tunnels until its deadline, then cuts them', async (t) => {
  const { world } = await startTcp(t, { drain: '{ delay: 0s, deadline: 700ms }' });
  const client = await world.client(world.web, NO_ALPN);
  client.send('x');
  await client.until(() => client.received === 'x');
  const drained = world.app.drain();
  client.send('y');
  await client.until(() => client.received === 'xy');
  t.notOk(client.closed);
  await drained;
  await client.untilClosed();
  const end = world.exchanges.find(({ phase }) => phase === 'end')!;
  t.same(decided(end), ['allow', 'rule_allowed', 'deadline_exceeded']);
});

t.test('a slow reader holds up its sender, and memory stays where it is', async (t) => {
  const { world, service } = await startTcp(t);
  let written = 0;
  service.onSocket = (socket) => {
    const more = (): void => {
      while (written < 64 * 1024 * 1024 && socket.write(Buffer.alloc(65_536, 'u'))) written += 65_536;
      written += 65_536;
    };
    socket.on('drain', more);
    more();
  };
  const client = await world.client(world.web, NO_ALPN);
  client.socket.pause();
  let last = -1;
  await waitFor(() => {
    const stands = written === last;
    last = written;
    return stands && written > 0;
  });
  t.ok(written < 32 * 1024 * 1024, `${written} bytes left the service`);
  client.destroy();
});

t.test('plaintext and silence are refused handshakes', async (t) => {
  const { world, service } = await startTcp(t, { extra: 'deadlines: { handshake: 500ms }' });
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01', '']) {
    const socket = connect(world.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(bytes);
    await once(socket, 'close');
  }
  const reasons = (await world.untilRecords(3)).map(({ decision }) => decision.reason).sort();
  t.same(reasons, ['tls_handshake_failed', 'tls_handshake_timeout', 'tls_handshake_timeout']);
  t.equal(service.sockets.length, 0);
});
