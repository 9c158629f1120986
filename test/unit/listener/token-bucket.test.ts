import fc from 'fast-check';
import t from 'tap';
import type { RequestRate } from '../../../src/config/config.js';
import { afterOne, FULL, isFull, remaining, underRate, waitMs } from '../../../src/listener/token-bucket.js';

const rates: fc.Arbitrary<RequestRate> = fc.record({
  count: fc.integer({ min: 1, max: 100_000 }),
  perMs: fc
    .tuple(fc.constantFrom(1000, 60_000, 3_600_000), fc.integer({ min: 1, max: 256 }))
    .map(([a, b]) => a * b),
  burst: fc.integer({ min: 1, max: 1_000_000 }),
});
const HALF_A_YEAR_MS = 180 * 86_400_000;
const ticks = fc.oneof(
  fc.integer({ min: 0, max: HALF_A_YEAR_MS }),
  fc.double({ min: 0, max: 1e6, noNaN: true }),
);

/** Takes as many as there are, at once. */
function drain(rate: RequestRate, from: number, tickMs: number, most = rate.burst + 10): [number, number] {
  let [fullAt, taken] = [from, 0];
  while (taken < most && waitMs(rate, fullAt, tickMs) === 0) {
    fullAt = afterOne(rate, fullAt, tickMs);
    taken++;
  }
  return [fullAt, taken];
}

t.test('a full bucket gives its burst at once and not one more', async (t) => {
  const small = rates.map((rate) => ({ ...rate, burst: (rate.burst % 50) + 1 }));
  fc.assert(
    fc.property(small, ticks, (rate, tickMs) => {
      const [fullAt, taken] = drain(rate, FULL, tickMs);
      t.equal(taken, rate.burst);
      t.equal(remaining(rate, fullAt, tickMs), 0);
      t.equal(isFull(rate, fullAt, tickMs), false);
    }),
    { seed: 4 },
  );
});

t.test('in no span of time is more taken than the burst and what the rate gives', async (t) => {
  const pauses = fc.array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 20_000 })), {
    minLength: 1,
    maxLength: 200,
  });
  const busy = fc.record({
    count: fc.integer({ min: 1, max: 100 }),
    perMs: fc.constantFrom(1000, 60_000, 3000),
    burst: fc.integer({ min: 1, max: 20 }),
  });
  const holds = fc.check(
    fc.property(busy, fc.integer({ min: 0, max: HALF_A_YEAR_MS }), pauses, (rate, startMs, steps) => {
      let [tickMs, fullAt] = [startMs, FULL];
      const takenAt: number[] = [];
      for (const step of steps) {
        tickMs += step;
        if (waitMs(rate, fullAt, tickMs) > 0) continue;
        fullAt = afterOne(rate, fullAt, tickMs);
        takenAt.push(tickMs);
      }
      for (let i = 0; i < takenAt.length; i++) {
        for (let j = i; j < takenAt.length; j++) {
          const most = rate.burst + ((takenAt[j]! - takenAt[i]!) * rate.count) / rate.perMs;
          if (j - i + 1 > most) return false;
        }
      }
      return takenAt.length > 0;
    }),
    { seed: 4 },
  );
  t.equal(holds.failed, false, JSON.stringify(holds.counterexample));
});

t.test('waiting as long as is said gets one, and a millisecond less does not', async (t) => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: HALF_A_YEAR_MS }), (rate, tickMs) => {
      // as empty as it gets, without a million steps
      const empty = underRate(rate, rate, Number.MAX_SAFE_INTEGER, tickMs);
      const wait = waitMs(rate, empty, tickMs);
      t.ok(wait > 0);
      t.equal(waitMs(rate, empty, tickMs + Math.ceil(wait)), 0);
      if (wait > 1) t.ok(waitMs(rate, empty, tickMs + Math.ceil(wait) - 1) > 0);
      const [, taken] = drain(rate, empty, tickMs + Math.ceil(wait), 3);
      t.ok(taken >= 1);
    }),
    { seed: 4 },
  );
});

t.test('a bucket that is left alone is full again after burst divided by rate', async (t) => {
  const rate = { count: 30, perMs: 60_000, burst: 5 };
  const [fullAt] = drain(rate, FULL, 1000);
  t.equal(isFull(rate, fullAt, 1000 + 9999), false);
  t.equal(isFull(rate, fullAt, 1000 + 10_000), true);
  t.equal(remaining(rate, fullAt, 1000 + 10_000), 5);
  t.equal(remaining(rate, fullAt, 1000 + 4000), 2);
});

t.test('under a larger rate what was spent stays spent, and the difference is there at once', async (t) => {
  const [from, to] = [
    { count: 10, perMs: 1000, burst: 10 },
    { count: 100, perMs: 1000, burst: 50 },
  ];
  const [fullAt] = drain(from, FULL, 7);
  t.equal(remaining(to, underRate(from, to, fullAt, 7), 7), 40);
});

t.test('under a smaller rate nobody owes more than a whole bucket, and nobody is given one', async (t) => {
  const [from, to] = [
    { count: 1000, perMs: 1000, burst: 1000 },
    { count: 2, perMs: 3_600_000, burst: 3 },
  ];
  const [fullAt] = drain(from, FULL, 7);
  const now = underRate(from, to, fullAt, 7);
  t.equal(waitMs(to, now, 7), 1_800_000, 'one request of the new rate, not a thousand');
  t.equal(remaining(to, underRate(from, to, FULL, 7), 7), 3);
});
