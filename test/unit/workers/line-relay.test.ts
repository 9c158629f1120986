import { PassThrough } from 'node:stream';
import t from 'tap';
import { relayLines } from '../../../src/workers/line-relay.js';

/** Takes lines while it has room, and tells when so many came. */
class Taker {
  readonly lines: string[] = [];
  room = Number.POSITIVE_INFINITY;
  #wake: () => void = () => undefined;

  take(line: string): void {
    this.lines.push(line);
    this.#wake();
  }

  hasRoom(): boolean {
    return this.lines.length < this.room;
  }

  async until(count: number): Promise<void> {
    while (this.lines.length < count) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

t.test('whole lines are handed on, however they are cut, and never a part of one', async (t) => {
  const taker = new Taker();
  const from = new PassThrough();
  relayLines(from, taker);
  for (const piece of ['{"a"', ':1}\n{"b":2}\n', '{"c":"é', '"}\n{"half']) from.write(piece);
  await taker.until(3);
  t.same(taker.lines, ['{"a":1}\n', '{"b":2}\n', '{"c":"é"}\n']);
});

t.test('where there is no room they stay with the worker, and none is lost', async (t) => {
  const taker = new Taker();
  taker.room = 2;
  const from = new PassThrough({ highWaterMark: 1 });
  relayLines(from, taker);
  let isTaken = false;
  from.write('1\n2\n');
  await taker.until(2);
  from.write('3\n', () => {
    isTaken = true;
  });
  from.write('4\n');
  await new Promise(setImmediate);
  t.same(taker.lines, ['1\n', '2\n']);
  t.equal(from.isPaused(), true);
  taker.room = 3;
  await taker.until(3);
  t.equal(isTaken, true);
  taker.room = 9;
  await taker.until(4);
  t.same(taker.lines, ['1\n', '2\n', '3\n', '4\n']);
});

t.test('what a worker that is gone has left is read though there is no room', async (t) => {
  const taker = new Taker();
  taker.room = 1;
  const from = new PassThrough();
  const readRest = relayLines(from, taker);
  from.write('1\n');
  await taker.until(1);
  from.end('2\n3\n');
  await new Promise(setImmediate);
  t.equal(taker.lines.length, 1);
  const ended = new Promise((resolve) => from.once('end', resolve));
  readRest();
  await ended;
  t.same(taker.lines, ['1\n', '2\n', '3\n']);
});
