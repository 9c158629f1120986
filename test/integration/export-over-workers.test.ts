import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Collector } from '../support/collector.js';
import { ProcessWorld } from '../support/run-process.js';
import { SocketReader } from '../support/socket-reader.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';

async function serve(proxy: ProcessWorld): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const client = await proxy.client();
    for (let j = 0; j < 5; j++) await client.ask(GET);
  }
}

const sorted = (text: string): string[] => text.split('\n').sort();
const workersIn = (text: string): unknown[] => [
  ...new Set(
    text
      .split('\n')
      .filter((line) => line.includes('"event":"access"'))
      .map((line) => (JSON.parse(line) as ReadRecord).stream.worker),
  ),
];

t.test('each worker that writes its own records exports them, and each line comes once', async (t) => {
  const collector = await new Collector().open();
  t.teardown(() => collector.close());
  const audit = `audit.ndjson, otlp: { url: "${collector.url}" }`;
  const proxy = await ProcessWorld.start({ extra: 'workers: 2', audit });
  t.teardown(() => proxy.close());
  await serve(proxy);
  await waitFor(() => collector.text.split('"event":"access"').length === 31);
  t.match(await (await proxy.admin('/metrics')).text(), /audit_exported_total\{result="exported"\} [1-9]/);
  proxy.child.kill('SIGTERM');
  t.equal(await proxy.exited, 0);
  const file = readFileSync(join(proxy.world.dir, 'audit.ndjson'), 'utf8');
  t.same(sorted(collector.text), sorted(file));
  t.same(workersIn(file).sort(), [1, 2]);
});

t.test(
  'where a supervisor writes for all of them, to a unix socket, it exports for all of them',
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'cs-'));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    const reader = await new SocketReader(join(dir, 'r.sock')).open();
    t.teardown(() => reader.close());
    const collector = await new Collector().open();
    t.teardown(() => collector.close());
    const audit = `unix:${reader.path}, durability: written, otlp: { url: "${collector.url}" }`;
    const proxy = await ProcessWorld.start({ extra: 'workers: 2', audit });
    t.teardown(() => proxy.close());
    await serve(proxy);
    await waitFor(() => reader.text.split('"event":"access"').length === 31);
    proxy.child.kill('SIGTERM');
    t.equal(await proxy.exited, 0);
    await waitFor(() => collector.taken.length === reader.lines.length);
    t.same(sorted(collector.text), sorted(reader.text));
    t.same(workersIn(reader.text).sort(), [1, 2]);
  },
);
