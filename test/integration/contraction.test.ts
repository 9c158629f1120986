import { setImmediate as tick } from 'node:timers/promises';
import t from 'tap';
import { Contraction, type Enforcement } from '../../src/listener/contraction.js';

function start() {
  const over: Enforcement[] = [];
  const clock = { nowMs: 1000 };
  const contraction = new Contraction(
    'revocations',
    900,
    () => clock.nowMs,
    (one) => over.push(one),
  );
  contraction.hold();
  return { contraction, over, clock };
}

t.test('it is over when every listener has looked and the last connection is gone, once', async (t) => {
  const { contraction, over, clock } = start();
  contraction.hold();
  contraction.ends('svid_revoked');
  contraction.ends('svid_expired');
  contraction.release();
  contraction.gone();
  contraction.gone();
  await tick();
  t.same(over, [], 'a listener is still looking');
  contraction.ends('svid_revoked');
  contraction.release();
  t.equal(await contraction.judged, 3);
  t.same(over, [], 'a connection is still going');
  clock.nowMs = 1234;
  contraction.gone();
  contraction.gone();
  await tick();
  t.same(over, [
    { source: 'revocations', connections: 3, reasons: ['svid_revoked', 'svid_expired'], latencyMs: 334 },
  ]);
});

t.test('one that ends nothing is over when it was looked for', async (t) => {
  const { contraction, over } = start();
  contraction.release();
  t.equal(await contraction.judged, 0);
  await tick();
  t.same(over, [{ source: 'revocations', connections: 0, reasons: [], latencyMs: 100 }]);
});

t.test('a clock that steps back makes no negative time', async (t) => {
  const { contraction, over, clock } = start();
  clock.nowMs = 5;
  contraction.release();
  await tick();
  t.equal(over[0]?.latencyMs, 0);
});
