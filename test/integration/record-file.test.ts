import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, readFileSync, readSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RecordFile } from '../../src/telemetry/record-file.js';
import { RecordWriter } from '../../src/telemetry/record-writer.js';
import { ToldByWriter } from '../support/record-target.js';
import { waitFor } from '../support/start-proxy.js';

const linesOf = (path: string): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);

t.test(
  'closing waits for the write under way: nothing is lost, nothing lands in a file that reuses the descriptor',
  async (t) => {
    const dir = t.testdir();
    for (let round = 0; round < 20; round++) {
      const path = join(dir, `records-${round}`);
      const file = new RecordWriter(new RecordFile(path), new ToldByWriter());
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
    t.throws(() => new RecordFile(join(t.testdir(), 'missing', 'audit.ndjson')), { code: 'ENOENT' });
  },
);

for (const [name, lines, size] of [
  ['one line for five seconds', 1, 100_000],
  ['ever more lines', 300, 70_000],
] as const) {
  t.test(
    `a reader that does not take ${name} is an outage before a record is lost, and over when it reads`,
    async (t) => {
      const path = join(t.testdir(), 'records');
      execFileSync('mkfifo', [path]);
      const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
      t.teardown(() => closeSync(reader));
      const told = new ToldByWriter();
      const file = new RecordWriter(new RecordFile(path), told);
      file.write('first\n');
      await waitFor(() => told.lines === 1);
      t.equal(file.available, true);
      for (let i = 0; i < lines; i++) file.write(`${'x'.repeat(size)}\n`);
      if (lines > 1) t.equal(file.available, false, 'at once');
      await waitFor(() => !file.available);
      t.same(told.errors, ['records are not taken']);
      t.equal(told.lost, 0);
      let bytes = 0;
      const into = Buffer.alloc(1 << 20);
      await waitFor(() => {
        try {
          for (;;) bytes += readSync(reader, into);
        } catch (error) {
          if ((error as { code?: string }).code !== 'EAGAIN') throw error;
        }
        return told.lines === 1 + lines;
      });
      t.equal(bytes, 6 + lines * (size + 1), 'nothing is lost');
      t.equal(file.available, true);
      t.equal(told.recoveries, 1);
      await file.close();
    },
  );
}

t.test('a new file that can be begun again ends the outage, with nothing to write', async (t) => {
  const dir = join(t.testdir(), 'logs');
  mkdirSync(dir);
  const path = join(dir, 'records');
  const told = new ToldByWriter();
  const file = new RecordWriter(new RecordFile(path), told);
  renameSync(dir, `${dir}.old`);
  file.look();
  await waitFor(() => !file.available);
  t.match(told.errors, [/ENOENT/]);
  mkdirSync(dir);
  file.look();
  await waitFor(() => file.available);
  t.equal(told.recoveries, 1);
  file.write('line\n');
  await file.close();
  t.same(linesOf(path), ['line']);
});

t.test('the file that is back under its name ends the outage too', async (t) => {
  const dir = join(t.testdir(), 'logs');
  mkdirSync(dir);
  const told = new ToldByWriter();
  const file = new RecordWriter(new RecordFile(join(dir, 'records')), told);
  renameSync(dir, `${dir}.old`);
  file.look();
  await waitFor(() => !file.available);
  renameSync(`${dir}.old`, dir);
  file.look();
  await waitFor(() => file.available);
  t.equal(told.recoveries, 1);
  await file.close();
});

t.test(
  'what came while no new file could be begun is written to the old one, without a further record',
  async (t) => {
    const dir = join(t.testdir(), 'logs');
    mkdirSync(dir);
    const told = new ToldByWriter();
    const file = new RecordWriter(new RecordFile(join(dir, 'records')), told);
    renameSync(dir, `${dir}.old`);
    file.look();
    file.write('line\n'); // while the opening is under way
    await waitFor(() => told.lines === 1);
    t.match(told.errors, [/ENOENT/]);
    t.same(linesOf(join(`${dir}.old`, 'records')), ['line']);
    await file.close();
  },
);
