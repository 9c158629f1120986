import { Counter, Histogram, Registry } from 'prom-client';
import t from 'tap';
import { RequestMetrics } from '../../../src/telemetry/request-metrics.js';

const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const OBSERVED = [
  ['in', 'a', 'example.org', 'allow', 200, 0.0004],
  ['in', 'a', 'example.org', 'allow', 200, 0.001],
  ['in', 'a', 'example.org', 'allow', 200, 0.0010001],
  ['in', 'a', 'other.example', 'allow', 200, 0.3],
  ['in', 'a', '', 'deny', 403, 0.002],
  ['in', 'b', 'example.org', 'allow', 299, 31],
  ['in', '', '', 'deny', 0, 0],
  ['out', 'a', 'example.org', 'allow', 200, 29.999],
  ['in', 'a', 'example.org', 'allow', 200, 30],
] as const;

t.test(
  'a scrape shows what prom-client shows of the same observations, each time all since the start',
  async (t) => {
    const registry = new Registry();
    const metrics = new RequestMetrics(registry);
    const expected = new Registry();
    const registers = [expected];
    const counter = new Counter({
      name: 'countersign_requests_total',
      help: 'Requests by outcome.',
      labelNames: ['listener', 'route', 'trust_domain', 'effect', 'code'],
      registers,
    });
    const histogram = new Histogram({
      name: 'countersign_request_duration_seconds',
      help: 'Time from the request head to the last byte of its answer.',
      labelNames: ['listener', 'route'],
      buckets: BOUNDS,
      registers,
    });
    for (let scrape = 0; scrape < 3; scrape++) {
      t.equal(await registry.metrics(), await expected.metrics());
      for (const [listener, route, trustDomain, effect, status, seconds] of OBSERVED) {
        metrics.observe(listener, route, trustDomain, effect, status, seconds);
        const code = status === 0 ? 'none' : status === 299 ? '2xx' : String(status);
        counter.inc({ listener, route, trust_domain: trustDomain, effect, code });
        histogram.observe({ listener, route }, seconds);
      }
    }
    t.match(await registry.metrics(), 'route="a",trust_domain="example.org",effect="allow",code="200"} 12\n');
  },
);

t.test('labels that read alike when joined are series of their own', async (t) => {
  const registry = new Registry();
  const metrics = new RequestMetrics(registry);
  metrics.observe('a', 'b,c', '', 'allow', 200, 1);
  metrics.observe('a,b', 'c', '', 'allow', 200, 1);
  const text = await registry.metrics();
  t.match(text, 'countersign_request_duration_seconds_count{listener="a",route="b,c"} 1');
  t.match(text, 'countersign_request_duration_seconds_count{listener="a,b",route="c"} 1');
});
