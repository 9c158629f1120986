import t from 'tap';
import type { Config, Limits, RouteLimits } from '../../../src/config/config.js';
import { RequestLimits } from '../../../src/listener/request-limits.js';
import type { RouteLimiter } from '../../../src/listener/route-limiter.js';

const [WEB, BATCH] = ['spiffe://a.test/web', 'spiffe://a.test/batch'];
const rate = (
  count: number,
  burst: number,
  perMs = 1000,
): { count: number; perMs: number; burst: number } => ({
  count,
  perMs,
  burst,
});

/** As much of a configuration as limits are made of. */
const configOf = (general: Partial<Limits>, routes: Readonly<Record<string, RouteLimits>> = {}): Config =>
  ({
    limits: general,
    listeners: [
      { routes: [{ name: 'plain' }, ...Object.entries(routes).map(([name, limits]) => ({ name, limits }))] },
    ],
  }) as unknown as Config;

function limiterOf(limits: RequestLimits, config: Config, route?: string, tickMs = 0): RouteLimiter {
  const limiter = limits.limiterOf(config, route, tickMs);
  if (limiter === undefined) throw new Error('nothing limits');
  return limiter;
}

/** How many are let in one after another; all are over at once unless `stay`. */
function count(limiter: RouteLimiter, id: string, tries: number, tickMs = 0, stay = false): number {
  let entered = 0;
  for (let i = 0; i < tries; i++) {
    if (limiter.enter(id, tickMs) !== undefined) continue;
    entered++;
    if (!stay) limiter.leave(id);
  }
  return entered;
}

t.test('nothing limits what nothing is said of', async (t) => {
  const limits = new RequestLimits();
  t.equal(limits.limiterOf(configOf({}), 'plain', 0), undefined);
  t.equal(limits.limiterOf(configOf({}, { r: {} }), 'r', 0), undefined);
  const config = configOf({}, { r: { concurrent: 1 } });
  t.equal(limits.limiterOf(config, 'plain', 0), undefined);
  t.equal(limits.limiterOf(config, undefined, 0), undefined);
});

t.test("the general limit is one for all routes, and a route's word replaces it there", async (t) => {
  const limits = new RequestLimits();
  const config = configOf(
    { requestsPerPrincipal: rate(1, 5) },
    { own: { requestsPerPrincipal: rate(1, 2) }, other: { concurrent: 9 } },
  );
  t.equal(count(limiterOf(limits, config, 'plain'), WEB, 3), 3);
  t.equal(count(limiterOf(limits, config, 'own'), WEB, 9), 2, 'its own');
  t.equal(count(limiterOf(limits, config, 'other'), WEB, 9), 2, 'what is left of the general five');
  t.equal(count(limiterOf(limits, config), WEB, 9), 0, 'no route: the general ones');
  t.equal(count(limiterOf(limits, config), BATCH, 9), 5);
});

t.test('a request that one limit refuses is counted by none', async (t) => {
  const limits = new RequestLimits();
  const config = configOf(
    {},
    { r: { requests: rate(1, 5), requestsPerPrincipal: rate(1, 3), concurrent: 1 } },
  );
  const limiter = limiterOf(limits, config, 'r');
  t.equal(limiter.enter(WEB, 0), undefined);
  t.match(limiter.enter(WEB, 0), { reason: 'concurrency_limited' });
  limiter.leave(WEB);
  t.equal(count(limiter, WEB, 50), 2, 'the refused one took nothing of three');
  t.equal(count(limiter, BATCH, 50), 2, 'nor did the 48 of the noisy one take any of the five of all');
});

t.test('what a refusal tells: which limit, how long to wait, and what was promised', async (t) => {
  const limits = new RequestLimits();
  const words = {
    requests: rate(7, 7, 60_000),
    requestsPerPrincipal: rate(2, 3, 60_000),
    concurrentPerPrincipal: 2,
  };
  const limiter = limiterOf(limits, configOf({}, { r: words }), 'r');
  count(limiter, WEB, 2, 0, true);
  t.same(limiter.enter(WEB, 0), {
    reason: 'concurrency_limited',
    detail: 'over concurrentPerPrincipal',
    headers: [
      'Retry-After',
      '1',
      'RateLimit-Policy',
      '"concurrentPerPrincipal";q=2;qu="concurrent-requests"',
      'RateLimit',
      '"concurrentPerPrincipal";r=0',
    ],
  });
  limiter.leave(WEB);
  count(limiter, WEB, 1);
  t.same(limiter.enter(WEB, 500), {
    reason: 'rate_limited',
    detail: 'over requestsPerPrincipal',
    headers: [
      'Retry-After',
      '30',
      'RateLimit-Policy',
      '"requestsPerPrincipal";q=3;w=90',
      'RateLimit',
      '"requestsPerPrincipal";r=0;t=30',
    ],
  });
  for (let i = 0; i < 4; i++) count(limiter, `${BATCH}${i}`, 1);
  t.same(limiter.enter(WEB, 500), {
    reason: 'rate_limited',
    detail: 'over requestsPerPrincipal, requests',
    headers: [
      'Retry-After',
      '30',
      'RateLimit-Policy',
      '"requestsPerPrincipal";q=3;w=90, "requests";q=7;w=60',
      'RateLimit',
      '"requestsPerPrincipal";r=0;t=30, "requests";r=0;t=9',
    ],
  });
});

t.test('Retry-After is whole seconds, at least one, and whoever waits so long gets through', async (t) => {
  for (const words of [
    rate(500, 1),
    rate(3, 4),
    rate(7, 2, 60_000),
    rate(1000, 1, 3_600_000),
    rate(1, 1, 4000),
  ]) {
    for (const tickMs of [0, 0.4, 12_345.678, 9e9 + 0.1]) {
      const limiter = limiterOf(
        new RequestLimits(),
        configOf({ requestsPerPrincipal: words }),
        undefined,
        tickMs,
      );
      t.equal(count(limiter, WEB, 50, tickMs), words.burst);
      const seconds = limiter.enter(WEB, tickMs)?.headers[1] ?? '';
      t.match(seconds, /^[1-9][0-9]*$/);
      t.equal(
        limiter.enter(WEB, tickMs + Number(seconds) * 1000),
        undefined,
        `${JSON.stringify(words)} ${tickMs}`,
      );
    }
  }
});

t.test(
  "an allowed answer tells of the caller's own rate, spread so that it is never faster than that",
  async (t) => {
    const words = { requests: rate(7, 7), requestsPerPrincipal: rate(5, 20), concurrentPerPrincipal: 2 };
    const limiter = limiterOf(new RequestLimits(), configOf({}, { r: words }), 'r');
    count(limiter, WEB, 4);
    t.same(limiter.headers(WEB, 0), [
      'RateLimit-Policy',
      '"requestsPerPrincipal";q=20;w=4',
      'RateLimit',
      '"requestsPerPrincipal";r=16;t=4',
    ]);
    const shared = limiterOf(new RequestLimits(), configOf({}, { r: { requests: rate(7, 7) } }), 'r');
    t.same(shared.headers(WEB, 0), [], 'what all share would tell of the others');
  },
);

t.test('another configuration keeps what was used, and what is under way', async (t) => {
  const limits = new RequestLimits();
  const before = limiterOf(limits, configOf({ requestsPerPrincipal: rate(1, 4), concurrentPerPrincipal: 3 }));
  count(before, WEB, 3, 0, true);
  const loose = limiterOf(limits, configOf({ requestsPerPrincipal: rate(1, 10), concurrentPerPrincipal: 5 }));
  t.equal(count(loose, WEB, 9, 0, true), 2, 'three of five are under way');
  t.match(loose.enter(WEB, 0), { reason: 'concurrency_limited' });
  const tight = limiterOf(limits, configOf({ requestsPerPrincipal: rate(1, 10), concurrentPerPrincipal: 1 }));
  for (let left = 5; left > 0; left--) {
    t.match(tight.enter(WEB, 0), { reason: 'concurrency_limited' }, `${left} under way`);
    before.leave(WEB); // each gives back what it was counted by, whatever is in force now
  }
  t.equal(count(tight, WEB, 9, 0), 5, 'five of ten are used');
  t.match(tight.enter(WEB, 0), { reason: 'rate_limited' });
  const other = limiterOf(limits, configOf({ requestsPerPrincipal: rate(1, 2) }));
  t.match(other.enter(WEB, 999), { reason: 'rate_limited', headers: ['Retry-After', '1'] });
  t.equal(other.enter(WEB, 1000), undefined, 'one request of the new rate later');
});

t.test(
  'a caller that goes on asking is read more slowly, all its connections together, up to a second',
  async (t) => {
    const limits = new RequestLimits();
    t.same(
      [1, 2, 3].map(() => limits.holdBackMs(WEB, 0)),
      [2, 4, 6],
    );
    t.equal(limits.holdBackMs(BATCH, 0), 2, 'another caller is not');
    for (let i = 0; i < 2000; i++) limits.holdBackMs(WEB, 0);
    t.equal(limits.holdBackMs(WEB, 0), 1000);
    t.equal(limits.holdBackMs(WEB, 2000), 2, 'forgotten when it has waited');
  },
);

t.test('a route keeps its counts over a reload that changes something else', async (t) => {
  const limits = new RequestLimits();
  const words = { r: { requests: rate(1, 5, 60_000) } };
  t.equal(count(limiterOf(limits, configOf({}, words), 'r'), WEB, 9), 5);
  t.equal(count(limiterOf(limits, configOf({ connections: 7 }, words), 'r', 100), BATCH, 9, 100), 0);
});
