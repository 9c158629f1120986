import t from 'tap';
import { retryAfterMs } from '../../../src/telemetry/retry-after.js';

const NOW = Date.UTC(2026, 10, 21, 10);

t.test('seconds, a date, or nothing', async (t) => {
  t.equal(retryAfterMs('0', NOW), 0);
  t.equal(retryAfterMs('120', NOW), 120_000);
  t.equal(retryAfterMs('Sat, 21 Nov 2026 10:00:30 GMT', NOW), 30_000);
  t.equal(retryAfterMs('Sat, 21 Nov 2026 09:00:30 GMT', NOW), 0);
  for (const nonsense of [undefined, '', '-5', 'soon', '1e9x'])
    t.equal(retryAfterMs(nonsense, NOW), undefined);
});
