import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { RecordWriter } from '../../src/telemetry/record-writer.js';
import { SocketTarget } from '../../src/telemetry/socket-target.js';
import { ToldByWriter } from '../support/record-target.js';
import { SocketReader } from '../support/socket-reader.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

type Test = { teardown(handler: () => unknown): void };

/** Short: the path of a socket has room for little more than a hundred bytes. */
function place(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'cs-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'collector.sock');
}

async function reader(t: Test, path: string): Promise<SocketReader> {
  const opened = await new SocketReader(path).open();
  t.teardown(() => opened.close());
  return opened;
}

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

t.test('a reader on a unix socket gets the whole stream, to its last record', async (t) => {
  const path = place(t);
  const collector = await reader(t, path);
  const world = await World.start({ audit: `unix:${path}` });
  t.teardown(() => world.close());
  const client = await world.client();
  for (let i = 0; i < 30; i++) t.equal((await client.ask(GET))[0]?.status, 200);
  await world.app.close();
  await waitFor(() => collector.text.includes('process.stopped'));
  const records = collector.lines.map((line) => JSON.parse(line) as ReadRecord);
  t.same(
    records.filter(({ seq }) => seq !== undefined).map(({ seq }) => seq),
    records.filter(({ seq }) => seq !== undefined).map((_, i) => i + 1),
  );
  t.equal(records.filter(({ event }) => event === 'access').length, 30);
  t.equal(collector.received.length, 1, 'over one connection');
});

t.test('a reader that restarts gets what came meanwhile, and nobody is refused', async (t) => {
  const path = place(t);
  const first = await reader(t, path);
  const told = new ToldByWriter();
  const writer = new RecordWriter(new SocketTarget(path), told, 'written');
  const confirmed: boolean[] = [];
  const write = (i: number): void => writer.write(`{"n":${i}}\n`, (isKept) => confirmed.push(isKept));
  for (let i = 0; i < 10; i++) write(i);
  await waitFor(() => first.lines.length === 10);
  await first.close();
  for (let i = 10; i < 20; i++) write(i);
  const second = await reader(t, path);
  await waitFor(() => second.lines.length === 10);
  t.same(
    [...first.lines, ...second.lines],
    Array.from({ length: 20 }, (_, i) => `{"n":${i}}`),
  );
  t.same(confirmed, Array(20).fill(true));
  t.same(told.errors, []);
  t.equal(writer.available, true);
  await writer.close();
});

t.test(
  'without a reader records wait, new requests are refused, and all of it comes when it is there',
  async (t) => {
    const path = place(t);
    const world = await World.start({ audit: `unix:${path}` });
    t.teardown(() => world.close());
    const client = await world.client();
    const refused = async () => (await client.ask(GET))[0]?.status === 503;
    await waitFor(refused, 10_000, () => 'a refusal');
    t.match(
      world.diagnostics
        .filter(({ message }) => message === 'records cannot be written')
        .map(({ detail }) => detail),
      [{ err: { message: /^unix:.*collector\.sock: connect ENOENT/ } }],
    );
    const collector = await reader(t, path);
    await waitFor(async () => !(await refused()));
    await world.app.close();
    await waitFor(() => collector.text.includes('process.stopped'));
    const records = collector.lines.map((line) => JSON.parse(line) as ReadRecord);
    t.same(
      records.map(({ seq }) => seq),
      records.map((_, i) => i + 1),
      'from the first on',
    );
    t.ok(records.some(({ decision }) => decision?.reason === 'audit_unavailable'));
  },
);

t.test('a reader that does not read stalls the stream, and that is said', async (t) => {
  const path = place(t);
  const collector = new SocketReader(path);
  collector.isReading = false;
  await collector.open();
  t.teardown(() => collector.close());
  const told = new ToldByWriter();
  const writer = new RecordWriter(new SocketTarget(path), told, 'written');
  const kept: boolean[] = [];
  const line = `${JSON.stringify({ pad: 'x'.repeat(1000) })}\n`;
  for (let i = 0; i < 2000; i++) writer.write(line, (isKept) => kept.push(isKept));
  await waitFor(() => !writer.available, 10_000);
  t.same(told.errors, ['records are not taken']);
  collector.read();
  await waitFor(() => collector.lines.length === 2000);
  await waitFor(() => writer.available);
  t.equal(told.recoveries, 1);
  t.ok(collector.lines.every((text) => `${text}\n` === line));
  t.ok(kept.includes(false), 'who waited was told that it is not kept yet');
  await writer.close();
});

t.test('a connection that ends amid a large batch tears no line, and sends none twice', async (t) => {
  const path = place(t);
  const told = new ToldByWriter();
  const writer = new RecordWriter(new SocketTarget(path), told);
  const readers: SocketReader[] = [];
  let collector = await reader(t, path);
  readers.push(collector);
  const lines = 20_000;
  for (let i = 0; i < lines; i++) writer.write(`${JSON.stringify({ n: i, pad: 'x'.repeat(i % 3000) })}\n`);
  for (let round = 0; round < 3; round++) {
    await waitFor(() => collector.text.length > 1_000_000);
    await collector.close();
    collector = await reader(t, path);
    readers.push(collector);
  }
  await waitFor(() => told.lines === lines, 30_000);
  await waitFor(() => collector.text.includes(`{"n":${lines - 1},`) && collector.text.endsWith('\n'));
  const numbers: number[] = [];
  for (const { received } of readers) {
    for (const text of received) {
      const whole = text.slice(0, text.lastIndexOf('\n') + 1);
      for (const line of whole.split('\n').slice(0, -1)) numbers.push((JSON.parse(line) as { n: number }).n);
    }
  }
  t.ok(numbers.length > lines / 2);
  t.same(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
    'in order, each once',
  );
  await writer.close();
});

t.test('closing does not hang where nobody reads', async (t) => {
  const told = new ToldByWriter();
  const writer = new RecordWriter(new SocketTarget(place(t)), told);
  writer.write('{"n":1}\n');
  const before = performance.now();
  await writer.close();
  t.ok(performance.now() - before < 6000, `${performance.now() - before} ms`);
  t.equal(told.lost, 1);
});
