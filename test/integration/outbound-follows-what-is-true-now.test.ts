import { once } from 'node:events';
import t, { type Test } from 'tap';
import { ASK, type OutboundOptions, OutboundWorld } from '../support/outbound-world.js';
import { type ReadRecord, type World, waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: OutboundOptions = {}): Promise<OutboundWorld> {
  const outbound = await OutboundWorld.start(options);
  t.teardown(() => outbound.close());
  return outbound;
}

const revoke = (world: World, id: string): void =>
  world.replace('revoked.yaml', `version: 1\nrevoked:\n  - { id: "${id}", reason: "key leaked" }\n`);

const untilEvent = async (world: World, event: string): Promise<ReadRecord> => {
  await waitFor(
    () => world.records.some((record) => record.event === event),
    8000,
    () => `a record of ${event}`,
  );
  return world.records.find((record) => record.event === event) ?? {};
};

const MINUTE_MS = 60_000;
const LEDGER = 'spiffe://b.test/ledger';

t.test(
  'a kept connection is closed when its server is revoked, and nothing more is sent to it',
  async (t) => {
    const outbound = await start(t);
    const { world, server } = outbound;
    const client = await outbound.client();
    t.equal((await client.ask(ASK))[0]?.status, 200);
    const [kept] = server.recorder.connections;
    const closed = once(kept!.socket, 'close');
    revoke(world, LEDGER);
    await closed;
    const seen = server.recorder.bytes;
    t.equal((await client.ask(ASK))[0]?.status, 502);
    t.equal(server.recorder.bytes, seen);
    const enforced = await untilEvent(world, 'revocation.enforced');
    t.match(enforced, { source: 'revocations', connections: 1, detail: 'svid_revoked' });
    t.type(enforced.latencyMs, 'number');
  },
);

t.test('a request in flight fails when its server is revoked', async (t) => {
  const outbound = await start(t);
  const { world, server } = outbound;
  server.recorder.respond = () => revoke(world, LEDGER); // and no answer
  const client = await outbound.client();
  const [answer] = await client.ask(ASK);
  t.equal(answer?.status, 502);
  t.match(JSON.parse(answer?.body ?? ''), { reason: 'upstream_untrusted' });
  const [record] = await world.untilRecords(1);
  t.match(record, {
    decision: { detail: /svid_revoked: key leaked/ },
    upstream: { server: { id: LEDGER } },
    response: { reason: 'upstream_untrusted', status: 502 },
  });
});

t.test('an answer that has begun is cut, visibly, when its server is revoked', async (t) => {
  const outbound = await start(t);
  const { world, server } = outbound;
  server.recorder.respond = ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome');
  };
  const client = await outbound.client();
  client.send(ASK);
  await client.until(() => client.received.endsWith('some'));
  revoke(world, LEDGER);
  await client.untilClosed();
  t.equal(client.answers.length, 0, 'nothing that looks whole');
  const [record] = await world.untilRecords(1);
  t.match(record?.response, { outcome: 'upstream_cut_short', reason: 'upstream_untrusted' });
});

t.test('connections to a server end when the authority of its trust domain is gone', async (t) => {
  const outbound = await start(t);
  const { world, server } = outbound;
  const client = await outbound.client();
  t.equal((await client.ask(ASK))[0]?.status, 200);
  const closed = once(server.recorder.connections[0]!.socket, 'close');
  world.replace('b.pem', world.caC.certPem);
  await closed;
  t.equal((await client.ask(ASK))[0]?.status, 502);
  t.match((await untilEvent(world, 'revocation.enforced')).connections, 1);
});

t.test(
  'a kept connection ends with the life of its server\u2019s SVID, without any change of files',
  async (t) => {
    let nowMs = Date.now();
    const outbound = await start(t, {
      nowMs: () => nowMs,
      server: ({ caB }) => caB.issue(LEDGER, { ttlMs: 30 * MINUTE_MS }),
    });
    const { world, server } = outbound;
    // A connection that is kept for longer than the sweep takes.
    server.recorder.respond = ({ socket }) =>
      socket.write('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=60\r\nContent-Length: 2\r\n\r\nok');
    const client = await outbound.client();
    t.equal((await client.ask(ASK))[0]?.status, 200);
    const closed = once(server.recorder.connections[0]!.socket, 'close');
    nowMs += 40 * MINUTE_MS;
    await closed;
    t.match(await untilEvent(world, 'revocation.enforced'), { source: 'clock', detail: 'svid_expired' });
    t.equal((await client.ask(ASK))[0]?.status, 502);
  },
);

t.test('nothing goes out under our own SVID once it is expired', async (t) => {
  let nowMs = Date.now();
  const outbound = await start(t, { nowMs: () => nowMs });
  const { world, server } = outbound;
  t.equal((await (await outbound.client()).ask(ASK))[0]?.status, 200);
  nowMs += 2 * 60 * MINUTE_MS;
  const seen = server.recorder.bytes;
  const [answer] = await (await outbound.client()).ask(ASK);
  t.equal(answer?.status, 503);
  t.equal(server.recorder.bytes, seen);
  const [, record] = await world.untilRecords(2);
  t.match(record?.decision, { reason: 'not_ready', detail: /^our own SVID: svid_expired/ });
});

t.test('what is kept is shown our new SVID after a rotation, and no request is lost', async (t) => {
  const outbound = await start(t);
  const { world, server } = outbound;
  const client = await outbound.client();
  const first = world.own.serial;
  t.equal((await client.ask(ASK))[0]?.status, 200);
  const closed = once(server.recorder.connections[0]!.socket, 'close');
  await world.rotateOwn();
  await closed;
  t.equal((await client.ask(ASK))[0]?.status, 200, 'on the same connection of the workload');
  t.same(server.clients, [first, world.own.serial]);
  const records = await world.untilRecords(2);
  t.same(
    records.map(({ principal }) => principal.serial),
    [first, world.own.serial],
    'each record has the SVID that it went out under',
  );
});

t.test(
  'a download goes on to its end over a rotation of our own SVID, on the connection that it began on',
  async (t) => {
    const outbound = await start(t);
    const { world, server } = outbound;
    const size = 4 * 1024 * 1024;
    server.recorder.respond = ({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      socket.write(Buffer.alloc(size / 2, 'a'));
    };
    const client = await outbound.client();
    client.send(ASK);
    await client.until(() => client.received.length > size / 4);
    await world.rotateOwn();
    const { socket } = server.recorder.connections[0]!;
    t.notOk(socket.destroyed, 'busy: not before its end');
    const closed = once(socket, 'close');
    socket.write(Buffer.alloc(size / 2, 'b'));
    await client.until(() => client.answers.length === 1);
    t.equal(client.answers[0]?.body.length, size);
    await closed;
    t.match((await world.untilRecords(1))[0]?.response, { outcome: 'complete', status: 200 });
  },
);

t.test(
  'nothing goes out under our own SVID once it is revoked; the workload is told to try again later',
  async (t) => {
    const outbound = await start(t);
    const { world, server } = outbound;
    const client = await outbound.client();
    t.equal((await client.ask(ASK))[0]?.status, 200);
    revoke(world, 'spiffe://a.test/proxy');
    await client.untilClosed();
    const seen = server.recorder.bytes;
    const [answer] = await (await outbound.client()).ask(ASK);
    t.equal(answer?.status, 503);
    t.match(JSON.parse(answer?.body ?? ''), { reason: 'not_ready' });
    t.equal(server.recorder.bytes, seen);
    const terminated = await untilEvent(world, 'connection.terminated');
    t.match(terminated, { reason: 'svid_revoked', principal: { id: 'spiffe://a.test/proxy' } });
    const record = (await world.untilRecords(2))[1];
    t.match(record?.decision, { effect: 'deny', reason: 'not_ready', detail: /^our own SVID: svid_revoked/ });
  },
);
