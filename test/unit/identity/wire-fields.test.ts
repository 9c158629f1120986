import fc from 'fast-check';
import t from 'tap';
import { whyNotDecodable } from '../../../src/identity/wire-fields.js';

const judge = (hex: string, most = 10): string | undefined => whyNotDecodable(Buffer.from(hex, 'hex'), most);
const MALFORMED = 'it is not a protobuf message, or cut short';

t.test('sound messages pass, with fields that nobody knows', async (t) => {
  t.equal(judge(''), undefined);
  t.equal(judge('0a03616263'), undefined, 'text');
  t.equal(judge('089601'), undefined, 'a varint');
  t.equal(judge('090102030405060708'), undefined, '64 bits');
  t.equal(judge('0d01020304'), undefined, '32 bits');
  t.equal(judge('fa3f0568656c6c6f'), undefined, 'field 1023');
});

t.test('what is cut short or no protobuf at all is refused', async (t) => {
  for (const hex of [
    '0a',
    '0a05',
    '0a03616',
    '08',
    '0896',
    '0901',
    '0d010203',
    'ff'.repeat(12),
    '0b',
    '0c',
    '0e',
  ])
    t.equal(judge(hex), MALFORMED, hex);
  t.equal(judge(`0a${'ff'.repeat(9)}01`), MALFORMED, 'a length beyond everything');
  t.equal(whyNotDecodable(Buffer.from('garbage'), 10), MALFORMED);
});

t.test('a flood of empty fields is counted, not decoded', async (t) => {
  t.equal(judge('0a00'.repeat(10)), undefined);
  t.equal(judge('0a00'.repeat(11)), 'it has more than 10 fields');
});

t.test('no bytes make it throw, and lengths never point back', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const problem = whyNotDecodable(bytes, 1000);
      return problem === undefined || problem === MALFORMED;
    }),
  );
});
