import fc from 'fast-check';
import t from 'tap';
import { type FileLine, LineCutter, MAX_LINE_LENGTH } from '../../../src/audit/line-cutter.js';

function cut(...chunks: readonly string[]): FileLine[] {
  const lines: FileLine[] = [];
  const cutter = new LineCutter((line) => lines.push(line));
  for (const chunk of chunks) cutter.push(chunk);
  cutter.end();
  return lines;
}

t.test('lines come whole and in order, whatever pieces they are read in', async () => {
  const text = fc.string({ unit: fc.constantFrom('a', '"', '{', '\n', '\r', ' ', 'ä') });
  fc.assert(
    fc.property(fc.array(text), (chunks) => {
      const whole = chunks.join('');
      const expected = whole.split('\n');
      const rest = expected.pop()!;
      const lines = cut(...chunks);
      const got = lines.map((line) => line.text);
      const states = lines.map((line) => line.state);
      return (
        JSON.stringify(got) === JSON.stringify(rest === '' ? expected : [...expected, rest]) &&
        states.every((state, i) => state === (i < expected.length ? 'whole' : 'cut')) &&
        lines.every(({ number }, i) => number === i + 1)
      );
    }),
  );
});

t.test('a line that the file ends in is said to be cut', async (t) => {
  t.same(cut('{"a":1}\n{"b'), [
    { number: 1, text: '{"a":1}', state: 'whole' },
    { number: 2, text: '{"b', state: 'cut' },
  ]);
  t.same(cut(''), []);
});

t.test('a byte order mark at the very start is no part of the first line', async (t) => {
  t.same(
    cut('\ufeff{}\n\ufeff{}\n').map(({ text }) => text),
    ['{}', '\ufeff{}'],
  );
});

t.test('a line that is too long is skipped and said, and the next one is read', async (t) => {
  const half = 'x'.repeat(MAX_LINE_LENGTH / 2);
  const lines = cut('a\n', half, half, `x\nb\n${half}${half}`, '\nc');
  t.same(
    lines.map(({ number, state, text }) => [number, state, text.length]),
    [
      [1, 'whole', 1],
      [2, 'too_long', 0],
      [3, 'whole', 1],
      [4, 'whole', MAX_LINE_LENGTH],
      [5, 'cut', 1],
    ],
  );
  t.same(
    cut(half, half, half).map(({ state }) => state),
    ['too_long'],
  );
});
