import t, { type Test } from 'tap';
import { type Http2Answer, Http2Client } from '../support/http2-client.js';
import { RawHttp2 } from '../support/raw-http2-client.js';
import { ProcessWorld } from '../support/run-process.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';

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

  /** Not one was lost, reset or cut. */
  hold(t: Test, world: World): void {
    const broken = this.answers.filter(({ status, isWhole }) => status !== 200 || !isWhole);
    t.same(
      broken.map(({ status, code }) => [status, code]),
      [],
      `${this.answers.length} answers over ${this.connections} connections`,
    );
    t.equal(world.upstream.requests.length, this.answers.length, 'each was asked once');
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

t.test('GOAWAY announces the end first, and names the last stream when it is known', async (t) => {
  const world = await start(t, { extra: 'limits: { requestsPerConnection: 1 }' });
  const client = await RawHttp2.open({ port: world.port, identity: world.web });
  client.get(1);
  await client.until(() => client.goaways.length > 0);
  t.same(client.goaways[0], { last: 2 ** 31 - 1, code: 0 }, 'what is on its way is still taken');
  client.get(3);
  await client.settled(3);
  t.equal(client.statusOf(3), 200);
  await client.untilClosed();
  t.same(client.goaways.at(-1), { last: 3, code: 0 });
  t.equal((await world.untilRecords(2)).length, 2);
});

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
