import t from 'tap';
import { ask, gaps, startSealed, stop, verified } from '../support/sealed-process.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

t.test(
  'of several workers each has a stream; one that is killed is taken over while the others go on',
  async (t) => {
    const proxy = await startSealed('workers: 2');
    t.teardown(() => proxy.close());
    await ask(proxy, 6);
    const snapshot = await proxy.snapshot();
    t.same(
      snapshot.audit.heads.map(({ stream }: ReadRecord) => stream.worker).sort(),
      [0, 1, 2],
      'a head for each stream, the supervisor’s too',
    );
    const [{ pid, worker }] = snapshot.workers;
    process.kill(pid, 'SIGKILL');
    await waitFor(
      () => gaps(proxy).length === 1,
      10_000,
      () => 'the lost worker is declared',
    );
    t.equal(gaps(proxy)[0]?.stream.worker, 0);
    t.equal(gaps(proxy)[0]?.gap.worker, worker);
    t.ok(gaps(proxy)[0]?.gap.adopted);
    const jwks = (await (await proxy.admin('/.well-known/jwks.json')).json()) as { keys: unknown[] };
    t.equal(jwks.keys.length, 1);
    await ask(proxy, 4);
    await stop(proxy);
    const { code, text } = await verified(proxy);
    t.equal(code, 0, text);
    t.equal(gaps(proxy).length, 1);
  },
);

t.test('workers whose supervisor was killed end, and are taken over by the next one', async (t) => {
  const killed = await startSealed('workers: 2');
  await ask(killed, 4);
  killed.child.kill('SIGKILL');
  await killed.exited;
  const proxy = await killed.restart();
  t.teardown(() => proxy.close());
  await waitFor(
    () => gaps(proxy).length === 2,
    10_000,
    () => proxy.stderr,
  );
  t.same(
    gaps(proxy)
      .map(({ gap }) => gap.worker)
      .sort(),
    [1, 2],
  );
  await stop(proxy);
  const { code, text } = await verified(proxy);
  t.equal(code, 0, text);
});
