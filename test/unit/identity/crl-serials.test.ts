import t from 'tap';
import { sequence, TAG, tlv } from '../../../src/dev/der-writer.js';
import { type Crl, parseCrl } from '../../../src/identity/crl.js';
import { longCrl, longCrlSerial } from '../../support/long-crl.js';
import { type Authority, mintRoot } from '../../support/pki.js';

const revoked = tlv(0x17, Buffer.from('260101000000Z'));
const entry = (integer: string): Buffer => sequence(tlv(TAG.integer, Buffer.from(integer, 'hex')), revoked);

const read = (authority: Authority, entriesDer: Buffer): Crl => {
  const parsed = parseCrl(longCrl(authority, { entries: 0, entriesDer }).der);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};

const problem = (authority: Authority, entriesDer: Buffer): string => {
  const parsed = parseCrl(longCrl(authority, { entries: 0, entriesDer }).der);
  return parsed.ok ? 'ok' : parsed.error;
};

t.test('serials compare as numbers: sign octets, leading zeros and case do not count', async (t) => {
  const root = await mintRoot('a.test');
  const crl = read(root, Buffer.concat(['00', '05', '7f', '00a1', '0080ff', '0123'].map(entry)));
  t.equal(crl.size, 6);
  for (const serial of ['0', '00', '5', '05', '0005', '7f', '7F', 'a1', 'A1', '00a1', '80ff', '123', '0123'])
    t.ok(crl.has(serial), serial);
  for (const serial of [
    '',
    '1',
    '50',
    'a',
    '1a1',
    'a10',
    '80',
    'ff',
    '80fe',
    '81ff',
    '12',
    '23',
    '1230',
    'xyz',
    '5 ',
    '-5',
  ])
    t.notOk(crl.has(serial), serial);
});

t.test('numbers of any length are told apart to the last octet', async (t) => {
  const root = await mintRoot('a.test');
  for (const octets of [1, 2, 3, 4, 5, 7, 8, 15, 16, 19, 20, 21, 32, 33, 64, 126, 127]) {
    const serial = Buffer.alloc(octets, 0x5a).toString('hex');
    const crl = read(root, entry(serial));
    t.ok(crl.has(serial), `${octets} octets`);
    t.ok(crl.has(`00${serial}`));
    for (let i = 0; i < serial.length; i += 2) {
      const near = `${serial.slice(0, i)}5b${serial.slice(i + 2)}`;
      if (crl.has(near)) t.fail(`${near} is not ${serial}`);
    }
    t.notOk(crl.has(`${serial}5a`), 'longer');
    t.notOk(crl.has(serial.slice(2)), 'shorter');
  }
  const longest = read(root, entry('7f'.repeat(127)));
  t.notOk(longest.has('7f'.repeat(128)));
  t.notOk(longest.has('7f'.repeat(5000)));
});

t.test('a serial that is no positive whole number in its shortest form refuses the list', async (t) => {
  const root = await mintRoot('a.test');
  t.equal(problem(root, entry('')), 'a serial number has a bad length');
  t.equal(problem(root, entry('7f'.repeat(128))), 'a serial number has a bad length');
  t.equal(problem(root, entry('ff')), 'a serial number is negative');
  t.equal(problem(root, entry('0001')), 'a serial number is padded');
  t.equal(
    problem(root, Buffer.concat([entry('01'), Buffer.from([0x02])])),
    'an entry is missing or of another type',
  );
});

t.test('the same serial many times is one, and the others are still found', async (t) => {
  const root = await mintRoot('a.test');
  const crl = read(root, Buffer.concat([...Array.from({ length: 5000 }, () => entry('05')), entry('06')]));
  t.equal(crl.size, 2);
  t.ok(crl.has('5') && crl.has('6'));
  t.notOk(crl.has('7'));
});

t.test('twenty thousand serials are all found, and no other', async (t) => {
  const root = await mintRoot('a.test');
  const count = 20_000;
  const { pem } = longCrl(root, { entries: count, reasons: true, also: ['a1', '0'] });
  const parsed = parseCrl(Buffer.from(pem));
  if (!parsed.ok) throw new Error(parsed.error);
  const crl = parsed.value;
  t.equal(crl.size, count + 2);
  t.equal(crl.unusable, undefined);
  const wrong: string[] = [];
  for (let i = 0; i < count; i++) {
    if (!crl.has(longCrlSerial(i))) wrong.push(`${i} is lost`);
    if (crl.has(longCrlSerial(count + i))) wrong.push(`${count + i} is invented`);
  }
  t.same(wrong, []);
  t.ok(crl.has('a1') && crl.has('0'));
});

t.test('numbers in a row are found too: counters are as common as random serials', async (t) => {
  const root = await mintRoot('a.test');
  const hex = (i: number): string => `40${i.toString(16).padStart(8, '0')}`;
  const crl = read(root, Buffer.concat(Array.from({ length: 3000 }, (_, i) => entry(hex(i * 2)))));
  const wrong = Array.from({ length: 6000 }, (_, i) => i).filter((i) => crl.has(hex(i)) !== (i % 2 === 0));
  t.same(wrong, []);
});

t.test('more than a million entries are refused', async (t) => {
  const root = await mintRoot('a.test');
  const one = entry('05');
  t.equal(problem(root, Buffer.alloc(one.length * 1_000_001, one)), 'the list has more than 1000000 entries');
});

t.test('one odd entry extension among a thousand alike ones spoils the list', async (t) => {
  const root = await mintRoot('a.test');
  const oidOf = (last: number): Buffer => tlv(TAG.oid, Buffer.from([0x55, 0x1d, last]));
  const extension = (last: number, critical: boolean): Buffer =>
    sequence(
      sequence(
        oidOf(last),
        ...(critical ? [tlv(TAG.boolean, Buffer.from([0xff]))] : []),
        tlv(TAG.octetString, Buffer.from('0a0101', 'hex')),
      ),
    );
  const withExtension = (serial: string, last: number, critical = false): Buffer =>
    sequence(tlv(TAG.integer, Buffer.from(serial, 'hex')), revoked, extension(last, critical));
  const alike = Array.from({ length: 1000 }, () => withExtension('05', 21));
  t.equal(read(root, Buffer.concat(alike)).unusable, undefined);
  t.equal(
    read(root, Buffer.concat([...alike, withExtension('06', 29), ...alike])).unusable,
    'it is indirect: an entry names another issuer',
  );
  t.equal(
    read(root, Buffer.concat([...alike, withExtension('06', 99, true), ...alike])).unusable,
    'an entry has the unknown critical extension 2.5.29.99',
  );
});
