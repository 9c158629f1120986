import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { compactVerify } from 'jose/jws/compact/verify';
import t from 'tap';
import { formatHead } from '../../../src/audit/seal-head.js';
import { parseSealKey, type SealKey } from '../../../src/audit/seal-key.js';
import { parseSealLine, type SealLine } from '../../../src/audit/seal-line.js';
import { keyObjectOf } from '../../../src/identity/signing-key.js';
import { Sealer } from '../../../src/telemetry/sealer.js';

const stream = { id: 'host-1', boot: '0123456789abcdef', worker: 0 };
const NOW = Date.parse('2026-11-22T10:00:00.000Z');

async function newKey(): Promise<SealKey> {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const key = await parseSealKey(Buffer.from(JSON.stringify(jwk)));
  assert.ok(key.ok);
  return key.value;
}

const lineOf = (seq: number, text = ''): string =>
  `{"stream":${JSON.stringify(stream)},"tls":{"serverName":${JSON.stringify(text)}},"seq":${seq},"time":"t"}\n`;

function cover(sealer: Sealer, lines: readonly string[]): void {
  sealer.cover(lines, Buffer.from(lines.join('')));
}

async function sealOf(sealer: Sealer, isLast = false): Promise<SealLine> {
  const line = await sealer.seal(isLast);
  sealer.sealed();
  assert.ok(line.endsWith('\n'));
  const parsed = parseSealLine(line.slice(0, -1));
  assert.ok(parsed.ok, line);
  return parsed.value;
}

const headOf = (sealer: Sealer): string | undefined => sealer.head?.head;

interface World {
  key: SealKey;
  clockMs: number;
  readonly sealer: Sealer;
}

async function newWorld(everyMs = 10_000): Promise<World> {
  const world = { key: await newKey(), clockMs: 0 };
  const sealer = new Sealer(stream, {
    everyMs,
    key: () => world.key,
    nowMs: () => NOW,
    monotonicMs: () => world.clockMs,
  });
  return Object.assign(world, { sealer });
}

t.test('what is sealed is every byte of the batch, in whatever portions it came', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 5 }), {
        minLength: 1,
        maxLength: 5,
      }),
      async (portions) => {
        const { sealer, key } = await newWorld();
        let seq = 0;
        const all: string[] = [];
        for (const portion of portions) {
          const lines = portion.map((text) => lineOf(++seq, text));
          all.push(...lines);
          cover(sealer, lines);
        }
        const { payload, jws, kid } = await sealOf(sealer);
        const bytes = all.map((line) => Buffer.from(line));
        assert.equal(payload.hash, createHash('sha256').update(Buffer.concat(bytes)).digest('base64url'));
        const crcs = Buffer.from(payload.lines, 'base64url');
        assert.deepEqual(
          bytes.map((line) => crc32(line.subarray(0, -1))),
          bytes.map((_, i) => crcs.readUInt32BE(i * 4)),
        );
        const { from, to, records, number, previous } = payload;
        assert.deepEqual(
          { from, to, records, number, previous },
          { from: 1, to: seq, records: seq, number: 1, previous: null },
        );
        assert.equal(kid, key.kid);
        await compactVerify(jws, keyObjectOf(key.publicKey));
      },
    ),
    { seed: 5, numRuns: 60 },
  );
});

t.test('seals follow each other: number, first record and the hash of the one before', async () => {
  const { sealer } = await newWorld();
  cover(sealer, [lineOf(1), lineOf(2)]);
  const first = await sealOf(sealer);
  cover(sealer, [lineOf(7)]); // 3 to 6 were lost
  const second = await sealOf(sealer, true);
  assert.deepEqual(second.payload.stream, stream);
  const { number, from, to, records, previous, last, time } = second.payload;
  assert.deepEqual(
    { number, from, to, records, last, time },
    { number: 2, from: 3, to: 7, records: 1, last: true, time: '2026-11-22T10:00:00.000Z' },
  );
  assert.equal(previous, createHash('sha256').update(first.jws).digest('base64url'));
  assert.equal(first.payload.last, false);
});

t.test(
  'a seal is due after its time, after 4096 records and after 4 MiB, and never without a record',
  async () => {
    const world = await newWorld(10_000);
    const { sealer } = world;
    world.clockMs = 1e9;
    assert.equal(sealer.isDue, false);
    assert.equal(sealer.isOpen, false);
    cover(sealer, [lineOf(1)]);
    assert.equal(sealer.isOpen, true);
    world.clockMs += 9_999;
    assert.equal(sealer.isDue, false);
    world.clockMs += 1;
    assert.equal(sealer.isDue, true);
    await sealOf(sealer);
    assert.equal(sealer.isDue, false);
    cover(
      sealer,
      Array.from({ length: 4095 }, (_, i) => lineOf(i + 2)),
    );
    assert.equal(sealer.isDue, false);
    cover(sealer, [lineOf(4097)]);
    assert.equal(sealer.isDue, true);
    assert.equal((await sealOf(sealer)).payload.records, 4096);
    cover(sealer, [lineOf(4098, 'x'.repeat(4 * 1024 * 1024))]);
    assert.equal(sealer.isDue, true);
  },
);

t.test('more records than a batch should hold, come at once, are one seal', async () => {
  const { sealer } = await newWorld();
  cover(sealer, [lineOf(1)]);
  cover(
    sealer,
    Array.from({ length: 10_000 }, (_, i) => lineOf(i + 2)),
  );
  const { payload } = await sealOf(sealer);
  assert.equal(payload.records, 10_001);
  assert.equal(Buffer.from(payload.lines, 'base64url').readUInt32BE(0), crc32(lineOf(1).slice(0, -1)));
});

t.test('a head is shown once its seal is written, and not before', async () => {
  const { sealer } = await newWorld();
  assert.equal(headOf(sealer), undefined);
  cover(sealer, [lineOf(1)]);
  const line = await sealer.seal(false);
  assert.equal(headOf(sealer), undefined);
  assert.equal(sealer.unsealed, 1);
  sealer.sealed();
  const seal = parseSealLine(line.slice(0, -1));
  assert.ok(seal.ok);
  assert.equal(headOf(sealer), formatHead(seal.value.payload, seal.value.jws));
  assert.equal(sealer.unsealed, 0);
});

t.test(
  'a seal that could not be written is given once more, unless something more is to be covered',
  async () => {
    const { sealer } = await newWorld();
    cover(sealer, [lineOf(1)]);
    const line = await sealer.seal(false);
    assert.equal(sealer.isOpen, true);
    assert.equal(sealer.isDue, true);
    assert.equal(await sealer.seal(true), line);
    cover(sealer, [lineOf(2)]);
    const { payload } = await sealOf(sealer);
    assert.deepEqual([payload.number, payload.from, payload.to], [1, 1, 2]);
  },
);

t.test('the next seal is signed with the key that is in force then', async () => {
  const world = await newWorld();
  const before = world.key;
  cover(world.sealer, [lineOf(1)]);
  assert.equal((await sealOf(world.sealer)).kid, before.kid);
  world.key = await newKey();
  cover(world.sealer, [lineOf(2)]);
  const { kid, jws } = await sealOf(world.sealer);
  assert.equal(kid, world.key.kid);
  await compactVerify(jws, keyObjectOf(world.key.publicKey));
});

t.test('what cannot be signed stays open, and is signed when it can be', async () => {
  const world = await newWorld();
  const good = world.key;
  cover(world.sealer, [lineOf(1)]);
  world.key = { kid: good.kid, sign: () => Promise.reject(new Error('no')) } as unknown as SealKey;
  await assert.rejects(world.sealer.seal(false), /^Error: no$/);
  assert.equal(world.sealer.isOpen, true);
  world.key = good;
  cover(world.sealer, [lineOf(2)]);
  const { payload } = await sealOf(world.sealer);
  assert.deepEqual([payload.number, payload.from, payload.to, payload.records], [1, 1, 2, 2]);
});

t.test('a number within what a client wrote is not taken for the number of its record', async () => {
  const { sealer } = await newWorld();
  cover(sealer, [lineOf(1, '","seq":99,"'), lineOf(2, ',"seq":98')]);
  assert.equal((await sealOf(sealer)).payload.to, 2);
});

t.test('nothing, and what is no whole line, cannot be sealed', async () => {
  const { sealer } = await newWorld();
  await assert.rejects(sealer.seal(false), /there is nothing to seal/);
  assert.throws(() => cover(sealer, [lineOf(1).slice(0, -1)]), /only whole lines can be sealed/);
  assert.throws(() => cover(sealer, ['{"event":"x"}\n']), /a line without a number cannot be sealed/);
});
