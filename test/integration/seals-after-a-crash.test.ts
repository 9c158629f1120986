import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Program } from '../support/program.js';
import { ProcessWorld } from '../support/run-process.js';
import { ask, gaps, startSealed, stop, verified } from '../support/sealed-process.js';
import { waitFor } from '../support/start-proxy.js';

t.test(
  'what a killed process left unsealed is taken over by the next one, and all of it is proven',
  async (t) => {
    const killed = await startSealed();
    await ask(killed, 3);
    killed.child.kill('SIGKILL');
    await killed.exited;
    const open = await verified(killed);
    t.equal(open.code, 1, open.text);
    const proxy = await killed.restart();
    t.teardown(() => proxy.close());
    await ask(proxy, 2);
    const heads = await proxy.snapshot();
    t.equal(heads.audit.heads[0].unsealed > 0, true);
    await stop(proxy);
    const [gap, ...others] = gaps(proxy);
    t.equal(others.length, 0);
    t.equal(gap?.gap.why, 'ended_without_last_word');
    t.equal(gap?.gap.after, 4, 'the start and three requests');
    t.match(gap?.gap.adopted, { from: 1, to: 4 });
    const { code, text } = await verified(proxy);
    t.equal(code, 0, text);
    // One byte of what was taken over.
    const file = join(proxy.world.dir, 'audit.ndjson');
    const altered = readFileSync(file, 'utf8').replace(
      `"boot":"${gap?.gap.boot}","worker":0},"seq":1,"time":"2`,
      `"boot":"${gap?.gap.boot}","worker":0},"seq":1,"time":"3`,
    );
    t.not(altered, readFileSync(file, 'utf8'));
    writeFileSync(file, altered);
    t.equal((await verified(proxy)).code, 1);
  },
);

t.test('half a line of a killed process is ended, taken over, and no obstacle to the proof', async (t) => {
  const killed = await startSealed();
  await ask(killed, 1);
  killed.child.kill('SIGKILL');
  await killed.exited;
  const file = join(killed.world.dir, 'audit.ndjson');
  const last = readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  appendFileSync(file, last.replace('"seq":2', '"seq":3').slice(0, -40));
  const proxy = await killed.restart();
  t.teardown(() => proxy.close());
  await stop(proxy);
  const { code, text } = await verified(proxy);
  t.equal(code, 0, text);
});

t.test(
  'without seals it is said that a process ended without a last word, and nothing is taken over',
  async (t) => {
    const killed = await ProcessWorld.start({ audit: 'audit.ndjson, signals: { firstSeen: false }' });
    await ask(killed, 1);
    const proxy = await killed.restart();
    t.teardown(() => proxy.close());
    await stop(proxy);
    t.same(
      gaps(proxy).map(({ gap }) => ({ why: gap.why, after: gap.after, adopted: gap.adopted })),
      [{ why: 'ended_without_last_word', after: 2, adopted: undefined }],
    );
  },
);

t.test('a process that is still writing is not taken over before it is gone', async (t) => {
  const before = await startSealed();
  t.teardown(() => before.close());
  await ask(before, 2);
  const next = new Program(['run', '-c', join(before.world.dir, 'countersign.yaml')]);
  t.teardown(() => next.child.kill('SIGKILL'));
  await waitFor(
    () => next.stderr.includes('another process writes to the file') && next.stderr.includes('is ready'),
    15_000,
    () => next.stderr,
  );
  await ask(before, 1);
  t.same(gaps(before), []);
  before.child.kill('SIGKILL');
  await waitFor(
    () => gaps(before).length === 1,
    10_000,
    () => next.stderr,
  );
  t.equal(gaps(before)[0]?.gap.after, 4);
  next.child.kill('SIGTERM');
  t.equal((await next.end()).code, 0);
  const { code, text } = await verified(before);
  t.equal(code, 0, text);
});
