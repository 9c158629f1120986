import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { type OpenTail, OpenTails } from '../../../src/audit/open-tails.js';
import { parseSealKey } from '../../../src/audit/seal-key.js';
import { Sealer } from '../../../src/telemetry/sealer.js';

type Name = { readonly id: string; readonly boot: string; readonly worker: number };
const nameOf = (boot: string, worker = 0): Name => ({ id: 'host-1', boot, worker });
const TIME = '2026-11-22T10:00:00.000Z';

const lineOf = (stream: Name, seq: number, event = 'access', more: object = {}): string =>
  `${JSON.stringify({ stream, seq, time: TIME, event, ...more })}\n`;

const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });

/** Lines, and the seal over them. */
async function sealed(stream: Name, lines: readonly string[], isLast: boolean): Promise<string> {
  const key = await parseSealKey(Buffer.from(JSON.stringify(jwk)));
  assert.ok(key.ok);
  const sealer = new Sealer(stream, { everyMs: 1000, key: () => key.value, nowMs: () => Date.parse(TIME) });
  sealer.cover(lines, Buffer.from(lines.join('')));
  return `${lines.join('')}${await sealer.seal(isLast)}`;
}

function tailsOf(text: string, { isSealed = true, isWhole = true } = {}): OpenTails {
  const tails = new OpenTails(isSealed, isWhole);
  const bytes = Buffer.from(text);
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    tails.takeLine(bytes, start, end);
    start = end + 1;
  }
  return tails;
}

const hashOf = (...lines: string[]): string =>
  createHash('sha256').update(lines.join('')).digest('base64url');

t.test('what follows the newest seal of a stream is its open tail, whoever writes in between', async () => {
  const [a, b] = [nameOf('aaaa'), nameOf('bbbb', 1)];
  const text =
    (await sealed(a, [lineOf(a, 1), lineOf(a, 2)], false)) +
    lineOf(a, 3) +
    (await sealed(b, [lineOf(b, 1)], true)) +
    lineOf(a, 4);
  const lines = { from: 3, to: 4, hash: hashOf(lineOf(a, 3), lineOf(a, 4)) };
  assert.deepEqual(tailsOf(text).tails, [{ stream: a, after: 4, unsealed: 2, lines }] satisfies OpenTail[]);
});

t.test('a stream without any seal is open from its first record in the file', async () => {
  const a = nameOf('aaaa');
  const { tails } = tailsOf(lineOf(a, 7) + lineOf(a, 8));
  assert.deepEqual(tails[0]?.lines, { from: 7, to: 8, hash: hashOf(lineOf(a, 7), lineOf(a, 8)) });
});

t.test('a stream that was sealed to its end and lacks only its last word leaves no lines', async () => {
  const a = nameOf('aaaa');
  const text = await sealed(a, [lineOf(a, 1)], false);
  assert.deepEqual(tailsOf(text).tails, [{ stream: a, after: 1, unsealed: 0, lines: undefined }]);
});

t.test('what another stream has said already is not said again', async () => {
  const [a, b] = [nameOf('aaaa'), nameOf('bbbb')];
  const gap = { why: 'ended_without_last_word', boot: 'aaaa', worker: 0, after: 1 };
  const text = lineOf(a, 1) + lineOf(b, 1, 'audit.gap', { gap });
  assert.deepEqual(
    tailsOf(text).tails.map(({ stream }) => stream.boot),
    ['bbbb'],
  );
  const other = lineOf(a, 1) + lineOf(b, 1, 'audit.gap', { gap: { ...gap, worker: 3 } });
  assert.equal(tailsOf(other).tails.length, 2);
});

t.test('half a last line is part of the tail, also where another process wrote on behind it', async () => {
  const [a, b] = [nameOf('aaaa'), nameOf('bbbb')];
  const half = lineOf(a, 2).slice(0, 70);
  const expected = { from: 1, to: 1, hash: hashOf(lineOf(a, 1), half, '\n') };
  assert.deepEqual(tailsOf(lineOf(a, 1) + half).tails[0]?.lines, expected);
  assert.deepEqual(tailsOf(`${lineOf(a, 1)}${half}\n${lineOf(b, 1)}`).tails[0]?.lines, expected);
  const glued = tailsOf(`${lineOf(a, 1)}${half}${lineOf(b, 1)}`).tails;
  assert.deepEqual(glued[0]?.lines, expected);
  assert.deepEqual(glued[1]?.lines, { from: 1, to: 1, hash: hashOf(lineOf(b, 1)) });
});

t.test('half a line that its stream wrote again whole is no part of it', async () => {
  const a = nameOf('aaaa');
  const half = lineOf(a, 2).slice(0, 70);
  const { tails } = tailsOf(`${lineOf(a, 1)}${half}\n${lineOf(a, 2)}`);
  assert.deepEqual(tails[0]?.lines, { from: 1, to: 2, hash: hashOf(lineOf(a, 1), lineOf(a, 2)) });
});

t.test(
  'where the file is not read from its beginning, a stream of which no seal was met may begin earlier',
  async () => {
    const a = nameOf('aaaa');
    const tails = tailsOf(lineOf(a, 7), { isWhole: false });
    assert.equal(tails.isConclusive, false);
    assert.deepEqual(tails.tails, [{ stream: a, after: 7, unsealed: 1, lines: undefined }]);
    assert.equal(tailsOf(lineOf(a, 1), { isWhole: false }).isConclusive, true);
    const known = tailsOf((await sealed(a, [lineOf(a, 1)], false)) + lineOf(a, 2), { isWhole: false });
    assert.equal(known.isConclusive, true);
    assert.equal(known.tails[0]?.lines?.from, 2);
  },
);

t.test('without seals the last word is the record of the end of the process', async () => {
  const [a, b] = [nameOf('aaaa'), nameOf('bbbb')];
  const text = lineOf(a, 1) + lineOf(b, 1) + lineOf(a, 2, 'process.stopped');
  const tails = tailsOf(text, { isSealed: false, isWhole: false });
  assert.equal(tails.isConclusive, true);
  assert.deepEqual(
    tails.tails.map(({ stream, after }) => [stream.boot, after]),
    [['bbbb', 1]],
  );
});

t.test('lines that are no records, and seals that are none, change nothing', async () => {
  const a = nameOf('aaaa');
  const seal = (await sealed(a, [lineOf(a, 1)], true)).split('\n')[1] ?? '';
  const text = `${lineOf(a, 1)}not a record\n{}\n{"time":"${TIME}","event":"x","stream":7}\n${seal.replace('"number":1', '"number":2')}\n`;
  assert.deepEqual(tailsOf(text).tails[0]?.lines, { from: 1, to: 1, hash: hashOf(lineOf(a, 1)) });
});

t.test(
  'torn lines after the last seal are a tail, in their order and wherever others were glued to them',
  async () => {
    const [a, b] = [nameOf('aaaa'), nameOf('bbbb')];
    const whole = await sealed(a, [lineOf(a, 1)], false);
    const opening = `{"stream":${JSON.stringify(a)}`;
    for (const [half, more] of [
      [lineOf(a, 2).slice(0, 70), lineOf(a, 2).slice(0, 80)],
      [opening, `${opening},"seq":2`],
    ] as const) {
      const text = `${whole}${half}\n${more}${lineOf(b, 1)}`;
      const lines = { from: 2, to: 1, hash: hashOf(half, '\n', more, '\n') };
      assert.deepEqual(tailsOf(text).tails[0], {
        stream: a,
        after: 1,
        unsealed: 0,
        lines,
      } satisfies OpenTail);
      assert.equal(tailsOf(text).tails[1]?.after, 1);
    }
  },
);
