import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RecordFile } from '../../src/telemetry/record-file.js';

const silent = {
  failed: () => undefined,
  recovered: () => undefined,
  written: () => undefined,
  dropped: () => undefined,
};
const linesOf = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);

t.test(
  'closing waits for the write under way: nothing is lost, nothing lands in a file that reuses the descriptor',
  async (t) => {
    const dir = t.testdir();
    for (let round = 0; round < 20; round++) {
      const path = join(dir, `records-${round}`);
      const file = new RecordFile(path, silent);
      const big = 'x'.repeat(70_000); // at once more than one flush: the first is under way when close is called
      const expected = Array.from({ length: 40 }, (_, i) => `${i} ${big}`);
      for (const line of expected) file.write(`${line}\n`);
      const closed = file.close();
      const other = join(dir, `other-${round}`);
      const descriptor = openSync(other, 'a');
      await closed;
      closeSync(descriptor);
      t.same(
        linesOf(path).map((line) => line.length),
        expected.map((line) => line.length),
      );
      t.equal(readFileSync(other, 'utf8'), '');
    }
  },
);

t.test(
  'a file that cannot be opened is an error at once: a proxy that cannot record does not start',
  async (t) => {
    t.throws(() => new RecordFile(join(t.testdir(), 'missing', 'audit.ndjson'), silent), { code: 'ENOENT' });
  },
);
