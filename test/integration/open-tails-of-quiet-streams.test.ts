import { join } from 'node:path';
import t from 'tap';
import { parseSealKey } from '../../src/audit/seal-key.js';
import { readOpenTails } from '../../src/telemetry/read-open-tails.js';
import { Sealer } from '../../src/telemetry/sealer.js';
import { newSealKey } from '../support/seal-key.js';

const T0 = Date.parse('2026-11-22T10:00:00.000Z');

/** One line; `padding` makes it longer. */
function lineOf(boot: string, seq: number, atMs: number, padding = ''): string {
  const time = new Date(atMs).toISOString();
  return `${JSON.stringify({ stream: { id: 'h', boot, worker: 0 }, seq, time, event: 'access', padding })}\n`;
}

/** Records of 1 KB of a stream, with a seal every 200. */
async function busyLines(records: number, stepMs: number): Promise<string> {
  const parsed = await parseSealKey(Buffer.from((await newSealKey()).text));
  if (!parsed.ok) throw new Error(parsed.error);
  const stream = { id: 'h', boot: 'busy', worker: 0 };
  const sealer = new Sealer(stream, { everyMs: 200, key: () => parsed.value, nowMs: () => T0 });
  let text = '';
  for (let seq = 1; seq <= records; seq++) {
    const line = lineOf('busy', seq, T0 + seq * stepMs, 'x'.repeat(900));
    sealer.cover([line], Buffer.from(line));
    text += line;
    if (seq % 200 !== 0) continue;
    text += await sealer.seal(false);
    sealer.sealed();
  }
  return text;
}

t.test('a quiet stream is found behind megabytes that a busy one wrote and sealed since', async (t) => {
  const records = lineOf('older', 1, T0 - 1000) + lineOf('quiet', 1, T0) + (await busyLines(3000, 1));
  const tails = await readOpenTails(join(t.testdir({ records }), 'records'), true, 10_000);
  t.same(
    tails.map(({ stream, unsealed, lines }) => [stream.boot, unsealed, lines?.from, lines?.to]),
    [
      ['older', 1, 1, 1],
      ['quiet', 1, 1, 1],
      ['busy', 0, undefined, undefined],
    ],
  );
});

t.test('how far is looked back is what seals take, and not the whole file', async (t) => {
  const records = lineOf('ancient', 1, T0 - 86_400_000) + (await busyLines(3000, 20));
  const tails = await readOpenTails(join(t.testdir({ records }), 'records'), true, 10_000);
  t.same(
    tails.map(({ stream }) => stream.boot),
    ['busy'],
  );
});
