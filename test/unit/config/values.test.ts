import t from 'tap';
import { isLoopback, parseAddress, parseRouteHost, parseUpstreamUrl } from '../../../src/config/address.js';
import { expandEnvironment } from '../../../src/config/environment.js';
import { nearestKey } from '../../../src/config/issues.js';
import { parseAddressRange } from '../../../src/config/listener-schema.js';
import { parseDuration, parseRate, parseSize, parseTimestamp } from '../../../src/config/units.js';

t.test('durations and sizes carry a unit, and mean what it says', async (t) => {
  t.same(parseDuration('250ms'), { ok: true, value: 250 });
  t.same(parseDuration('10s'), { ok: true, value: 10_000 });
  t.same(parseDuration('5m'), { ok: true, value: 300_000 });
  t.same(parseDuration('1h'), { ok: true, value: 3_600_000 });
  t.same(parseDuration('2d'), { ok: true, value: 172_800_000 });
  t.same(parseSize('32KiB', false), { ok: true, value: 32_768 });
  t.same(parseSize('1MiB', false), { ok: true, value: 1_048_576 });
  t.same(parseSize('unlimited', true), { ok: true, value: Number.POSITIVE_INFINITY });
  for (const text of [
    '10',
    '-1s',
    '1.5h',
    '1 s',
    '1h30m',
    '',
    's',
    '10S',
    '1e3s',
    '9999999999s',
    '1toString',
  ]) {
    t.equal(parseDuration(text).ok, false, text);
  }
  for (const text of ['10', '10KB', '10K', '1kib', 'unlimited', '1constructor']) {
    t.equal(parseSize(text, false).ok, false, text);
  }
});

t.test('a rate says how many, and in what time', async (t) => {
  t.same(parseRate('500/s'), { ok: true, value: { count: 500, perMs: 1000 } });
  t.same(parseRate('30/m'), { ok: true, value: { count: 30, perMs: 60_000 } });
  t.same(parseRate('1000/h'), { ok: true, value: { count: 1000, perMs: 3_600_000 } });
  t.same(parseRate('100000/s'), { ok: true, value: { count: 100_000, perMs: 1000 } });
  for (const text of [
    '500',
    '0/s',
    '100001/s',
    '1/d',
    '1/ms',
    '1/S',
    '1/',
    '/s',
    '-1/s',
    '1.5/s',
    '1 /s',
    '1/constructor',
  ])
    t.equal(parseRate(text).ok, false, text);
});

t.test('a time has a date that exists and a zone', async (t) => {
  t.same(parseTimestamp('2026-11-21T10:00:00Z'), { ok: true, value: Date.UTC(2026, 10, 21, 10) });
  t.same(parseTimestamp('2026-11-21T10:00:00.5+02:00'), {
    ok: true,
    value: Date.UTC(2026, 10, 21, 8, 0, 0, 500),
  });
  t.ok(parseTimestamp('2028-02-29T00:00:00Z').ok);
  for (const text of [
    '2026-11-21',
    '2026-11-21T10:00:00',
    '2026-11-21 10:00:00Z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    'now',
  ]) {
    t.equal(parseTimestamp(text).ok, false, text);
  }
});

t.test('addresses name an address and a port, or a socket', async (t) => {
  t.same(parseAddress('127.0.0.1:8443'), { ok: true, value: { kind: 'tcp', host: '127.0.0.1', port: 8443 } });
  t.same(parseAddress('[::1]:0'), { ok: true, value: { kind: 'tcp', host: '::1', port: 0 } });
  t.same(parseAddress('LocalHost:1'), { ok: true, value: { kind: 'tcp', host: 'localhost', port: 1 } });
  t.same(parseAddress('unix:/run/a.sock'), { ok: true, value: { kind: 'unix', path: '/run/a.sock' } });
  t.same(parseAddress('unix:///run/a.sock'), { ok: true, value: { kind: 'unix', path: '/run/a.sock' } });
  for (const text of [
    ':8443',
    '8443',
    '1.2.3:80',
    '256.1.1.1:80',
    '[::1]',
    '[1.2.3.4]:80',
    '::1:80',
    'a b:80',
    'h:-1',
    'unix:',
    'h:1:2',
  ]) {
    t.equal(parseAddress(text).ok, false, text);
  }
});

t.test(
  'loopback is what only this machine can reach; a name is not, whatever it resolves to today',
  async (t) => {
    const loopback = (text: string): boolean => {
      const address = parseAddress(text);
      return address.ok && isLoopback(address.value);
    };
    for (const text of ['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1', 'unix:/a'])
      t.ok(loopback(text), text);
    for (const text of ['0.0.0.0:1', '[::]:1', '10.0.0.1:1', '127.evil.test:1', 'localhost.evil.test:1']) {
      t.notOk(loopback(text), text);
    }
  },
);

t.test('an upstream is a scheme, a host and a port, or a socket, and nothing else', async (t) => {
  const places: readonly [text: string, scheme: string, address: object, shown: string][] = [
    ['http://[::1]:8080/', 'http', { kind: 'tcp', host: '::1', port: 8080 }, '[::1]:8080'],
    ['http://Billing', 'http', { kind: 'tcp', host: 'billing', port: 80 }, 'billing:80'],
    ['https://ledger', 'https', { kind: 'tcp', host: 'ledger', port: 443 }, 'ledger:443'],
    ['tcp://127.0.0.1:5432', 'tcp', { kind: 'tcp', host: '127.0.0.1', port: 5432 }, '127.0.0.1:5432'],
    ['tls://db:5432/', 'tls', { kind: 'tcp', host: 'db', port: 5432 }, 'db:5432'],
    ['unix:/run/a.sock', 'unix', { kind: 'unix', path: '/run/a.sock' }, 'unix:/run/a.sock'],
    ['unix:///run/a.sock', 'unix', { kind: 'unix', path: '/run/a.sock' }, 'unix:/run/a.sock'],
  ];
  for (const [text, scheme, address, shown] of places)
    t.same(parseUpstreamUrl(text), { ok: true, value: { scheme, address, shown } }, text);
  const cases: readonly [text: string, why: RegExp][] = [
    ['ftp://h', /must begin with http:\/\/, https:\/\/, tcp:\/\/, tls:\/\/ or unix:/],
    ['HTTP://h', /must begin with http/],
    ['h:80', /must begin with http/],
    ['http:/h', /must begin with http/],
    ['//h:80', /must begin with http/],
    ['unix:', /no path after unix:/],
    ['http://', /no host/],
    ['https://:443', /no host/],
    ['tcp://h', /"tcp:\/\/h" has no port/],
    ['tls://[::1]', /has no port/],
    ['http://h:0', /port 0/],
    ['tcp://h:0', /port 0/],
    ['http://h/a', /paths are forwarded/],
    ['http://h//', /paths are forwarded/],
    ['http://h?x', /paths are forwarded/],
    ['tls://h:1#x', /paths are forwarded/],
    ['http://u:p@h', /user or password/],
    ['http://h:99999', /not a port/],
    ['http://::1:80', /IPv6 address stands in brackets/],
    ['http://[127.0.0.1]:80', /not an IPv6 address/],
    ['http://1.2.3:80', /not a host name/],
    ['http://a b', /not a host name/],
  ];
  for (const [text, why] of cases) {
    const result = parseUpstreamUrl(text);
    t.notOk(result.ok, text);
    if (!result.ok) t.match(result.error, why, text);
  }
});

t.test('whose PROXY header counts is an address or a range, and never everybody', async (t) => {
  t.same(parseAddressRange('10.1.0.0/16'), {
    ok: true,
    value: { family: 'ipv4', address: '10.1.0.0', prefix: 16, text: '10.1.0.0/16' },
  });
  t.match(parseAddressRange('10.1.2.3'), { value: { family: 'ipv4', prefix: 32 } });
  t.match(parseAddressRange('fd00::/8'), { value: { family: 'ipv6', address: 'fd00::', prefix: 8 } });
  t.match(parseAddressRange('::1'), { value: { family: 'ipv6', prefix: 128 } });
  const cases: readonly [text: string, why: RegExp][] = [
    ['', /"" is not an IP address/],
    ['lb.internal', /is not an IP address or a range such as 10\.1\.0\.0\/16/],
    ['10.1.0.0:80', /is not an IP address/],
    ['[::1]', /is not an IP address/],
    ['10.1.0/16', /is not an IP address/],
    ['/8', /is not an IP address/],
    ['fe80::1%eth0', /is not an IP address/],
    ['::ffff:10.1.0.0/112', /write it as IPv4/],
    ['::FFFF:10.1.2.3', /write it as IPv4/],
    ['10.0.0.0/33', /\/33 is not from \/1 to \/32/],
    ['fd00::/129', /\/129 is not from \/1 to \/128/],
    ['10.0.0.0/', /\/ is not from/],
    ['10.0.0.0/-1', /\/-1 is not from/],
    ['10.0.0.0/8/8', /\/8\/8 is not from/],
    ['10.0.0.0/1e1', /is not from/],
    ['0.0.0.0/0', /names every address there is/],
    ['::/0', /names every address there is/],
    ['::/00', /names every address there is/],
  ];
  for (const [text, why] of cases) {
    const result = parseAddressRange(text);
    t.notOk(result.ok, text);
    if (!result.ok) t.match(result.error, why, text);
  }
});

t.test('a route host is one exact lower-case host', async (t) => {
  for (const text of ['svc.test', 'billing', '10.0.0.1', '[::1]', 'a_b.test'])
    t.ok(parseRouteHost(text).ok, text);
  for (const text of ['SVC.test', '*.test', 'svc.test:443', 'svc.test.', '', 'a b', '-a', '[::g]']) {
    t.equal(parseRouteHost(text).ok, false, text);
  }
});

t.test('a variable that is not set, or empty, never becomes an empty string', async (t) => {
  const env = { DIR: '/run', EMPTY: '' };
  const open = '${';
  t.same(expandEnvironment(`${open}DIR}/a-${open}DIR}`, env), { ok: true, value: '/run/a-/run' });
  t.same(expandEnvironment('$DIR', env), { ok: true, value: '$DIR' });
  for (const [rest, why] of [
    ['NOPE}', /NOPE is not set/],
    ['EMPTY}', /EMPTY is empty/],
    ['toString}', /toString is not set/],
    ['DIR', /is not/],
    ['}', /is not/],
    ['A-B}', /is not/],
  ] as const) {
    const result = expandEnvironment(open + rest, env);
    t.notOk(result.ok, rest);
    if (!result.ok) t.match(result.error, why, rest);
  }
});

t.test('a typing error finds the key that was meant; a stranger finds none', async (t) => {
  const known = ['policy', 'listeners', 'upstreams', 'trustedPeers', 'audit'];
  for (const [typed, meant] of [
    ['polcy', 'policy'],
    ['listener', 'listeners'],
    ['trusted_peers', 'trustedPeers'],
    ['Audit', 'audit'],
    ['uadit', 'audit'],
    ['upsteams', 'upstreams'],
  ] as const) {
    t.equal(nearestKey(typed, known), meant, typed);
  }
  for (const typed of ['zzzz', 'x', 'a'.repeat(1000)])
    t.equal(nearestKey(typed, known), undefined, typed.slice(0, 9));
});
