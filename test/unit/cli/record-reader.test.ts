import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import type { FileLine } from '../../../src/audit/line-cutter.js';
import type { RecordSource } from '../../../src/cli/record-bytes.js';
import { readRecordLines } from '../../../src/cli/record-reader.js';

const TEXT = '{"a":"ä€"}\n{"b":2}\n{"c';

async function read(source: RecordSource) {
  const lines: FileLine[] = [];
  const result = await readRecordLines(source, (line) => lines.push(line));
  return { result, texts: lines.map(({ text }) => text), last: lines.at(-1)?.state };
}

const fileOf = (t: Test, content: string | Buffer): string =>
  join(t.testdir({ 'r.ndjson': content }), 'r.ndjson');

t.test('a plain file, a compressed one and several compressed ones in a row read alike', async (t) => {
  const half = TEXT.length / 2;
  for (const content of [
    TEXT,
    gzipSync(TEXT),
    Buffer.concat([gzipSync(TEXT.slice(0, half)), gzipSync(TEXT.slice(half))]),
  ]) {
    let bytes = 0;
    const onBytes = (count: number): void => {
      bytes += count;
    };
    const { result, texts, last } = await read({ file: fileOf(t, content), onBytes });
    t.same(result, { ok: true, value: 3 });
    t.same(texts, TEXT.split('\n'));
    t.equal(last, 'cut');
    t.equal(bytes, Buffer.byteLength(content), 'bytes as they are in the file');
  }
});

t.test(
  'standard input that comes a byte at a time reads the same, characters that are torn too',
  async (t) => {
    for (const content of [Buffer.from(TEXT), gzipSync(TEXT)]) {
      const stdin = (): Readable => Readable.from([...content].map((byte) => Buffer.of(byte)));
      const { result, texts } = await read({ file: '-', stdin });
      t.same(result, { ok: true, value: 3 });
      t.same(texts, TEXT.split('\n'));
    }
  },
);

t.test('an empty file, and one of a single byte, are files without records', async (t) => {
  t.same((await read({ file: fileOf(t, '') })).result, { ok: true, value: 0 });
  t.same((await read({ file: fileOf(t, '{') })).texts, ['{']);
});

t.test('a file that cannot be read to its end is an error, not fewer records', async (t) => {
  const whole = gzipSync(`${'{"a":1}\n'.repeat(5000)}${Array.from({ length: 500 }, (_, i) => i * 7919)}`);
  const broken = Buffer.from(whole);
  broken[broken.length - 6]! ^= 0xff; // its checksum
  const folder = t.testdir({
    half: whole.subarray(0, whole.length / 2),
    broken,
    longer: Buffer.concat([whole, Buffer.from('{"event":"access"}\n')]),
    padded: Buffer.concat([whole, Buffer.alloc(8), gzipSync('{"event":"access"}\n')]),
    folder: {},
  });
  const cases: readonly (readonly [string, RegExp])[] = [
    ['half', /half: gzip that is broken after line \d+ \(unexpected end of file\)$/],
    ['broken', /broken: gzip that is broken after line \d+ \(incorrect data check\)$/],
    ['longer', /longer: gzip that is broken after line \d+ \(incorrect header check\)$/],
    ['padded', /padded: after its end as gzip there is something else$/],
    ['none', /none: cannot be read \(ENOENT\)$/],
    ['folder', /folder: cannot be read \(EISDIR\)$/],
  ];
  for (const [name, why] of cases) {
    const { result } = await read({ file: join(folder, name) });
    t.equal(result.ok, false);
    t.match(result.ok ? '' : result.error, why);
  }
});

t.test('a defect of whoever takes the lines is not called a broken file', async (t) => {
  for (const content of [TEXT, gzipSync(TEXT)]) {
    const taking = readRecordLines({ file: fileOf(t, content) }, () => {
      throw new TypeError('defect');
    });
    await t.rejects(taking, { message: 'defect' });
  }
});
