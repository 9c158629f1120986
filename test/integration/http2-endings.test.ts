import { constants } from 'node:http2';
import t, { type Test } from 'tap';
import { type Http2Answer, Http2Client } from '../support/http2-client.js';
import { RawHttp2 } from '../support/raw-http2-client.js';
import { ProcessWorld } from '../support/run-process.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const { NGHTTP2_REFUSED_STREAM } = constants;

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

/** A client that always has requests under way, and opens a connection when it is told to. */
class Restless {
  readonly answers: Http2Answer[] = [];
  connections = 0;

  constructor(readonly open: () => Promise<Http2Client>) {}

  /** @param most connections, one after the other. */
  async run(most: number): Promise<void> {
    while (this.connections < most) {
      const client = await this.open();
      this.connections++;
      const lanes = Array.from({ length: 8 }, async () => {
        while (client.isOpen) {
          const answer = client.send(`/public/${this.answers.length}`);
          this.answers.push(answer);
          await answer.done;
        }
      });
      await Promise.all(lanes);
      client.destroy();
    }
  }

  /**
   * Not one was lost, reset or cut. Node's client takes requests that it does not send any more when GOAWAY comes, and resets
   * those itself: they may be asked again (RFC 9113 8.7), and nobody has seen them.
   */
  hold(t: Test, world: World): void {
    const sent = this.answers.filter(({ status, code }) => status !== 0 || code !== NGHTTP2_REFUSED_STREAM);
    const broken = sent.filter(({ status, isWhole }) => status !== 200 || !isWhole);
    t.same(
      broken.map(({ status, code }) => [status, code]),
      [],
      `${this.answers.length} answers over ${this.connections} connections`,
    );
    t.equal(world.upstream.requests.length, sent.length, 'each was asked once');
    t.ok(this.answers.length - sent.length <= this.connections, 'and hardly one twice');
  }
}

t.test('connections end at requestsPerConnection without losing a request', async (t) => {
  const world = await start(t, { extra: 'limits: { requestsPerConnection: 20 }' });
  const restless = new Restless(() => Http2Client.open(world.port, world.web));
  await restless.run(6);
  restless.hold(t, world);
  await world.untilRecords(restless.answers.length);
  t.equal(world.exchanges.length, restless.answers.length, 'one record each');
});

t.test('connections end at deadlines.connectionAge without losing a request', async (t) => {
  const world = await start(t, { extra: 'deadlines: { connectionAge: 300ms }' });
  const restless = new Restless(() => Http2Client.open(world.port, world.web));
  await restless.run(4);
  restless.hold(t, world);
});

t.test('draining sends who is connected away, and loses nothing that it has taken', async (t) => {
  const proxy = await ProcessWorld.start({ drain: '{ delay: 1s, deadline: 10s }' });
  t.teardown(() => proxy.close());
  const { world } = proxy;
  const restless = new Restless(() => Http2Client.open(proxy.port, world.web));
  const finished = restless.run(1000).catch(() => undefined); // until nobody takes a connection any more
  await waitFor(() => restless.answers.length > 100);
  proxy.child.kill('SIGTERM');
  t.equal(await proxy.exited, 0);
  await finished;
  t.ok(restless.connections > 1, 'told to go elsewhere while it was still served');
  restless.hold(t, world);
});

t.test(
  'GOAWAY names the last stream that is taken; a later one goes nowhere and may be sent again',
  async (t) => {
    const world = await start(t, { extra: 'limits: { requestsPerConnection: 2 }' });
    const { respond } = world.upstream;
    world.upstream.respond = () => undefined;
    const client = await RawHttp2.open({ port: world.port, identity: world.web });
    client.get(1);
    client.get(3);
    await waitFor(() => world.upstream.requests.length === 2);
    const [first, second] = world.upstream.connections;
    respond(first!, '');
    await client.until(() => client.goaways.length > 0);
    t.same(client.goaways, [{ last: 3, code: 0 }]);
    client.get(5, '/public/late');
    respond(second!, '');
    await client.untilClosed();
    t.same([client.statusOf(1), client.statusOf(3), client.statusOf(5)], [200, 200, undefined]);
    t.notMatch(world.upstream.bytes, /late/);
    t.equal((await world.untilRecords(2)).length, 2);
  },
);

t.test('streams behind one whose credential is refused are refused with it, or never taken', async (t) => {
  const world = await start(t);
  const stranger = await world.caC.issue('spiffe://c.test/web');
  for (const identity of [stranger, undefined]) {
    const before = world.exchanges.length;
    const client = await RawHttp2.open({ port: world.port, identity });
    for (const id of [1, 3, 5, 7]) client.get(id);
    client.headers(9, [[':method', 'GET']]); // malformed besides
    await client.untilClosed();
    t.equal(client.statusOf(1), 403);
    const last = Math.max(...client.goaways.map((goaway) => goaway.last));
    t.ok(last >= 1 && last <= 9, `the last that was looked at: ${last}`);
    await world.untilRecords(before + 1);
    const reasons = new Set(world.exchanges.slice(before).map(({ decision }) => decision.reason));
    t.same([...reasons], [identity === undefined ? 'certificate_missing' : 'trust_domain_unknown']);
  }
  t.equal(world.upstream.bytes, '');
});

t.test('at the deadline of draining, what is left is reset, stream by stream', async (t) => {
  const proxy = await ProcessWorld.start({ drain: '{ delay: 0s, deadline: 500ms }' });
  t.teardown(() => proxy.close());
  const { world } = proxy;
  world.upstream.respond = ({ socket }) =>
    void socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n');
  const client = await Http2Client.open(proxy.port, world.web);
  t.teardown(() => client.destroy());
  const cut = client.send('/public/a');
  await waitFor(() => cut.body === 'ab');
  proxy.child.kill('SIGTERM');
  await cut.done;
  t.equal(cut.isWhole, false);
  t.equal(await proxy.exited, 0);
  t.equal(proxy.accesses[0]?.response.outcome, 'deadline_exceeded');
});

t.test('an upstream that breaks off resets the stream, and ends nothing', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n', () => socket.destroy());
  };
  const client = await RawHttp2.open({ port: world.port, identity: world.web });
  client.get(1);
  await client.settled(1);
  t.equal(client.statusOf(1), 200);
  t.equal(client.resetOf(1), 2, 'INTERNAL_ERROR');
  t.notOk(
    client.frames.some(({ stream, flags, type }) => stream === 1 && type <= 1 && (flags & 1) !== 0),
    'no END_STREAM',
  );
  client.destroy();
  t.match(await world.untilRecords(1), [{ response: { outcome: 'upstream_cut_short' } }]);
});
