import t from 'tap';
import { formatPostgresError, parsePostgresStart } from '../../../src/message/postgres-start.js';

const start = (hex: string) => parsePostgresStart(Buffer.from(hex, 'hex'));
const SSL = '0000000804d2162f';
const GSS = '0000000804d21630';

t.test('a request for encryption and TLS itself are told apart, however they are cut', async (t) => {
  for (let end = 0; end < SSL.length; end += 2) t.equal(start(SSL.slice(0, end)), undefined);
  t.same(start(SSL), { ok: true, value: 'ssl-request' });
  t.same(start(GSS), { ok: true, value: 'gss-request' });
  t.same(start('16'), { ok: true, value: 'tls' });
});

t.test('whatever is not one of them is refused, with words for who reads them', async (t) => {
  for (const [hex, detail, speaksPostgres] of [
    ['0000002300030000', 'a start without TLS', true],
    ['0000002300030002', 'a start without TLS', true],
    ['0000001004d2162e', 'a CancelRequest without TLS', false],
    [`${SSL}16`, 'bytes behind the request for encryption, before its answer', false],
    [`${SSL}0000002300030000`, 'bytes behind the request for encryption, before its answer', false],
    [`${GSS}00`, 'bytes behind the request for encryption, before its answer', false],
    ['0000000904d2162f', 'a request for encryption of 9 bytes', false],
    ['0000000800020000', 'neither PostgreSQL nor TLS', false],
    ['47455420', 'neither PostgreSQL nor TLS', false],
    ['80', 'neither PostgreSQL nor TLS', false],
  ] as const)
    t.same(start(hex), { ok: false, error: { detail, speaksPostgres } }, hex);
});

t.test('an error says its own length', async (t) => {
  const error = formatPostgresError('28000', 'no');
  t.equal(error.toString('latin1', 0, 1), 'E');
  t.equal(error.readUInt32BE(1), error.length - 1);
  t.equal(error.toString('latin1', 5), 'SFATAL\0VFATAL\0C28000\0Mno\0\0');
});
