import fc from 'fast-check';
import t from 'tap';
import { ByteLines } from '../../../src/audit/byte-lines.js';
import { type FileLine, LineCutter, MAX_LINE_LENGTH } from '../../../src/audit/line-cutter.js';

function cut(pieces: readonly Buffer[]): FileLine[] {
  const lines: FileLine[] = [];
  const cutter = new ByteLines((bytes, start, end, number, state) =>
    lines.push({ number, text: bytes.toString('utf8', start, end), state }),
  );
  for (const piece of pieces) {
    cutter.push(piece);
    piece.fill(0x23); // what was given is free to be written over
  }
  cutter.end();
  return lines;
}

t.test('lines are the same however their bytes are cut into pieces, and as text is cut', async (t) => {
  const text = fc.array(fc.constantFrom('a', '{"x":1}', '\n', '\n\n', 'é€', 'long '.repeat(20)), {
    maxLength: 30,
  });
  fc.assert(
    fc.property(
      text,
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
      (parts, sizes) => {
        const bytes = Buffer.from(parts.join(''));
        const pieces: Buffer[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length]!;
          pieces.push(Buffer.from(bytes.subarray(at, at + size)));
          at += size;
        }
        const expected: FileLine[] = [];
        const cutter = new LineCutter((line) => expected.push(line));
        cutter.push(bytes.toString());
        cutter.end();
        t.strictSame(cut(pieces), expected);
      },
    ),
    { seed: 7, numRuns: 200 },
  );
});

t.test('a line that is too long is skipped and said, and what follows it is read', async (t) => {
  const long = Buffer.alloc(MAX_LINE_LENGTH + 1, 0x61);
  const half = long.subarray(0, MAX_LINE_LENGTH / 2);
  const end = Buffer.from('\nnext\n');
  const inOne = cut([Buffer.concat([long, end])]);
  const inMany = cut([Buffer.from(half), Buffer.from(half), Buffer.from('xx'), Buffer.from(end)]);
  for (const lines of [inOne, inMany])
    t.strictSame(lines, [
      { number: 1, text: '', state: 'too_long' },
      { number: 2, text: 'next', state: 'whole' },
    ]);
});
