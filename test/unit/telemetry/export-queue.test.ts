import fc from 'fast-check';
import t from 'tap';
import { ExportQueue } from '../../../src/telemetry/export-queue.js';

const text = (lines: readonly string[]): Buffer => Buffer.from(lines.map((line) => `${line}\n`).join(''));

t.test(
  'what goes in comes out once, whole and in order, whatever the sizes; the rest is given back',
  async (t) => {
    const lines = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'é'), maxLength: 30 }), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(
        fc.array(lines, { maxLength: 12 }),
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 400 }),
        (chunks, batchBytes, maxBytes) => {
          const queue = new ExportQueue(maxBytes);
          const sent: string[] = [];
          const lost: string[] = [];
          const expected: string[] = [];
          const drain = (): void => {
            const batch = queue.take(batchBytes);
            sent.push(...batch.toString().split('\n').slice(0, -1));
            const isOneLine = batch.indexOf(10) === batch.length - 1;
            if (batch.length > batchBytes && !isOneLine) throw new Error('a batch is too large');
            queue.settle(batch);
          };
          for (const [i, chunk] of chunks.entries()) {
            const rest = queue.push(text(chunk)).toString();
            const gone = rest.split('\n').slice(0, -1);
            lost.push(...gone);
            expected.push(...chunk.slice(0, chunk.length - gone.length));
            if (queue.bytes > maxBytes) throw new Error('it holds more than it may');
            if (i % 3 === 2 && !queue.isEmpty) drain();
          }
          while (!queue.isEmpty) drain();
          return (
            JSON.stringify(sent) === JSON.stringify(expected) &&
            sent.length + lost.length === chunks.flat().length &&
            queue.bytes === 0
          );
        },
      ),
      { numRuns: 300, seed: 5 },
    );
    t.pass();
  },
);
