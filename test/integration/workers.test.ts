import { spawn } from 'node:child_process';
import t from 'tap';
import { BundleServer, bundleDocument } from '../support/bundle-server.js';
import { mintRoot } from '../support/pki.js';
import { RawClient } from '../support/raw-client.js';
import { readRecord } from '../support/record-check.js';
import { MAIN, ProcessWorld } from '../support/run-process.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';

const snapshotOf = async (proxy: ProcessWorld): Promise<ReadRecord> =>
  (await (await proxy.admin('/snapshot')).json()) as ReadRecord;

async function clients(proxy: ProcessWorld, count: number): Promise<RawClient[]> {
  const opened: RawClient[] = [];
  for (let i = 0; i < count; i++) opened.push(await proxy.client());
  return opened;
}

const ask = async (client: RawClient): Promise<number> => (await client.ask(GET))[0]?.status ?? 0;

t.test('several workers share a listener, and answer for one process', async (t) => {
  const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
  t.teardown(() => proxy.close());
  const open = await clients(proxy, 6);
  for (const client of open) t.equal(await ask(client), 200);

  await waitFor(
    () => proxy.accesses.length === 6,
    10_000,
    () => 'the records',
  );
  const workers = new Set(proxy.accesses.map((record) => record.stream.worker));
  t.same([...workers].sort(), [1, 2], 'the connections were dealt out, and each record says who served it');
  const numbers = proxy.accesses.map(({ stream, seq }) => `${stream.boot} ${seq}`);
  t.equal(new Set(numbers).size, 6, 'boot and number name a record');

  const snapshot = await snapshotOf(proxy);
  t.equal(snapshot.workers.length, 2);
  t.equal(snapshot.agreed, true);
  const metrics = await (await proxy.admin('/metrics')).text();
  t.match(metrics, /countersign_requests_total\{[^}]*effect="allow"[^}]*\} 6\n/, 'counted over both');
  t.match(metrics, /countersign_connections\{listener="inbound"\} 6\n/);
  t.match(metrics, /countersign_workers 2\n/);
  t.match(metrics, /countersign_snapshot_info\{[^}]*\} 1\n/, 'one snapshot, not two');
  const connections = (await (await proxy.admin('/connections')).json()) as ReadRecord;
  t.equal(connections.total, 6);
});

t.test('a revocation reaches the connections of every worker', async (t) => {
  const proxy = await ProcessWorld.start({ extra: 'workers: 2', revoked: 'version: 1\nrevoked: []\n' });
  t.teardown(() => proxy.close());
  const open = await clients(proxy, 4);
  for (const client of open) t.equal(await ask(client), 200);
  proxy.world.replace(
    'revoked.yaml',
    'version: 1\nrevoked:\n  - { id: "spiffe://a.test/web", reason: "key leaked" }\n',
  );
  for (const client of open) await client.untilClosed();
  const ended = () => proxy.world.records.filter((record) => record.event === 'connection.terminated');
  await waitFor(
    () => ended().length === 4,
    10_000,
    () => JSON.stringify(ended()),
  );
  t.same([...new Set(ended().map((record) => record.stream.worker))].sort(), [1, 2]);
});

t.test(
  'a worker that is killed is replaced, counted, and takes only its own connections with it',
  async (t) => {
    const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
    t.teardown(() => proxy.close());
    const open = await clients(proxy, 4);
    for (const client of open) t.equal(await ask(client), 200);
    const { workers } = await snapshotOf(proxy);
    const victim = workers[0] as { pid: number; worker: number };
    process.kill(victim.pid, 'SIGKILL');

    await waitFor(
      async () => {
        const now = (await snapshotOf(proxy)).workers as { pid: number }[];
        return now.length === 2 && now.every(({ pid }) => pid !== victim.pid);
      },
      15_000,
      () => proxy.stderr,
    );
    let alive = 0;
    for (const client of open) if (!client.closed && (await ask(client)) === 200) alive++;
    t.equal(alive, 2, 'the other worker kept its connections');
    const metrics = await (await proxy.admin('/metrics')).text();
    t.match(metrics, /countersign_workers_lost_total 1\n/);
    const lost = proxy.world.records.find((record) => record.event === 'process.worker_lost');
    t.match(lost, {
      detail: new RegExp(`worker ${victim.worker}, process ${victim.pid}: ended with SIGKILL`),
    });
    t.equal(await ask(await proxy.client()), 200);
  },
);

t.test(
  'a worker that does not respond is stopped: its open connections would outlive a revocation',
  async (t) => {
    const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
    t.teardown(() => proxy.close());
    const { workers } = await snapshotOf(proxy);
    const victim = workers[0] as { pid: number };
    process.kill(victim.pid, 'SIGSTOP');
    await waitFor(
      () => proxy.stderr.includes('was stopped'),
      30_000,
      () => proxy.stderr,
    );
    await waitFor(
      async () => (await snapshotOf(proxy)).workers.length === 2,
      15_000,
      () => proxy.stderr,
    );
  },
);

t.test('what one worker learns from a bundle endpoint the others ask for at once', async (t) => {
  const web = await mintRoot('web.test');
  const server = await BundleServer.start(
    await web.issue('spiffe://web.test/x', { otherSans: ['DNS:localhost'] }),
  );
  t.teardown(() => server.close());
  const partner = await mintRoot('b.test');
  server.serve(bundleDocument([partner], { sequence: 1, hint: 86_400 }));
  const proxy = await ProcessWorld.start({
    extra: 'workers: 2',
    files: { 'web-ca.pem': web.certPem },
    trust: `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { endpoint: { url: "${server.url}", profile: https_web, ca: web-ca.pem } } }`,
  });
  t.teardown(() => proxy.close());
  const agreed = async (): Promise<ReadRecord | undefined> => {
    const snapshot = await snapshotOf(proxy);
    return snapshot.agreed && snapshot.workers.length === 2 ? snapshot : undefined;
  };
  await waitFor(
    async () => (await (await proxy.admin('/readyz')).text()) === 'ok\n' && (await agreed()) !== undefined,
    15_000,
    () => proxy.stderr,
  );
  const before = await snapshotOf(proxy);
  server.serve(bundleDocument([], { sequence: 2, hint: 86_400 }));
  process.kill((before.workers[0] as { pid: number }).pid, 'SIGKILL'); // its replacement asks anew
  await waitFor(
    async () => ((await agreed())?.trustRevision ?? before.trustRevision) !== before.trustRevision,
    15_000,
    () => proxy.stderr,
  );
  t.pass('the worker that was there all the time, and would have asked again tomorrow, distrusts as well');
});

t.test('records of workers that go to a pipe arrive whole', async (t) => {
  const world = await World.start({ extra: 'workers: 2' });
  await world.app.close();
  t.teardown(() => world.close());
  world.writeConfig({ extra: 'workers: 2', audit: '"-"' });
  const child = spawn(process.execPath, [MAIN, 'run', '-c', `${world.dir}/countersign.yaml`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  await waitFor(
    () => stderr.includes('countersign is ready'),
    15_000,
    () => stderr,
  );
  const { addresses } = JSON.parse(
    stderr.split('\n').find((line) => line.includes('countersign is ready')) ?? '{}',
  ) as { addresses: Record<string, string> };
  const port = Number(addresses.inbound?.split(':').at(-1));
  const path = `/public/${'x'.repeat(3000)}`;
  const open = await Promise.all(
    Array.from({ length: 8 }, () => RawClient.open({ identity: world.web, port })),
  );
  await Promise.all(
    open.map((client) => client.ask(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`.repeat(25), 25)),
  );
  for (const client of open) client.destroy();
  child.kill('SIGTERM');
  t.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  const records = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => readRecord(line));
  t.equal(records.filter(({ event }) => event === 'access').length, 200, 'every one, and none torn');
  t.same([...new Set(records.map(({ stream }) => stream.worker))].filter(Boolean).sort(), [1, 2]);
});

t.test('workers that end as fast as they are started end the process with a clear word', async (t) => {
  const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
  t.teardown(() => proxy.close());
  const killed = new Set<number>();
  while (proxy.child.exitCode === null) {
    const now = await snapshotOf(proxy).catch(() => undefined);
    for (const { pid } of (now?.workers ?? []) as { pid: number }[]) {
      if (killed.has(pid)) continue;
      killed.add(pid);
      process.kill(pid, 'SIGKILL');
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.equal(await proxy.exited, 70);
  t.match(proxy.stderr, /giving up: 5 workers were lost within 60 s/);
});

t.test('SIGTERM drains every worker and the supervisor ends with 0', async (t) => {
  const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
  t.teardown(() => proxy.close());
  const client = await proxy.client();
  t.equal(await ask(client), 200);
  proxy.child.kill('SIGTERM');
  t.equal(await proxy.exited, 0);
  const stopped = proxy.world.records.filter((record) => record.event === 'process.stopped');
  t.equal(stopped.length >= 2, true, 'each worker wrote its last record');
});
