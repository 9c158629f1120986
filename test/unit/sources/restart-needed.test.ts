import t from 'tap';
import type { Config, ListenerConfig } from '../../../src/config/config.js';
import { loadConfig } from '../../../src/config/load.js';
import { restartNeededFor } from '../../../src/sources/restart-needed.js';

t.test('what a listener opened, and what is spoken on it, changes with a restart only', async (t) => {
  const { config } = await loadConfig('config/full.yaml', {});
  if (config === undefined) return t.fail('config/full.yaml is not good');
  const withFirst = (change: Partial<ListenerConfig>): Config => ({
    ...config,
    listeners: config.listeners.map((one, i) => (i === 0 ? { ...one, ...change } : one)),
  });
  const changes: readonly Partial<ListenerConfig>[] = [
    { address: { kind: 'unix', path: '/run/a.sock' } },
    { socketMode: 0o660 },
    { protocol: 'tcp' },
    { direction: 'outbound' },
    { http2: false },
    { proxyProtocol: { from: [{ family: 'ipv4', address: '10.0.0.1', prefix: 32, text: '10.0.0.1' }] } },
    { startTls: 'postgres' },
  ];
  for (const change of changes) {
    const key = `listeners.inbound.${Object.keys(change)[0]}`;
    t.same(restartNeededFor(config, withFirst(change)), [key]);
    t.same(restartNeededFor(withFirst(change), config), [key], 'and back');
  }
  t.same(restartNeededFor(config, withFirst({ routes: [] })), [], 'routes change with the snapshot');
  t.same(restartNeededFor(config, config), []);
  const fewer = { ...config, listeners: config.listeners.slice(1) };
  const gone = restartNeededFor(config, fewer);
  t.ok(gone.includes('listeners.inbound.address'), 'one that is gone');
  t.same(restartNeededFor(fewer, config), gone, 'one that is new');
});
