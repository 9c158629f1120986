import fc from 'fast-check';
import t from 'tap';
import { PrincipalBuckets } from '../../../src/listener/principal-buckets.js';

const RATE = { count: 1, perMs: 1000, burst: 3 };
const idOf = (i: number): string => `spiffe://a.test/w${i}`;

function takeAll(buckets: PrincipalBuckets, id: string, tickMs: number): number {
  let taken = 0;
  while (buckets.waitMs(id, tickMs) === 0) {
    buckets.take(id, tickMs);
    taken++;
  }
  return taken;
}

t.test('each caller has its own', async (t) => {
  const buckets = new PrincipalBuckets(RATE);
  t.equal(takeAll(buckets, idOf(1), 0), 3);
  t.equal(takeAll(buckets, idOf(2), 0), 3);
  t.equal(buckets.waitMs(idOf(1), 0), 1000);
  t.equal(buckets.remaining(idOf(3), 0), 3);
});

t.test('callers whose bucket is full again are forgotten, the others are not', async (t) => {
  const buckets = new PrincipalBuckets(RATE);
  for (let i = 0; i < 1000; i++) buckets.take(idOf(i), i);
  for (let i = 1000; i < 3000; i++) buckets.take(idOf(i), 100_000 + i);
  t.ok(buckets.size <= 2000, `${buckets.size} are kept`);
  const crowd = new PrincipalBuckets(RATE);
  takeAll(crowd, idOf(0), 0);
  for (let i = 1; i < 5000; i++) crowd.take(idOf(i), 10);
  t.equal(crowd.waitMs(idOf(0), 10), 990, 'kept through any number of others');
});

t.test('beyond its capacity nobody escapes, and those with a bucket of their own feel nothing', async (t) => {
  const buckets = new PrincipalBuckets(RATE, 100);
  for (let i = 0; i < 100; i++) t.equal(takeAll(buckets, idOf(i), 0), 3);
  for (let i = 100; i < 10_000; i++) takeAll(buckets, idOf(i), 0);
  t.equal(buckets.size, 100);
  for (let i = 0; i < 10_000; i++) if (buckets.waitMs(idOf(i), 0) === 0) t.fail(`${idOf(i)} escaped`);
  t.equal(takeAll(buckets, idOf(7), 1000), 1, 'its own bucket goes on as before');
});

t.test('who shared a bucket does not begin anew with one of its own', async (t) => {
  const buckets = new PrincipalBuckets(RATE, 2);
  takeAll(buckets, idOf(0), 0);
  takeAll(buckets, idOf(1), 0);
  t.equal(takeAll(buckets, idOf(2), 1500), 3, 'shared, and full');
  t.equal(takeAll(buckets, idOf(2), 3000), 1, 'its own now: of three, one and a half are back');
  t.equal(buckets.size <= 2, true);
});

t.test('whatever callers and capacity: nobody gets more than its burst and its rate', async (t) => {
  const asks = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 1500 })), {
    maxLength: 300,
  });
  const holds = fc.check(
    fc.property(fc.integer({ min: 1, max: 8 }), asks, (capacity, list) => {
      const buckets = new PrincipalBuckets(RATE, capacity);
      const taken = new Map<number, number[]>();
      let tickMs = 0;
      for (const [who, step] of list) {
        tickMs += step;
        if (buckets.waitMs(idOf(who), tickMs) > 0) continue;
        buckets.take(idOf(who), tickMs);
        const times = taken.get(who) ?? [];
        taken.set(who, [...times, tickMs]);
        for (const [i, from] of times.entries())
          if (times.length - i + 1 > RATE.burst + (tickMs - from) / 1000) return false;
      }
      return buckets.size <= capacity;
    }),
    { seed: 4 },
  );
  t.equal(holds.failed, false, JSON.stringify(holds.counterexample));
});

t.test('another rate keeps what was used, of shared buckets too', async (t) => {
  const buckets = new PrincipalBuckets(RATE, 1);
  takeAll(buckets, idOf(0), 0);
  takeAll(buckets, idOf(1), 0);
  buckets.change({ count: 1, perMs: 1000, burst: 10 }, 0);
  for (const id of [idOf(0), idOf(1)]) t.equal(buckets.remaining(id, 0), 7, id);
  buckets.change({ count: 1, perMs: 60_000, burst: 2 }, 0);
  for (const id of [idOf(0), idOf(1)]) t.equal(buckets.waitMs(id, 0), 60_000, id);
});
