import t from 'tap';
import { formatProxyHeader, parseProxyHeader, V2_SIGNATURE } from '../../../src/message/proxy-protocol.js';

const v1 = (line: string) => parseProxyHeader(Buffer.from(line, 'latin1'));
const V4 = '0a010203c0a80001c35001bb';
const V6 = `20010db8${'0'.repeat(23)}1${'0'.repeat(31)}1c35001bb`;

/** @param body hexadecimal; `size` as the header says it. */
function v2(command: number, family: number, body: string, size = body.length / 2): Buffer {
  const head = Buffer.from([command, family, size >> 8, size & 255]);
  return Buffer.concat([V2_SIGNATURE, head, Buffer.from(body, 'hex')]);
}

t.test('reads what a load balancer says, in both versions', async (t) => {
  const line = 'PROXY TCP4 10.1.2.3 192.168.0.1 50000 443\r\n';
  const told = {
    source: { address: '10.1.2.3', port: 50_000 },
    destination: { address: '192.168.0.1', port: 443 },
  };
  t.same(v1(`${line}\x16\x03`), { ok: true, value: { told, length: line.length } });
  t.same(parseProxyHeader(v2(0x21, 0x11, V4)), { ok: true, value: { told, length: 28 } });
  t.same(v1('PROXY TCP6 2001:DB8:0:0::1 ::ffff:192.168.0.1 1 65535\r\n'), {
    ok: true,
    value: {
      told: {
        source: { address: '2001:db8::1', port: 1 },
        destination: { address: '192.168.0.1', port: 65_535 },
      },
      length: 55,
    },
  });
  t.match(parseProxyHeader(v2(0x21, 0x21, V6)), {
    ok: true,
    value: { told: { source: { address: '2001:db8::1', port: 50_000 }, destination: { address: '::1' } } },
  });
});

t.test('TLVs are passed over, and those that lie about their length are refused', async (t) => {
  const good = parseProxyHeader(
    Buffer.concat([v2(0x21, 0x11, `${V4}02000361626304000100`), Buffer.from('x')]),
  );
  t.match(good, { ok: true, value: { length: 38 } });
  for (const tlvs of ['02', '0200', '020004616263', '02ffff'])
    t.match(parseProxyHeader(v2(0x21, 0x11, V4 + tlvs)), { ok: false, error: /TLV/ }, tlvs);
});

t.test('a connection of the balancer itself tells of nobody', async (t) => {
  t.same(v1('PROXY UNKNOWN\r\n'), { ok: true, value: { told: undefined, length: 15 } });
  t.match(v1('PROXY UNKNOWN ff ff 0 0 and more\r\n'), { ok: true, value: { told: undefined } });
  t.match(parseProxyHeader(v2(0x20, 0x00, '')), { ok: true, value: { told: undefined, length: 16 } });
  t.match(parseProxyHeader(v2(0x20, 0x11, V4)), { ok: true, value: { told: undefined, length: 28 } });
});

t.test('a header in pieces is waited for, whatever the pieces', async (t) => {
  for (const whole of [
    Buffer.from('PROXY TCP4 10.1.2.3 192.168.0.1 50000 443\r\n'),
    v2(0x21, 0x11, `${V4}020003616263`),
    v2(0x21, 0x21, V6),
  ]) {
    for (let end = 0; end < whole.length; end++)
      t.equal(parseProxyHeader(whole.subarray(0, end)), undefined, `${end} of ${whole.length}`);
    t.match(parseProxyHeader(whole), { ok: true, value: { length: whole.length } });
  }
});

t.test('what is no sound header is refused as soon as it shows', async (t) => {
  for (const [line, error] of [
    ['GET / HTTP/1.1', /does not begin/],
    ['\x16\x03\x01', /does not begin/],
    ['PROXY  TCP4', undefined],
    ['PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n', /shape/],
    ['PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n', /shape/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n', /shape/],
    ['PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n', /not TCP4/],
    ['PROXY TCP4 ::1 1.2.3.4 1 2\r\n', /not TCP4/],
    ['PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n', /not TCP6/],
    ['PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n', /not TCP6/],
    ['PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n', /not TCP4/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n', /port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n', /port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n', /port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', /port/],
    ['PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n', undefined],
    [`PROXY TCP4 ${'1'.repeat(200)}`, /without an end/],
    [`PROXY ${'A'.repeat(200)}\r\n`, /without an end/],
  ] as const) {
    if (error === undefined) t.equal(v1(line), undefined, line);
    else t.match(v1(line), { ok: false, error }, line);
  }
  for (const [bytes, error] of [
    [v2(0x11, 0x11, V4), /version/],
    [v2(0x22, 0x11, V4), /command/],
    [v2(0x31, 0x11, V4), /version/],
    [v2(0x21, 0x00, V4), /family/],
    [v2(0x21, 0x12, V4), /family/],
    [v2(0x21, 0x31, '00'.repeat(216)), /family/],
    [v2(0x21, 0x11, V4, 11), /alone take 12/],
    [v2(0x21, 0x21, V4), /alone take 36/],
    [v2(0x21, 0x11, V4, 65_535), /65535 bytes/],
    [v2(0x20, 0x00, '', 4097), /4097 bytes/],
  ] as const)
    t.match(parseProxyHeader(bytes), { ok: false, error });
});

t.test('our own header is read back, with the SPIFFE ID in a TLV', async (t) => {
  const announced = {
    addresses: {
      source: { address: '10.1.2.3', port: 50_000 },
      destination: { address: '192.168.0.1', port: 443 },
    },
    spiffeId: 'spiffe://a.test/web',
    authority: 'db.test',
    id: 'boot-1',
    tlsVersion: 'TLSv1.3',
  };
  const header = formatProxyHeader(announced);
  t.same(parseProxyHeader(header), { ok: true, value: { told: announced.addresses, length: header.length } });
  t.same(tlvsOf(header.subarray(28)), {
    224: 'spiffe://a.test/web',
    5: 'boot-1',
    2: 'db.test',
    32: '\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x13spiffe://a.test/web',
  });
  const mixed = {
    source: { address: '2001:db8::1', port: 1 },
    destination: { address: '10.0.0.1', port: 2 },
  };
  t.match(parseProxyHeader(formatProxyHeader({ ...announced, addresses: mixed })), {
    ok: true,
    value: { told: mixed },
  });
  const nowhere = formatProxyHeader({ ...announced, addresses: undefined, tlsVersion: undefined });
  t.equal(nowhere[13], 0, 'a unix socket has no address to tell');
  t.same(tlvsOf(nowhere.subarray(16))[0xe0], 'spiffe://a.test/web');
});

function tlvsOf(bytes: Buffer): Record<number, string> {
  const tlvs: Record<number, string> = {};
  for (let at = 0; at < bytes.length; at += 3 + bytes.readUInt16BE(at + 1))
    tlvs[bytes[at]!] = bytes.toString('latin1', at + 3, at + 3 + bytes.readUInt16BE(at + 1));
  return tlvs;
}
