import t from 'tap';
import { ByteLines } from '../../../src/audit/byte-lines.js';
import { parseHead, type SealHead } from '../../../src/audit/seal-head.js';
import { type Verification, Verifier } from '../../../src/audit/verifier.js';
import { showPlace } from '../../../src/audit/verify-findings.js';
import { parseVerifyKeys } from '../../../src/audit/verify-keys.js';
import { jwksOf, SealedStream, SealKey } from '../../support/sealed-file.js';

const key = await SealKey.make();

function verify(
  files: readonly (string | Buffer | readonly string[])[],
  heads: readonly string[] = [],
  jwks = jwksOf(key),
): Verification {
  const keys = parseVerifyKeys(jwks);
  if (!keys.ok) throw new Error(keys.error);
  const wanted: SealHead[] = heads.map((text) => {
    const head = parseHead(text);
    if (!head.ok) throw new Error(head.error);
    return head.value;
  });
  const verifier = new Verifier(keys.value, wanted);
  for (const file of files) {
    verifier.beginFile();
    const lines = new ByteLines((...line) => verifier.take(...line));
    lines.push(
      typeof file === 'string' || Buffer.isBuffer(file) ? Buffer.from(file) : Buffer.from(file.join('')),
    );
    lines.end();
  }
  return verifier.end();
}

const found = ({ findings }: Verification): string[] =>
  findings.kept.map(
    ({ kind, place, what }) =>
      `${place === undefined ? '' : showPlace(place, ['a', 'b', 'c'])} ${kind}: ${what}`,
  );

const open = ({ streams }: Verification) =>
  streams.flatMap(({ open: tail }) => (tail === undefined ? [] : [`${tail.from}..${tail.to}`]));

t.test('a file of whole batches is proven, and it is said what is covered', async (t) => {
  const stream = new SealedStream(key);
  const lines = [...(await stream.batches(3, 1)), stream.access(), await stream.seal({ last: true })];
  const verification = verify([lines]);
  t.same(found(verification), []);
  t.same(open(verification), []);
  t.match(verification.streams, [
    {
      name: stream.name,
      seals: 3,
      firstSeal: 1,
      lastSeal: 3,
      proven: 5,
      unproven: 0,
      from: 1,
      to: 5,
      isLast: true,
    },
  ]);
  t.equal(verification.streams[0]?.timeFrom, '2026-11-21T10:00:00.000Z');
  t.equal(verification.streams[0]?.timeTo, '2026-11-21T11:00:30.000Z');
});
