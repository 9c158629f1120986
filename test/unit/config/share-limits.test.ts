import fc from 'fast-check';
import t from 'tap';
import type { Config } from '../../../src/config/config.js';
import { loadConfig } from '../../../src/config/load.js';
import { shareLimits, tooSmallToShare } from '../../../src/config/share-limits.js';

t.test(
  'what is promised of requests is never more in sum, and each worker has a part of all of it',
  async (t) => {
    const { config } = await loadConfig('config/full.yaml', {});
    if (config === undefined) return t.fail('config/full.yaml is not good');
    const general = {
      requestsPerPrincipal: { count: 500, perMs: 1000, burst: 1000 },
      concurrentPerPrincipal: 7,
    };
    const whole = { ...config, limits: { ...config.limits, ...general } };
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 256 }), (workers) => {
        const routeOf = (of: Config) => of.listeners[0]!.routes[0]!.limits!;
        const shared = shareLimits(whole, workers);
        const tooSmall = tooSmallToShare(whole, workers).map(({ path }) => path.join('.'));
        for (const [key, all, part] of [
          ['limits', whole.limits, shared.limits],
          ['listeners.0.routes.0.limits', routeOf(whole), routeOf(shared)],
        ] as const) {
          for (const word of ['concurrentPerPrincipal', 'concurrent'] as const) {
            const [a, b] = [(all as Record<string, number>)[word], (part as Record<string, number>)[word]];
            if (a === undefined || b === undefined) continue;
            t.ok(b * workers <= a, `${key}.${word}`);
            t.equal(tooSmall.includes(`${key}.${word}`), b < 1, `${key}.${word} by ${workers}`);
          }
          const [a, b] = [all.requestsPerPrincipal!, part.requestsPerPrincipal!];
          t.ok(b.burst * workers <= a.burst);
          t.same([b.count, b.perMs], [a.count, a.perMs * workers]);
          t.equal(tooSmall.includes(`${key}.requestsPerPrincipal.burst`), b.burst < 1);
        }
        t.ok(shared.limits.connections * workers >= whole.limits.connections);
      }),
      { seed: 4 },
    );
    t.same(tooSmallToShare(whole, 8)[0], {
      path: ['limits', 'concurrentPerPrincipal'],
      message: '7 cannot be shared by 8 workers: write at least 8, or have fewer workers',
    });
  },
);
