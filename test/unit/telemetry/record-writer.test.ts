import t from 'tap';
import type { Confirms } from '../../../src/telemetry/record-batch.js';
import { RecordLog } from '../../../src/telemetry/record-log.js';
import type { RecordSealer } from '../../../src/telemetry/record-sealer.js';
import { RecordWriter } from '../../../src/telemetry/record-writer.js';
import { HeldTarget, ToldByWriter } from '../../support/record-target.js';

/** A writer on a target that is told what to do, and what became of each confirmation. */
class Bench {
  readonly target = new HeldTarget();
  readonly told = new ToldByWriter();
  readonly kept: string[] = [];
  readonly writer: RecordWriter;
  #wake: (() => void)[] = [];

  constructor(confirms: Confirms, sealer?: RecordSealer) {
    this.writer = new RecordWriter(this.target, this.told, confirms, sealer);
  }

  write(name: string): void {
    this.writer.write(`${name}\n`, (isKept) => {
      this.kept.push(isKept ? name : `not ${name}`);
      for (const wake of this.#wake.splice(0)) wake();
    });
  }

  async untilTold(count: number): Promise<readonly string[]> {
    while (this.kept.length < count) await new Promise<void>((resolve) => this.#wake.push(resolve));
    return this.kept;
  }

  async close(): Promise<void> {
    this.target.isOpen = true;
    await this.writer.close();
  }
}

class CountingSealer implements RecordSealer {
  readonly covered: string[] = [];
  isDue = false;
  isOpen = false;
  cannotSign = false;
  seals = 0;
  shown = 0;
  cover(lines: readonly string[], bytes: Buffer): void {
    if (lines.join('') !== bytes.toString()) throw new Error('these are not the bytes of these lines');
    this.covered.push(...lines);
    this.isOpen = true;
  }
  seal(isLast: boolean): Promise<string> {
    if (this.cannotSign) return Promise.reject(new Error('the key is gone'));
    this.isOpen = false;
    this.isDue = false;
    return Promise.resolve(`seal ${++this.seals} of ${this.covered.length}${isLast ? ', the last' : ''}\n`);
  }
  sealed(): void {
    this.shown++;
  }
}

t.test('written: a record is confirmed when the target has it, with all that came in its turn', async (t) => {
  const bench = new Bench('written');
  bench.write('a');
  bench.write('b');
  t.same(bench.kept, [], 'never from within the call');
  t.equal(await bench.target.take(), 'a\nb\n');
  t.same(await bench.untilTold(2), ['a', 'b']);
  t.equal(bench.target.syncs, 0);
  await bench.close();
});

t.test(
  'synced: what comes while the disk is busy waits for its next turn, and then goes together',
  async (t) => {
    const bench = new Bench('synced');
    bench.write('a');
    await bench.target.take();
    for (const name of ['b', 'c', 'd']) bench.write(name);
    t.same(bench.kept, [], 'taken is not synced');
    await bench.target.finishSync();
    t.same(await bench.untilTold(1), ['a']);
    t.equal(await bench.target.take(), 'b\nc\nd\n');
    t.same(bench.kept, ['a']);
    await bench.target.finishSync();
    t.same(await bench.untilTold(4), ['a', 'b', 'c', 'd']);
    t.equal(bench.target.syncs, 2);
    await bench.close();
  },
);

t.test('whoever waits is told at once that it cannot be kept; the line itself is not given up', async (t) => {
  const bench = new Bench('written');
  bench.write('first');
  bench.write('second');
  await bench.target.breakOff(9, 'no space left');
  t.same(await bench.untilTold(2), ['not first', 'not second']);
  t.equal(bench.writer.available, false);
  bench.write('third');
  t.equal(bench.kept.length, 2, 'never from within the call');
  t.same((await bench.untilTold(3)).at(-1), 'not third', 'nor does anybody wait for the end of the outage');
  t.equal(await bench.target.take(), 'ond\n', 'from where it broke off');
  t.equal(await bench.target.take(), 'third\n');
  bench.write('fourth');
  await bench.target.take();
  await bench.untilTold(4);
  t.same(bench.told.errors, ['no space left']);
  t.equal(bench.told.lost, 0);
  await bench.close();
  t.equal(bench.target.taken.join(''), 'first\nsecond\nthird\nfourth\n');
});

t.test('what broke off stands whole in the new file, where one was begun to make room', async (t) => {
  const bench = new Bench('written');
  bench.write('first');
  bench.write('second');
  await bench.target.breakOff(9, 'no space left');
  bench.target.hasMoved = true;
  await bench.untilTold(2);
  t.equal(await bench.target.take(), 'second\n');
  t.equal(bench.target.moves, 1);
  await bench.close();
});

t.test('also after several tries, where each took a little of it or nothing', async (t) => {
  const bench = new Bench('written');
  bench.write('first');
  bench.write('second');
  await bench.target.breakOff(8, 'no space left');
  await bench.target.breakOff(0, 'no space left');
  await bench.target.breakOff(2, 'no space left');
  bench.target.hasMoved = true;
  await bench.untilTold(2);
  t.equal(await bench.target.take(), 'second\n');
  await bench.close();
});

t.test(
  'a sync that failed is an outage, and evidence may be lost though the next one says yes',
  async (t) => {
    const bench = new Bench('synced');
    bench.write('a');
    await bench.target.take();
    await bench.target.finishSync(new Error('input/output error'));
    t.same(await bench.untilTold(1), ['not a']);
    t.equal(bench.writer.available, false);
    await bench.target.finishSync();
    bench.target.isOpen = true;
    bench.writer.look();
    bench.write('b');
    await bench.untilTold(2);
    t.equal(bench.told.unsure, 1);
    await bench.close();
  },
);

t.test('every line is covered once before its first write, and each file ends with a seal', async (t) => {
  const sealer = new CountingSealer();
  const bench = new Bench('written', sealer);
  bench.write('a');
  await bench.target.breakOff(1, 'for a moment');
  t.equal(await bench.target.take(), '\n');
  await bench.untilTold(1);
  t.same(sealer.covered, ['a\n']);
  await new Promise((resolve) => setImmediate(resolve)); // that round is over
  bench.write('b');
  bench.writer.relay('of somebody else\n');
  sealer.isDue = true;
  t.equal(await bench.target.take(), 'b\nof somebody else\n');
  t.equal(sealer.shown, 0);
  t.equal(await bench.target.take(), 'seal 1 of 2\n');
  bench.target.isOpen = true;
  bench.write('c');
  await bench.untilTold(3);
  t.equal(sealer.shown, 1);
  bench.target.hasMoved = true;
  bench.writer.look();
  bench.write('d');
  await bench.untilTold(4);
  t.same(bench.target.taken.slice(-4), ['c\n', 'seal 2 of 3\n', '---', 'd\n'], 'before the old file is left');
  await bench.close();
  t.same(bench.target.taken.slice(-2), ['d\n', 'seal 3 of 4, the last\n']);
  t.equal(sealer.shown, 3);
});

t.test('records that cannot be sealed are an outage; one that can be signed again ends it', async (t) => {
  const sealer = new CountingSealer();
  const bench = new Bench('written', sealer);
  bench.target.isOpen = true;
  sealer.cannotSign = true;
  sealer.isDue = true;
  bench.write('a');
  await bench.untilTold(1);
  bench.write('b');
  await bench.untilTold(2);
  t.same(bench.told.errors, ['the key is gone']);
  t.equal(bench.writer.available, false);
  sealer.cannotSign = false;
  bench.writer.look();
  for (let turns = 0; !bench.writer.available && turns < 9; turns++) await new Promise(setImmediate);
  t.equal(bench.writer.available, true);
  t.equal(bench.told.recoveries, 1);
  await bench.close();
});

t.test('what there was no room for is declared by number as soon as there is room again', async (t) => {
  const bench = new Bench('never');
  let reset = 0;
  const log = new RecordLog(bench.writer, {
    onFailure: 'deny',
    boot: 'b',
    nowMs: () => 0,
    unconfirmed: () => reset++,
  });
  const big = 'x'.repeat(1_000_000);
  const record = (detail: string) =>
    log.write({
      time: 't',
      event: 'policy.changed',
      source: undefined,
      policyRevision: undefined,
      trustRevision: undefined,
      detail,
    });
  for (let i = 0; i < 80; i++) record(big);
  const { lost } = bench.told;
  t.ok(lost > 5, `${lost} were dropped`);
  t.equal(log.available, false);
  bench.target.isOpen = true;
  await bench.target.take();
  while (bench.told.lines < 80 - lost) await new Promise((resolve) => setImmediate(resolve));
  record('after');
  await bench.close();
  const records = bench.target.taken
    .join('')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.equal(bench.told.lines, 80 - lost + 2);
  t.same(records.at(-2).gap, { why: 'dropped', from: 80 - lost + 1, to: 80, records: lost });
  t.match(records.at(-2), { event: 'audit.gap', seq: 81, stream: { boot: 'b' }, time: /^1970/ });
  t.equal(records.at(-1).seq, 82);
});

t.test('at the end of the process what was to be tried again goes before what waits', async (t) => {
  const bench = new Bench('written');
  bench.write('first');
  await bench.target.breakOff(2, 'no space left');
  await bench.untilTold(1);
  bench.write('second');
  bench.writer.writeNow();
  t.equal(bench.target.taken.join(''), 'first\nsecond\n');
  await bench.close();
});

t.test('onFailure allow: the answer goes out, and is counted', async (t) => {
  const bench = new Bench('written');
  const results: string[] = [];
  const log = new RecordLog(bench.writer, {
    onFailure: 'allow',
    boot: 'b',
    nowMs: () => 0,
    unconfirmed: (result) => results.push(result),
  });
  const kept = new Promise((resolve) =>
    log.write({ time: 't', event: 'audit.gap', gap: { why: 'dropped' }, detail: '' }, resolve),
  );
  await bench.target.breakOff(0, 'no space left');
  t.equal(await kept, true);
  t.same(results, ['sent']);
  t.equal(log.available, true);
  await bench.close();
});

t.test('after an outage no more than 1024 lines go out together, so that one seal covers few', async (t) => {
  const sealer = new CountingSealer();
  const bench = new Bench('never', sealer);
  bench.writer.write('first\n');
  await bench.target.breakOff(0, 'no space left');
  for (let i = 0; i < 10_000; i++) bench.writer.write(`${i}\n`);
  const sizes: number[] = [];
  let text = '';
  for (let lines = 0; lines < 10_001; lines += sizes.at(-1)!) {
    const batch = await bench.target.take();
    sizes.push(batch.split('\n').length - 1);
    text += batch;
  }
  t.same(sizes, [1, ...Array(9).fill(1024), 784]);
  t.equal(text, `first\n${Array.from({ length: 10_000 }, (_, i) => `${i}\n`).join('')}`);
  await bench.close();
  t.equal(bench.told.lines, 10_001);
});

t.test('nor more than some megabytes; at the end all of them are written', async (t) => {
  const bench = new Bench('never');
  const line = `${'x'.repeat(1024 * 1024)}\n`;
  for (let i = 0; i < 11; i++) bench.writer.write(line);
  bench.target.isOpen = true;
  await bench.target.take();
  await bench.close();
  t.ok(bench.target.taken.every((text) => text.length < 5.5 * 1024 * 1024));
  t.equal(bench.target.taken.join('').length, 11 * line.length);
});

t.test('what was given up at the end is covered by no seal: it would look like tampering', async (t) => {
  const sealer = new CountingSealer();
  const bench = new Bench('written', sealer);
  bench.write('a');
  const closed = bench.writer.close();
  await bench.target.breakOff(1, 'no space left');
  bench.target.isOpen = true;
  await closed;
  t.same(bench.kept, ['not a']);
  t.equal(sealer.seals, 0);
  t.equal(bench.target.taken.join(''), 'a', 'and nothing is glued to half a line');
});

t.test('one that stands in the way of too much is told later, never from within its own call', async (t) => {
  const bench = new Bench('written');
  const line = `${'x'.repeat(1024 * 1024)}\n`;
  const within: boolean[] = [];
  let writing = -1;
  for (let i = 0; i < 24; i++) {
    writing = i;
    bench.writer.write(line, () => within.push(writing === i));
    writing = -1;
  }
  t.equal(bench.writer.available, false);
  bench.target.isOpen = true;
  await bench.close();
  await new Promise(setImmediate);
  t.equal(within.length, 24);
  t.notOk(within.some(Boolean));
});

t.test('a target that moves, but too slowly, keeps nobody waiting', async (t) => {
  const later = { ms: 0 };
  const now = performance.now.bind(performance);
  t.intercept(performance, 'now', { value: () => now() + later.ms });
  const bench = new Bench('written');
  bench.write('a');
  bench.write('b');
  t.equal(bench.writer.available, true);
  later.ms = 5500;
  bench.writer.look();
  t.same(bench.kept, ['not a', 'not b']);
  t.equal(bench.writer.available, false);
  t.equal(await bench.target.take(), 'a\nb\n');
  await bench.close();
  t.equal(bench.told.recoveries, 1);
});

t.test('closing gives up what does not move, and says how much that is', async (t) => {
  const bench = new Bench('written');
  bench.write('a');
  await new Promise((resolve) => setImmediate(resolve));
  bench.write('b');
  await bench.writer.close();
  t.same(bench.kept, ['not a', 'not b']);
  t.equal(bench.told.lost, 2);
  t.same(bench.told.errors, ['records are not taken']);
});
