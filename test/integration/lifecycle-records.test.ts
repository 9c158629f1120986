import t from 'tap';
import { ProcessWorld } from '../support/run-process.js';
import { GET, shownAsRefused } from '../support/sources.js';
import { World, waitFor } from '../support/start-proxy.js';

t.test('revocations that are refused leave a record', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  world.replace('revoked.yaml', 'version: 1\nrevoked: [{ id: "spiffe://a.test/web" }]\n');
  await shownAsRefused(t, world, 'revocations', 'revocation.refused', /reason/);
});

t.test(
  'a worker that is replaced leaves a record, and signals of several workers are shown as one',
  async (t) => {
    const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
    t.teardown(() => proxy.close());
    const events = (event: string) => proxy.world.records.filter((record) => record.event === event);
    for (const localAddress of ['127.0.0.1', '127.0.0.2', '127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.3'])
      await (await proxy.client(proxy.world.web, { localAddress })).ask(GET);
    await waitFor(
      () => events('credential.shared').length === 2,
      10_000,
      () => 'each worker has found it among its own connections',
    );
    t.same(
      events('credential.shared')
        .map(({ stream }) => stream.worker)
        .sort(),
      [1, 2],
    );
    const { signals, workers } = await proxy.snapshot();
    t.equal(signals.shared.total, 2);
    t.equal(signals.shared.shown.length, 2);
    t.same(signals.memory.identities, { known: 2, forgotten: 0 });
    const metrics = await (await proxy.admin('/metrics')).text();
    t.match(metrics, /^countersign_shared_credentials\{kind="addresses"\} 2$/m);
    t.match(metrics, /^countersign_shared_credentials\{kind="ids"\} 0$/m);

    process.kill(workers[0].pid, 'SIGKILL');
    await waitFor(
      () => events('process.worker_replaced').length === 1,
      15_000,
      () => proxy.stderr,
    );
    t.match(events('process.worker_lost')[0]?.detail, `process ${workers[0].pid}`);
    t.match(events('process.worker_replaced')[0]?.detail, /^worker 1, process \d+$/);
  },
);
