import t from 'tap';
import { TargetHealth } from '../../../src/upstream/target-health.js';

const ejection = { failures: 3, forMs: 1000, maxShare: 0.5 };
const yes = (): boolean => true;
const fail = (health: TargetHealth, nowMs: number, times: number): boolean[] =>
  Array.from({ length: times }, () => health.failed('reset', nowMs, yes));

t.test('failures in a row take a target out, for as long as is configured', async (t) => {
  const health = new TargetHealth({ ejection });
  t.same(fail(health, 5000, 3), [false, false, true]);
  t.equal(health.state(5999), 'ejected');
  t.ok(health.isOut(() => 5999));
  t.equal(health.state(6000), 'available');
  t.notOk(health.isOut(() => 6000));
  t.same(health.lastError, { atMs: 5000, problem: 'reset' });
});

t.test('a success in between begins the row anew', async (t) => {
  const health = new TargetHealth({ ejection });
  fail(health, 0, 2);
  health.succeeded();
  t.same(fail(health, 0, 3), [false, false, true]);
});

t.test('what comes back and fails again is out at once, each time longer, up to ten times', async (t) => {
  const health = new TargetHealth({ ejection });
  fail(health, 0, 3);
  let nowMs = 0;
  for (const times of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]) {
    t.equal(health.state(nowMs + times * 1000 - 1), 'ejected', `${times}`);
    nowMs += times * 1000;
    t.equal(health.state(nowMs), 'available', `${times}`);
    t.ok(health.failed('again', nowMs, yes), `${times}`);
  }
  nowMs += 10_000;
  health.succeeded();
  t.same(fail(health, nowMs, 3), [false, false, true]);
  t.equal(health.state(nowMs + 1000), 'available', 'the pause is short again');
});

t.test('what fails while it is out neither prolongs it nor counts as another time', async (t) => {
  const health = new TargetHealth({ ejection });
  fail(health, 0, 3);
  t.same(fail(health, 500, 5), [false, false, false, false, false]);
  t.equal(health.state(1000), 'available');
});

t.test('where there is no room for one more that is out it stays in, and goes when there is', async (t) => {
  const health = new TargetHealth({ ejection });
  for (let i = 0; i < 5; i++) t.notOk(health.failed('reset', 0, () => false));
  t.equal(health.state(0), 'available');
  t.ok(health.failed('reset', 0, yes));
});

t.test('without ejection nothing takes a target out but its health check', async (t) => {
  const check = { everyMs: 1000, timeoutMs: 100, healthy: 2, unhealthy: 3 };
  const health = new TargetHealth({ ejection: false, healthCheck: check });
  t.same(fail(health, 0, 5), [false, false, false, false, false]);
  t.same(
    ['x', 'x', undefined, 'x', 'x', 'x', 'x'].map((problem) => health.checked(problem, 7)),
    [false, false, false, false, false, true, false],
  );
  t.equal(health.state(7), 'unhealthy');
  t.ok(health.isOut(() => 7));
  t.same(
    [undefined, 'x', undefined, undefined].map((problem) => health.checked(problem, 9)),
    [false, false, false, true],
  );
  t.equal(health.state(9), 'available');
  t.same(health.lastError, { atMs: 9, problem: 'x' });
});
