import t from 'tap';
import { ExportLosses } from '../../../src/telemetry/export-losses.js';
import { readExportLines } from '../../../src/telemetry/otlp-encoder.js';

const line = (seq: number | undefined, worker = 0, event = 'access') =>
  `${JSON.stringify({ stream: { id: 'vm', boot: 'b', worker }, seq, event })}\n`;
const linesOf = (...lines: string[]) => readExportLines(Buffer.from(lines.join('')));

t.test('losses are told by stream, as ranges', async (t) => {
  const losses = new ExportLosses();
  losses.add(linesOf(line(3), line(4), line(1, 1), line(5), line(undefined, 0, 'audit.seal')), 'refused');
  losses.add(linesOf(line(9), line(10)), 'refused');
  losses.add(linesOf(line(11)), 'queue_full');
  t.equal(losses.isWorthTelling, true);
  t.same(losses.take(), [
    { boot: 'b', worker: 0, why: 'refused', from: 3, to: 5, records: 3, seals: 1 },
    { boot: 'b', worker: 0, why: 'refused', from: 9, to: 10, records: 2 },
    { boot: 'b', worker: 0, why: 'queue_full', from: 11, to: 11, records: 1 },
    { boot: 'b', worker: 1, why: 'refused', from: 1, to: 1, records: 1 },
  ]);
  t.same(losses.take(), []);
});

t.test(
  'of a batch that was taken in part the range is all of it, and the number what is missing',
  async (t) => {
    const losses = new ExportLosses();
    losses.add(linesOf(line(1), line(2), line(3), line(4)), 'rejected', 1);
    t.same(losses.take(), [{ boot: 'b', worker: 0, why: 'rejected', from: 1, to: 4, records: 1 }]);
  },
);

t.test('that a record of losses is lost in turn is no reason for another', async (t) => {
  const losses = new ExportLosses();
  losses.add(linesOf(line(1, 0, 'audit.export_lost'), line(undefined, 0, 'audit.seal')), 'refused');
  t.equal(losses.isWorthTelling, false);
  losses.add(linesOf(line(2)), 'refused');
  t.equal(losses.isWorthTelling, true);
  t.same(losses.take(), [{ boot: 'b', worker: 0, why: 'refused', from: 1, to: 2, records: 2, seals: 1 }]);
});

t.test(
  'a long outage in many pieces stays small, and nothing that is lost is outside of what is told',
  async (t) => {
    const losses = new ExportLosses();
    for (let seq = 1; seq <= 2000; seq += 2) losses.add(linesOf(line(seq)), 'refused');
    const told = losses.take();
    t.equal(told.length, 64);
    t.equal(
      told.reduce((sum, { records }) => sum + records, 0),
      1000,
    );
    for (let seq = 1; seq <= 2000; seq += 2) {
      if (!told.some(({ from, to }) => from <= seq && seq <= to)) t.fail(`${seq} is not told`);
    }
  },
);
