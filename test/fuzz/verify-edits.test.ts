import fc from 'fast-check';
import t from 'tap';
import type { Verification } from '../../src/audit/verify/verifier.js';
import { jwksOf, SealedStream, SealKey } from '../support/sealed-file.js';
import { verifyFiles } from '../support/verify-files.js';

const RUNS = 200;

const keys = [await SealKey.make(), await SealKey.make('ES256')] as const;
const jwks = jwksOf(...keys);

/** A file of three workers with a lost record, a killed process whose end was taken over, a torn line and a change of keys. */
async function interleaved(): Promise<readonly string[]> {
  const [one, two, killed] = [
    new SealedStream(keys[0], 1),
    new SealedStream(keys[0], 2),
    new SealedStream(keys[0]),
  ];
  const lines = [killed.access(), killed.access(), await killed.seal(), killed.access(), killed.access()];
  const torn = killed.access('/never/written').slice(0, 150);
  killed.unwrite();
  lines.push(
    `${torn}\n`,
    one.access(),
    one.gap(killed.adoption(torn)),
    two.access(),
    one.access(),
    two.access(),
  );
  two.lose(2);
  lines.push(two.access(), await one.seal(), two.gap({ why: 'dropped', from: 3, to: 4, records: 2 }));
  one.key = keys[1];
  for (let i = 0; i < 6; i++) lines.push(one.access(), two.access());
  lines.push(await two.seal(), one.access(), await one.seal());
  const again = one.access();
  lines.push(`${again.slice(0, 200)}\n`, again, two.access(), one.access());
  lines.push(await one.seal({ last: true }), await two.seal());
  return lines;
}

const original = await interleaved();
const streamOf = (line: string): string | undefined => /^\{"stream":(\{[^}]*\})/.exec(line)?.[1];
const isTorn = (line: string): boolean => !line.endsWith('}\n');
/** Of the process that was killed: what is altered there is known as one piece. */
const killed = streamOf(original[0]!);

/** By stream: its lines, and where in the file each stands. What is of no stream is one of its own. */
function byStream(lines: readonly string[]): Map<string, { line: string; at: number }[]> {
  const streams = new Map<string, { line: string; at: number }[]>();
  for (const [at, line] of lines.entries()) {
    const stream = (isTorn(line) ? undefined : streamOf(line)) ?? `strange ${line}`;
    streams.set(stream, [...(streams.get(stream) ?? []), { line, at }]);
  }
  return streams;
}

/** The first line that is not what its stream goes on with; undefined = nothing differs, or only something at an end is gone. */
function firstBad(lines: readonly string[]): number | undefined {
  const before = byStream(original);
  let first: number | undefined;
  for (const [stream, now] of byStream(lines)) {
    const was = before.get(stream) ?? [];
    const differing = now.find(({ line }, i) => line !== was[i]?.line);
    if (differing !== undefined) first = Math.min(first ?? Number.MAX_SAFE_INTEGER, differing.at);
  }
  return first;
}

const isProven = ({ findings, streams, cutAt }: Verification): boolean =>
  findings.count === 0 && cutAt.length === 0 && streams.every(({ open }) => open === undefined);

/** Whether it is the first that is named, or where a line is open for ever; or an open end before it, where nothing else is wrong. */
function isNamed({ findings, streams, cutAt }: Verification, line: number): boolean {
  const [first] = findings.kept;
  if (first !== undefined)
    return first.place === line || streams.some(({ open }) => open?.isTorn === true && open.place === line);
  return [...streams.flatMap(({ open }) => open?.place ?? []), ...cutAt].some((place) => place <= line);
}

function linesOf(bytes: Buffer): string[] {
  return bytes.toString('latin1').match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function check(lines: readonly string[], isOfKilled: boolean): void {
  const verification = verifyFiles(jwks, [Buffer.from(lines.join(''), 'latin1')]);
  const expected = firstBad(lines);
  if (expected === undefined) return;
  if (isProven(verification)) throw new Error(`not found: line ${expected + 1} of\n${lines.join('')}`);
  if (isOfKilled) return;
  // What was torn is no good either when the line that should follow it whole is altered.
  const torn = lines.findLastIndex((line, i) => i < expected && isTorn(line) && original.includes(line));
  if (isNamed(verification, expected + 1) || isNamed(verification, torn + 1)) return;
  // A line that was split looks torn, as lines may be: then its other half is what nobody wrote.
  if (isTorn(lines[expected]!) && isNamed(verification, expected + 2)) return;
  const { kept } = verification.findings;
  throw new Error(`does not name ${expected + 1}: ${JSON.stringify(kept)}`);
}

const index = fc.nat(original.length - 1);
const seed = 20261121;

t.test('the file as it was written is proven, whatever pieces it comes in', async (t) => {
  for (const pieceBytes of [1 << 20, 1, 7, 1000]) {
    const verification = verifyFiles(jwks, [original], [], pieceBytes);
    t.same(verification.findings.kept, []);
    t.ok(isProven(verification));
    t.equal(verification.findings.notes.length, 2, 'two torn lines');
  }
});

t.test('any byte that is altered anywhere is found, and its line is named', async () => {
  const bytes = Buffer.from(original.join(''));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const edited = Buffer.from(bytes);
      edited[at]! ^= by;
      const line = bytes.subarray(0, at).filter((byte) => byte === 0x0a).length;
      const where = streamOf(original[line]!);
      check(linesOf(edited), where === killed);
    }),
    { seed, numRuns: 3 * RUNS },
  );
});

t.test('a byte that is gone or put in is found, and its line is named', async () => {
  fc.assert(
    fc.property(index, fc.nat(), fc.option(fc.nat(255)), (at, offset, byte) => {
      const line = Buffer.from(original[at]!);
      if (isTorn(original[at]!)) return; // a shorter beginning of a line is one too
      const split = offset % line.length;
      const put = byte === null ? Buffer.alloc(0) : Buffer.of(byte);
      const edited = Buffer.concat([
        line.subarray(0, split),
        put,
        line.subarray(byte === null ? split + 1 : split),
      ]);
      if (edited.equals(line)) return;
      const lines = [...original];
      lines[at] = edited.toString('latin1');
      check(linesOf(Buffer.from(lines.join(''), 'latin1')), streamOf(original[at]!) === killed);
    }),
    { seed, numRuns: 2 * RUNS },
  );
});

t.test(
  'a line that is gone, cut, doubled, moved or swapped is found, and the right one is named',
  async () => {
    const change = fc.constantFrom('gone', 'cut', 'doubled', 'moved', 'swapped', 'copied');
    fc.assert(
      fc.property(change, index, index, fc.nat(), (what, a, b, offset) => {
        if (isTorn(original[a]!) || isTorn(original[b]!)) return;
        const lines = [...original];
        const [line, other] = [lines[a]!, lines[b]!];
        if (what === 'gone') lines.splice(a, 1);
        if (what === 'cut') lines[a] = `${line.slice(0, offset % (line.length - 2))}\n`;
        if (what === 'doubled') lines.splice(a, 0, line);
        if (what === 'copied') lines.splice(b, 0, line);
        if (what === 'moved') lines.splice(b, 0, lines.splice(a, 1)[0]!);
        if (what === 'swapped') [lines[a], lines[b]] = [other, line];
        check(linesOf(Buffer.from(lines.join(''))), streamOf(line) === killed || streamOf(other) === killed);
      }),
      { seed, numRuns: 4 * RUNS },
    );
  },
);
