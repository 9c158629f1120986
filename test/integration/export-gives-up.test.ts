import t from 'tap';
import type { ExportLoss } from '../../src/audit/record.js';
import { OtlpEncoder } from '../../src/telemetry/otlp-encoder.js';
import { OtlpTransport } from '../../src/telemetry/otlp-transport.js';
import { RecordExporter } from '../../src/telemetry/record-exporter.js';
import { Collector, hangs, says, takes } from '../support/collector.js';
import { waitFor } from '../support/start-proxy.js';

type Test = { teardown(handler: () => unknown): void };

const stream = { id: 'vm', boot: 'b', worker: 0 };
const lineOf = (seq: number, event = 'access') =>
  `${JSON.stringify({ stream, seq, event, pad: 'x'.repeat(1000) })}\n`;
const linesOf = (from: number, to: number, event?: string): Buffer =>
  Buffer.from(Array.from({ length: to - from + 1 }, (_, i) => lineOf(from + i, event)).join(''));

interface Exported {
  readonly collector: Collector;
  readonly exporter: RecordExporter;
  readonly lost: ExportLoss[];
  readonly counts: Record<string, number>;
  readonly said: string[];
}

async function start(
  t: Test,
  settings: { retryForMs?: number; queueBytes?: number } = {},
): Promise<Exported> {
  const collector = await new Collector().open();
  const url = {
    protocol: 'http:',
    host: '127.0.0.1',
    port: collector.port,
    authority: `127.0.0.1:${collector.port}`,
    target: '/v1/logs',
  } as const;
  const lost: ExportLoss[] = [];
  const counts: Record<string, number> = {};
  const said: string[] = [];
  const say = (_detail: object, message: string) => said.push(message);
  const transport = new OtlpTransport({ url, headers: [], timeoutMs: 300 });
  const exporter = new RecordExporter(
    { retryForMs: 3_600_000, queueBytes: 1024 ** 2, ...settings },
    OtlpEncoder.load('countersign', 'vm'),
    transport,
    {
      diagnostics: { info: say, warn: say, error: say },
      nowMs: Date.now,
      count: (result, lines) => {
        counts[result] = (counts[result] ?? 0) + lines;
      },
      lost: (losses) => lost.push(...losses),
    },
  );
  t.teardown(async () => {
    await exporter.finish(100);
    exporter.close();
    await collector.close();
  });
  return { collector, exporter, lost, counts, said };
}

t.test('what comes beyond the queue is given up, as one piece, and the rest arrives', async (t) => {
  const { collector, exporter, lost, counts, said } = await start(t);
  for (let at = 1; at <= 3000; at += 50) exporter.take(linesOf(at, at + 49));
  t.ok(exporter.queueBytes <= 1024 ** 2);
  await waitFor(() => exporter.queueBytes === 0);
  await waitFor(() => lost.length > 0);
  const [gone] = lost;
  t.match(lost, [{ why: 'queue_full', to: 3000, boot: 'b', worker: 0 }]);
  t.equal(gone?.records, 3000 - (gone?.from ?? 0) + 1);
  t.equal(collector.text, linesOf(1, (gone?.from ?? 0) - 1).toString());
  t.same(counts, { exported: (gone?.from ?? 0) - 1, queue_full: gone?.records });
  t.same(said, [
    'records are not exported: the copy of the collector is incomplete',
    'records are exported again',
  ]);
});

t.test('a batch is not tried for ever, and the next one has its turn', async (t) => {
  const { collector, exporter, lost, counts } = await start(t, { retryForMs: 1000 });
  collector.reply = hangs;
  exporter.take(linesOf(1, 3));
  await waitFor(() => lost.length > 0);
  t.match(lost, [{ why: 'too_old', from: 1, to: 3, records: 3 }]);
  collector.reply = takes();
  exporter.take(linesOf(4, 5));
  await waitFor(() => counts.exported !== undefined); // its answer is here, too
  t.equal(collector.text, linesOf(4, 5).toString());
  t.same(counts, { too_old: 3, exported: 2 });
});

t.test('losses of nothing but what told of losses are kept to be told with others', async (t) => {
  const { collector, exporter, lost, counts } = await start(t);
  collector.reply = says(400);
  exporter.take(linesOf(1, 1, 'audit.export_lost'));
  await waitFor(() => counts.refused === 1);
  exporter.take(linesOf(2, 2));
  await waitFor(() => lost.length > 0);
  t.same(lost, [{ boot: 'b', worker: 0, why: 'refused', from: 1, to: 2, records: 2 }], 'once, and both');
});

t.test('an end respects Retry-After: what may not be sent before it is over is given up', async (t) => {
  const { collector, exporter, lost } = await start(t);
  collector.reply = says(429, { 'retry-after': '60' });
  exporter.take(linesOf(1, 2));
  await waitFor(() => collector.asked.length === 1);
  await waitFor(() => collector.sockets.size === 0);
  const before = performance.now();
  await exporter.finish(500);
  t.ok(performance.now() - before < 400, 'at once');
  t.equal(collector.asked.length, 1);
  t.match(lost, [{ why: 'shutdown', from: 1, to: 2 }]);
});
