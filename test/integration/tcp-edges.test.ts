import { join } from 'node:path';
import t from 'tap';
import { DecisionEngine, says } from '../support/decision-engine.js';
import { RecordPipe } from '../support/record-pipe.js';
import { waitFor } from '../support/start-proxy.js';
import { startTcp } from '../support/tcp-world.js';

const NO_ALPN = { ALPNProtocols: undefined as never };

t.test(
  'one connection more than maxConnections is refused, and there is room again when one ends',
  async (t) => {
    const { world, service } = await startTcp(t, { upstream: ', maxConnections: 2' });
    const [one, two] = [await world.client(world.web, NO_ALPN), await world.client(world.web, NO_ALPN)];
    for (const client of [one, two]) {
      client.send('x');
      await client.until(() => client.received === 'x');
    }
    const third = await world.client(world.web, NO_ALPN);
    await third.untilClosed();
    const refused = (await world.untilRecords(3)).at(-1);
    t.match(refused, { response: { outcome: 'upstream_failed', reason: 'upstream_overloaded' } });
    t.equal(service.sockets.length, 2);
    one.socket.end();
    await one.untilClosed();
    const fourth = await world.client(world.web, NO_ALPN);
    fourth.send('y');
    await fourth.until(() => fourth.received === 'y');
  },
);

t.test('an external engine is asked about a connection before the service hears of it', async (t) => {
  const engine = await new DecisionEngine().open();
  t.teardown(() => engine.close());
  const { world, service } = await startTcp(t, {
    extra: `externalDecision: { url: "${engine.url}" }\n`,
  });
  engine.reply = says({ allow: true });
  const client = await world.client(world.web, { ...NO_ALPN, servername: 'db.test' });
  client.send('x');
  await client.until(() => client.received === 'x');
  t.match(engine.asked[0]?.input, { request: { method: 'CONNECT', path: '/', host: 'db.test' } });
  engine.reply = says({ allow: false, reason: 'not now' });
  const other = await world.client(world.web, NO_ALPN);
  await other.untilClosed();
  const refused = (await world.untilRecords(2)).at(-1);
  t.match(refused, { decision: { effect: 'deny', reason: 'external_denied' } });
  t.equal(service.sockets.length, 1);
});

t.test('where a record must be written first, no byte reaches the service before it is', async (t) => {
  const pipe = new RecordPipe(join(t.testdir(), 'records'));
  t.teardown(() => pipe.close());
  const { world, service } = await startTcp(t, { audit: `${pipe.path}, durability: written` });
  await waitFor(() => pipe.read().length > 0);
  const client = await world.client(world.web, NO_ALPN);
  pipe.fill();
  client.send('x');
  await waitFor(() => service.sockets.length > 0 || client.closed);
  await new Promise((resolve) => setTimeout(resolve, 300)); // what must not come has had its time
  t.equal(service.received, '');
  t.equal(client.closed, false);
  pipe.read();
  await client.until(() => client.received === 'x');
  t.match(
    pipe.read().find(({ event }) => event === 'access'),
    { phase: 'start', request: { protocol: 'tcp' } },
  );
  client.destroy();
});
