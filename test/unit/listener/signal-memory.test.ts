import t from 'tap';
import type { SharedFields } from '../../../src/audit/record.js';
import { Findings } from '../../../src/listener/signal-findings.js';
import { KeyUse, KeyUses } from '../../../src/listener/signal-keys.js';
import { networkOf } from '../../../src/listener/signal-network.js';
import { ToldOnce } from '../../../src/listener/signal-once.js';

const MINUTE = 60_000;
const OVER = 10 * MINUTE;

t.test('a place is a /64, a private network of so many bits, or one public address', async (t) => {
  const cases: readonly [string, number, string | undefined][] = [
    ['10.1.2.3', 24, '167838208/24'],
    ['10.1.2.200', 24, '167838208/24'],
    ['10.1.3.3', 24, '167838464/24'],
    ['10.1.2.3', 32, '167838211/32'],
    ['10.200.3.4', 8, '167772160/8'],
    ['172.16.0.1', 24, '2886729728/24'],
    ['172.15.0.1', 24, '172.15.0.1'],
    ['172.32.0.1', 24, '172.32.0.1'],
    ['192.168.255.255', 24, '3232300800/24'],
    ['100.64.0.1', 24, '1681915904/24'],
    ['100.128.0.1', 24, '100.128.0.1'],
    ['127.0.0.1', 24, '127.0.0.1'],
    ['203.0.113.7', 8, '203.0.113.7'],
    ['::1', 24, '0:0:0:0::/64'],
    ['::', 24, '0:0:0:0::/64'],
    ['2001:db8:1:2:3:4:5:6', 24, '2001:db8:1:2::/64'],
    ['2001:db8:1:2::9', 24, '2001:db8:1:2::/64'],
    ['2001:db8::1:2:3:4:5', 24, '2001:db8:0:1::/64'],
    ['2001:db8::5', 24, '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 24, 'fe80:0:0:0::/64'],
    ['64:ff9b::1.2.3.4', 24, '64:ff9b:0:0::/64'],
    ['', 24, undefined],
  ];
  for (const [address, prefix, network] of cases) t.equal(networkOf(address, prefix), network, address);
});

t.test(
  'an IPv4 and an IPv6 address of one host are one place, and what is closed no longer counts',
  async (t) => {
    const use = new KeyUse('k');
    use.opened('a', '192.0.2.1', 24, 0);
    use.opened('a', '2001:db8::1', 24, 0);
    use.opened('a', '2001:db8::2', 24, 0);
    t.equal(use.places, 1);
    t.equal(use.addressCount, 3);
    use.opened('a', '192.0.2.2', 24, 0);
    use.opened('a', '192.0.2.2', 24, 0);
    t.equal(use.places, 2);
    t.same(use.addresses(2), ['192.0.2.1', '2001:db8::1']);
    use.closed('a', '192.0.2.2', 0);
    t.equal(use.places, 2, 'another connection is still open from there');
    use.closed('a', '192.0.2.2', 0);
    t.equal(use.places, 1);
    use.opened('a', '2001:db8:0:1::1', 24, 0);
    t.equal(use.places, 2, 'two /64');
    for (const address of ['192.0.2.1', '2001:db8::1', '2001:db8::2', '2001:db8:0:1::1'])
      use.closed('a', address, 0);
    t.same([use.places, use.addressCount, use.open], [0, 0, 0]);
  },
);

t.test('IDs of a key are those of a day, and those that are open', async (t) => {
  const day = 86_400_000;
  const use = new KeyUse('k');
  use.opened('a', '192.0.2.1', 24, 0);
  use.opened('b', '192.0.2.1', 24, 2 * day);
  t.same(use.idsAt(2 * day), ['a', 'b'], 'a is open all the time');
  use.closed('a', '192.0.2.1', 2 * day);
  t.same(use.idsAt(3 * day - 1), ['a', 'b']);
  t.same(use.idsAt(3 * day), ['b']);
  use.opened('c', '192.0.2.1', 24, 4 * day);
  t.same(use.idsAt(4 * day), ['b', 'c']);
  for (let i = 0; i < 1000; i++) use.opened(`id${i}`, '192.0.2.1', 24, 4 * day);
  t.equal(use.idsAt(4 * day).length, 256, 'no key fills the memory');
  t.doesNotThrow(() => use.closed('b', '192.0.2.1', 4 * day), 'one that was forgotten');
});

t.test('keys that nobody uses are forgotten, oldest first; those in use stay', async (t) => {
  const keys = new KeyUses(10);
  const held = keys.of('held');
  held.opened('a', '192.0.2.1', 24, 0);
  for (let i = 0; i < 1000; i++) keys.of(`k${i}`);
  t.ok(keys.size <= 12, `${keys.size} are kept`);
  t.equal(keys.of('held'), held);
  const last = keys.of('k999');
  t.equal(keys.of('k999'), last);
});

t.test('a finding is told once while it lasts, and again where it was over for a while', async (t) => {
  const findings = new Findings(3);
  const shared: SharedFields = { kind: 'ids', total: 2 };
  let isSo = true;
  const note = (nowMs: number, subject = 'k'): boolean =>
    findings.note(subject, { principal: undefined, shared, holds: () => isSo }, nowMs, OVER);
  t.equal(note(0), true);
  t.equal(note(1), false);
  t.equal(note(5 * OVER), false, 'it was so all the time');
  isSo = false;
  t.equal(findings.current(6 * OVER - 1, OVER).length, 1, 'it lasts still');
  t.equal(note(6 * OVER - 1), false, 'it returned before it was over');
  t.equal(findings.current(7 * OVER, OVER).length, 0);
  t.equal(note(8 * OVER), true);
  isSo = true;
  findings.touch('ids', 'k', 9 * OVER - 1);
  isSo = false;
  t.equal(findings.current(9 * OVER, OVER).length, 1, 'it ended just now');
  t.equal(findings.current(10 * OVER, OVER).length, 0);
  for (let i = 0; i < 5; i++) note(20 * OVER, `k${i}`);
  t.equal(findings.current(20 * OVER, OVER).length, 3);
  t.equal(findings.forgotten, 2, 'and it is said how many were forgotten');
  t.equal(note(20 * OVER, 'k0'), true);
});

t.test('what was told is told again after its time, or where it had to be forgotten', async (t) => {
  const told = new ToldOnce(2, 1000);
  t.equal(told.isNew('a', 0), true);
  t.equal(told.isNew('a', 999), false);
  t.equal(told.isNew('a', 1000), true);
  t.equal(told.isNew('b', 1000), true);
  t.equal(told.isNew('c', 1000), true);
  t.same([told.size, told.forgotten], [2, 1]);
  t.equal(told.isNew('b', 1001), false);
  t.equal(told.isNew('a', 1001), true);
  const once = new ToldOnce(10);
  t.equal(once.isNew('a', 0), true);
  t.equal(once.isNew('a', 1e15), false);
});
