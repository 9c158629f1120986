import { randomBytes } from 'node:crypto';
import t from 'tap';
import { parsePem } from '../../../src/identity/pem.js';

/** What is decoded at once. */
const PIECE_CHARACTERS = 1024 * 1024;
const LINE = 64;

const wrap = (base64: string): string =>
  `-----BEGIN X509 CRL-----\n${base64.replace(/.{1,64}/g, '$&\n')}-----END X509 CRL-----\n`;

const problem = (text: string): string => {
  const parsed = parsePem(Buffer.from(text, 'latin1'));
  return parsed.ok ? 'ok' : parsed.error;
};

t.test('a block of any length comes back as it was, also where its pieces meet', async (t) => {
  for (const base of [0, PIECE_CHARACTERS, 2 * PIECE_CHARACTERS]) {
    for (const extra of [1, 2, 3, 45, 46, 47, 48, 49, 50]) {
      const octets = randomBytes((base / 4) * 3 + extra);
      const parsed = parsePem(Buffer.from(`# a comment\n${wrap(octets.toString('base64'))}`));
      if (!parsed.ok) throw new Error(parsed.error);
      const [block] = parsed.value;
      t.equal(block?.der.equals(octets), true, `${octets.length} octets`);
      t.equal(block?.line, 2);
    }
  }
  for (const octets of [(PIECE_CHARACTERS / 4) * 3 - 1, (PIECE_CHARACTERS / 4) * 3]) {
    const whole = randomBytes(octets);
    const parsed = parsePem(Buffer.from(wrap(whole.toString('base64')))); // ends where a piece ends, padded or not
    t.equal(parsed.ok && parsed.value[0]?.der.equals(whole), true);
  }
});

t.test('padding ends a text: what comes after it refuses the block, in one piece or another', async (t) => {
  const padded = `${'A'.repeat(LINE - 1)}=`;
  const piece = (PIECE_CHARACTERS / LINE) * LINE;
  const why = 'the X509 CRL block of line 1 is not base64';
  t.equal(problem(wrap(`${padded}${'A'.repeat(LINE)}`)), why);
  t.equal(
    problem(wrap(`${'A'.repeat(piece - LINE)}${padded}${'A'.repeat(LINE)}`)),
    why,
    'at the end of a piece',
  );
  t.equal(problem(wrap(`${'A'.repeat(piece - LINE)}${padded}${'A'.repeat(piece)}`)), why);
  t.equal(problem(wrap(`${'A'.repeat(piece - LINE)}${padded.slice(0, -2)}B=`)), why, 'bits in the padding');
  t.equal(problem(wrap(`${'A'.repeat(piece)}AAA`)), why, 'cut');
  t.equal(problem('-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n'), why, 'empty');
  t.match(problem(wrap('A'.repeat(2 * piece)).slice(0, -30)), /the X509 CRL block of line 1 has no end/);
});

t.test('problems name their line', async (t) => {
  t.equal(problem(`\n\n${'A'.repeat(64)}\n`), 'line 3: base64 outside a block');
  t.equal(problem('a\n-----BEGIN X509 CRL\n'), 'line 2: a broken BEGIN or END line');
  t.equal(
    problem('\r\n-----BEGIN X509 CRL-----\r\nAAAA\r\n%\r\n'),
    'line 4: the X509 CRL block of line 2 holds something that is not base64',
  );
  t.equal(problem('-----BEGIN X509 CRL-----\r\nAAAA\r\n\r\n-----END X509 CRL-----'), 'ok');
  t.equal(problem(''), 'ok');
});
