import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { AskingCrowd } from '../support/kill-under-load.js';
import { ProcessWorld } from '../support/run-process.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

interface Lines {
  readonly records: readonly ReadRecord[];
  /** Lines that are no records. */
  readonly fragments: readonly string[];
}

function linesOf(text: string): Lines {
  const records: ReadRecord[] = [];
  const fragments: string[] = [];
  for (const line of text.split('\n')) {
    try {
      if (line !== '') records.push(JSON.parse(line) as ReadRecord);
    } catch {
      fragments.push(line);
    }
  }
  return { records, fragments };
}

/** Which of these paths no record tells of. */
function unrecorded(paths: readonly string[], { records }: Lines): string[] {
  const recorded = new Set(records.map(({ request }) => request?.path));
  return paths.filter((path) => !recorded.has(path));
}

for (const durability of ['written', 'synced'] as const) {
  t.test(`${durability}: no answer that a client has whole lacks its record after kill -9`, async (t) => {
    let proxy = await ProcessWorld.start({ audit: `audit.ndjson, durability: ${durability}` });
    t.teardown(() => proxy.close());
    const whole: string[] = [];
    for (let round = 0; round < 4; round++) {
      const crowd = await AskingCrowd.start(proxy, 16);
      await crowd.more(150 + 37 * round);
      proxy.child.kill('SIGKILL');
      await proxy.exited;
      await crowd.end();
      whole.push(...crowd.whole);
      const lines = linesOf(readFileSync(join(proxy.world.dir, 'audit.ndjson'), 'utf8'));
      t.same(unrecorded(crowd.whole, lines), [], `round ${round}: ${crowd.whole.length} answers`);
      t.ok(lines.fragments.length <= round + 1, 'at most the line that it was writing is torn');
      proxy = await proxy.restart();
    }
    t.ok(whole.length > 600);
  });
}

t.test(
  'written, several workers: one that is killed leaves no whole answer without its record',
  async (t) => {
    const proxy = await ProcessWorld.start({
      audit: 'audit.ndjson, durability: written',
      extra: 'workers: 2',
    });
    t.teardown(() => proxy.close());
    const crowd = await AskingCrowd.start(proxy, 16);
    await crowd.more(200);
    const { workers } = await proxy.snapshot();
    process.kill((workers as { pid: number }[])[0]!.pid, 'SIGKILL');
    await waitFor(() => proxy.stderr.includes('a worker was replaced'), 20_000);
    await crowd.end();
    const lines = linesOf(readFileSync(join(proxy.world.dir, 'audit.ndjson'), 'utf8'));
    t.same(unrecorded(crowd.whole, lines), []);
  },
);

t.test(
  'written, workers whose records go through the supervisor: what it has counts, and no less',
  async (t) => {
    const audit = '"-", durability: written';
    const proxy = await ProcessWorld.start({ extra: 'workers: 2' }, undefined, { audit });
    t.teardown(() => proxy.close());
    let text = '';
    proxy.child.stdout!.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const read = new Promise((resolve) => proxy.child.stdout!.once('close', resolve));
    const crowd = await AskingCrowd.start(proxy, 16);
    await crowd.more(300);
    proxy.child.kill('SIGKILL');
    await proxy.exited;
    await crowd.end();
    await read;
    t.ok(crowd.whole.length >= 300);
    t.same(unrecorded(crowd.whole, linesOf(text)), []);
    t.same([...crowd.statuses.keys()], [200]);
  },
);

t.test('P127 a full disk: 503, not ready, counted; a rotation makes room, without a restart', async (t) => {
  const audit = 'audit.ndjson, durability: written';
  const proxy = await ProcessWorld.start({ audit }, undefined, { fileBlocks: 200 });
  t.teardown(() => proxy.close());
  const crowd = await AskingCrowd.start(proxy, 8);
  await waitFor(() => proxy.stderr.includes('records cannot be written'), 20_000);
  const client = await proxy.client();
  const [refused] = await client.ask(GET);
  t.match(refused, { status: 503, body: /audit_unavailable/ });
  t.equal((await proxy.admin('/readyz')).status, 503);
  t.match(
    proxy.stderr,
    /"then":"new requests are refused until they can be","msg":"records cannot be written"/,
  );
  t.notMatch(proxy.stderr, /"data":\[|"principal"/, 'no byte of a record stands among the diagnostics');
  await crowd.end();
  const full = join(proxy.world.dir, 'audit.full');
  renameSync(join(proxy.world.dir, 'audit.ndjson'), full);
  await waitFor(() => proxy.stderr.includes('records are written again'));
  const [answer] = await client.ask(GET);
  t.equal(answer?.status, 200);
  proxy.child.kill('SIGTERM');
  t.equal(await proxy.exited, 0, `its last words: ${proxy.stderr.slice(-600)}`);
  const [before, after] = [full, join(proxy.world.dir, 'audit.ndjson')].map((file) =>
    linesOf(readFileSync(file, 'utf8')),
  );
  const lines = {
    records: [...before!.records, ...after!.records],
    fragments: [...before!.fragments, ...after!.fragments],
  };
  t.same(lines.fragments, [], 'the line that did not fit stands whole in the new file');
  t.same(unrecorded(crowd.whole, lines), []);
  const ours = lines.records.filter(({ stream }) => stream.boot === lines.records.at(-1)?.stream.boot);
  t.same(
    ours.map(({ seq }) => seq),
    ours.map((_record, i) => i + 1),
    'and nothing is lost',
  );
});

t.test('a reader of standard output that goes away: said, 503, and the process lives', async (t) => {
  for (const workers of [1, 2]) {
    const audit = '"-", durability: written, signals: { firstSeen: false }'; // else the pipe is missed before the second request
    const proxy = await ProcessWorld.start({ extra: `workers: ${workers}` }, undefined, { audit });
    t.teardown(() => proxy.close());
    const client = await proxy.client();
    const other = await proxy.client();
    proxy.child.stdout!.resume();
    t.equal((await client.ask(GET))[0]?.status, 200);
    proxy.child.stdout!.destroy();
    client.received = '';
    client.send(GET);
    await client.untilClosed();
    t.equal(client.answers.length, 0, 'the answer under way is reset');
    await waitFor(() => proxy.stderr.includes('records cannot be written'));
    await waitFor(async () => (await proxy.admin('/readyz')).status === 503); // every worker has been told
    t.match((await other.ask(GET))[0], { status: 503, body: /audit_unavailable/ });
    const metrics = await (await proxy.admin('/metrics')).text();
    t.match(metrics, /countersign_audit_unconfirmed_answers_total\{result="reset"\} 1\n/);
    proxy.child.kill('SIGTERM');
    t.equal(await proxy.exited, 0);
  }
});

t.test('a file that is cut in place (copytruncate) is said, in diagnostics and in the records', async (t) => {
  const world = await World.start({ audit: 'audit.ndjson, durability: written' });
  t.teardown(() => world.close());
  const client = await world.client();
  for (let i = 0; i < 3; i++) await client.ask(GET);
  truncateSync(join(world.dir, 'audit.ndjson'));
  await waitFor(() => world.records.some(({ event }) => event === 'audit.gap'));
  const [gap] = world.records;
  t.match(gap, { event: 'audit.gap', gap: { why: 'truncated' }, detail: /rotate it by rename/ });
  t.ok(world.diagnostics.some(({ message }) => message.includes('made shorter in place')));
  t.equal((await client.ask(GET))[0]?.status, 200);
  t.equal(world.records.filter(({ event }) => event === 'audit.gap').length, 1, 'once');
});

t.test('half a line that a killed process left is ended first, and ours stands by itself', async (t) => {
  for (const durability of ['buffered', 'synced']) {
    const world = await World.start({
      audit: `audit.ndjson, durability: ${durability}`,
      files: { 'audit.ndjson': '{"seq":1}\n{"seq":2,"eve' },
    });
    t.teardown(() => world.close());
    await world.app.close();
    const { records, fragments } = linesOf(readFileSync(join(world.dir, 'audit.ndjson'), 'utf8'));
    t.same(fragments, ['{"seq":2,"eve']);
    t.same(
      records.map(({ event }) => event),
      [undefined, 'process.started', 'process.stopped'],
    );
  }
});

t.test('a folder that goes away is an outage in every mode, and over when it is back', async (t) => {
  for (const durability of ['written', 'synced']) {
    const dir = t.testdir({ [durability]: {} });
    const file = join(dir, durability, 'audit.ndjson');
    const world = await World.start({ audit: `${file}, durability: ${durability}` });
    t.teardown(() => world.close());
    const client = await world.client();
    t.equal((await client.ask(GET))[0]?.status, 200);
    renameSync(join(dir, durability), join(dir, `${durability}.gone`));
    const has = (text: string) => world.diagnostics.some(({ message }) => message === text);
    await waitFor(() => has('records cannot be written'));
    t.match((await client.ask(GET)).at(-1), { status: 503 });
    renameSync(join(dir, `${durability}.gone`), join(dir, durability));
    await waitFor(() => has('records are written again'));
    t.equal((await client.ask(GET)).at(-1)?.status, 200);
    await world.app.close();
    const { records } = linesOf(readFileSync(file, 'utf8'));
    t.same(
      records.map(({ seq }) => seq),
      records.map((_record, i) => i + 1),
    );
  }
});

t.test('synced is refused on what has no disk, with a word on why', async (t) => {
  const pipe = join(t.testdir(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const [file, why] of [
    ['"-"', /standard output is no disk/],
    [pipe, /synced needs a regular file: .*pipe is none/],
    ['/dev/null', /synced needs a regular file/],
  ] as const) {
    await t.rejects(World.start({ audit: `${file}, durability: synced` }), { message: why });
  }
});

t.test('a pipe that nobody reads is no place to start with', async (t) => {
  const pipe = join(t.testdir(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  await t.rejects(World.start({ audit: pipe }), { message: /nobody reads this pipe/ });
});
