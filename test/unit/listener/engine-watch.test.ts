import t from 'tap';
import { EngineWatch } from '../../../src/listener/engine-watch.js';
import type { ExternalAnswer } from '../../../src/listener/ports.js';
import type { Snapshot } from '../../../src/snapshot.js';

const snapshot = { policy: {}, config: {} } as Snapshot;
const answer = (result: ExternalAnswer['result'], validForMs = 0, isBusy = false): ExternalAnswer => ({
  result,
  id: undefined,
  cached: false,
  detail: '',
  validForMs,
  isBusy,
});

/** A tunnel that was allowed at tick 0. */
function allowed(validForMs = 0): EngineWatch {
  const watch = new EngineWatch();
  watch.answered(answer('allow', validForMs), snapshot, 0);
  return watch;
}

t.test('an answer is asked for again when it runs out, and after a minute at the latest', async (t) => {
  for (const [validForMs, dueMs] of [
    [0, 60_000],
    [10_000, 10_000],
    [300_000, 60_000],
    [1, 1000],
  ] as const) {
    t.equal(allowed(validForMs).isDue(dueMs - 1, snapshot), false, String(validForMs));
    t.equal(allowed(validForMs).isDue(dueMs, snapshot), true, String(validForMs));
  }
});

t.test('a new policy or configuration is a reason to ask at once', async (t) => {
  t.equal(allowed().isDue(1, { ...snapshot, policy: {} } as Snapshot), true);
  t.equal(allowed().isDue(1, { ...snapshot, config: {} } as Snapshot), true);
  t.equal(allowed().isDue(1, { ...snapshot }), false);
});

t.test(
  'a tunnel that nobody asked about when it was opened is due at once, and asked about once',
  async (t) => {
    const watch = new EngineWatch();
    t.equal(watch.isDue(5, snapshot), true);
    t.equal(watch.isDue(6, snapshot), false, 'a question is under way');
  },
);

t.test('a no ends the tunnel at once', async (t) => {
  const watch = allowed();
  watch.isDue(60_000, snapshot);
  t.equal(watch.answered(answer('deny'), snapshot, 60_001), 'external_denied');
});

t.test('without an answer it goes on for thirty seconds, and is asked about meanwhile', async (t) => {
  const watch = allowed();
  let questions = 0;
  let over: string | undefined;
  let tickMs = 60_000;
  for (; over === undefined && tickMs < 200_000; tickMs += 250) {
    if (!watch.isDue(tickMs, snapshot)) continue;
    questions++;
    over = watch.answered(answer('unavailable'), snapshot, tickMs);
  }
  t.equal(over, 'external_unavailable');
  t.ok(tickMs >= 90_000 && tickMs <= 100_500, `ended at ${tickMs}`);
  t.ok(questions >= 4 && questions <= 8, `${questions} questions`);
});

t.test('an answer in time begins the grace anew', async (t) => {
  const watch = allowed();
  watch.isDue(60_000, snapshot);
  watch.answered(answer('unavailable'), snapshot, 60_000);
  t.equal(watch.isDue(85_000, snapshot), true);
  t.equal(watch.answered(answer('allow'), snapshot, 85_000), undefined);
  t.equal(watch.isDue(145_000, snapshot), true);
  t.equal(watch.answered(answer('unavailable'), snapshot, 145_000), undefined);
});

t.test('where only too many were asking, it asks again soon', async (t) => {
  const watch = allowed();
  watch.isDue(60_000, snapshot);
  watch.answered(answer('unavailable', 0, true), snapshot, 60_000);
  t.equal(watch.isDue(60_499, snapshot), false);
  t.equal(watch.isDue(61_001, snapshot), true);
});
