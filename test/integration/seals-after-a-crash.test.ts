import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runAudit } from '../../src/cli/audit.js';
import { ProcessWorld } from '../support/run-process.js';
import { newSealKey } from '../support/seal-key.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

const audit = 'audit.ndjson, seal: { key: seal.jwk, every: 1h }';
const GET = 'GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';

async function start(extra = ''): Promise<ProcessWorld> {
  return ProcessWorld.start({ audit, files: { 'seal.jwk': (await newSealKey()).text }, extra });
}

async function ask(proxy: ProcessWorld, times: number): Promise<void> {
  const before = proxy.accesses.length;
  for (let i = 0; i < times; i++) await (await proxy.client()).ask(GET);
  await waitFor(
    () => proxy.accesses.length === before + times,
    10_000,
    () => 'the records',
  );
}

interface Verdict {
  readonly code: number;
  readonly text: string;
}

async function audited(proxy: ProcessWorld, ...args: string[]): Promise<Verdict> {
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  const io = { stdout: write, stderr: write, env: {}, cwd: proxy.world.dir };
  return { code: await runAudit(args, io), text };
}

async function verified(proxy: ProcessWorld, ...more: string[]): Promise<Verdict> {
  const { code, text } = await audited(proxy, 'keys', 'seal.jwk');
  proxy.world.write('keys.json', text);
  return code === 0
    ? audited(proxy, 'verify', '--keys', 'keys.json', 'audit.ndjson', ...more)
    : { code, text };
}

const gaps = (proxy: ProcessWorld): ReadRecord[] =>
  proxy.world.records.filter(({ event }) => event === 'audit.gap');

async function stop(proxy: ProcessWorld): Promise<void> {
  proxy.child.kill('SIGTERM');
  await proxy.exited;
}

t.test(
  'what a killed process left unsealed is taken over by the next one, and all of it is proven',
  async (t) => {
    const killed = await start();
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
  const killed = await start();
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
  'of several workers each has a stream; one that is killed is taken over while the others go on',
  async (t) => {
    const proxy = await start('workers: 2');
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

t.test('workers that outlive their supervisor are not taken over before they are gone', async (t) => {
  const killed = await start('workers: 2\n');
  t.teardown(() => killed.close());
  await ask(killed, 4);
  killed.child.kill('SIGKILL'); // its workers drain, seal and end by themselves
  const proxy = await killed.restart();
  t.teardown(() => proxy.close());
  await ask(proxy, 2);
  const isDeclared = (): boolean => gaps(proxy).some(({ gap }) => gap.worker === 0);
  await waitFor(isDeclared, 15_000, () => `the lost supervisor: ${proxy.stderr}`);
  await stop(proxy);
  const { code, text } = await verified(proxy);
  t.equal(code, 0, text);
});

t.test(
  'without seals it is said that a process ended without a last word, and nothing is taken over',
  async (t) => {
    const killed = await ProcessWorld.start();
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
