import t from 'tap';
import { HOUR_MS } from '../../src/policy/exception.js';
import { openSocket } from '../support/echo-socket.js';
import {
  ADMIN_GET,
  ASKED,
  EXTRA,
  eventsOf,
  grant,
  inHours,
  lasting,
  listed,
  startWithEcho,
  startWithGrants,
} from '../support/grants.js';
import { GET } from '../support/sources.js';
import { POLICY, waitFor } from '../support/start-proxy.js';

t.test('it dies at its time without a reload: requests, then the open WebSocket under it', async (t) => {
  let skewMs = 0;
  const world = await startWithEcho(t, { nowMs: () => Date.now() + skewMs });
  const allow = { principals: ['spiffe://a.test/web'], destinations: ['r4'] };
  const { body } = await grant(world, { ...ASKED, id: 'WS-1', for: '4h', allow });
  t.same(body.granted, ['WS-1']);
  const web = await lasting(world);
  const { closed } = await openSocket(world.port, web);
  const idle = await world.client(web);
  const { sequence } = await world.snapshot();
  skewMs = 4 * HOUR_MS;
  await closed;
  t.match((await idle.ask(GET.replace('/public/a', '/ws')))[0]?.status, 403);
  await waitFor(() => eventsOf(world, 'exception.expired').length === 1);
  t.equal((await world.snapshot()).sequence, sequence, 'nothing was loaded');
  await waitFor(() => eventsOf(world, 'connection.terminated').length === 1);
  t.match(eventsOf(world, 'connection.terminated'), [{ reason: 'policy_denied' }]);
  await waitFor(() => eventsOf(world, 'revocation.enforced').length === 1);
  t.match(eventsOf(world, 'revocation.enforced'), [{ source: 'clock', connections: 1 }]);
  t.match(eventsOf(world, 'exception.expired'), [{ exception: { id: 'WS-1' } }]);
  t.match(await listed(world), [{ id: 'WS-1', state: 'expired' }]);
  t.match(await world.metrics(), /countersign_exceptions\{state="expired"\} 1\n/);
  const ends = world.exchanges.filter(({ phase }) => phase === 'end');
  t.match(ends, [{ response: { outcome: 'access_ended' }, decision: { exception: 'WS-1' } }]);
});

t.test(
  'a request in flight under a grant that dies may finish within deadlines.accessEnd, or is cut',
  async (t) => {
    for (const [setting, whole] of [
      ['5s', true],
      ['0s', false],
    ] as const) {
      let skewMs = 0;
      const extra = `${EXTRA}\ndeadlines: { accessEnd: ${setting} }`;
      const world = await startWithGrants(t, { extra, nowMs: () => Date.now() + skewMs });
      let release = (): void => undefined;
      world.upstream.respond = ({ socket }) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab');
        release = () => socket.write('cd');
      };
      await grant(world, { ...ASKED, id: 'R-1', for: '1h' });
      const client = await world.client(await lasting(world));
      client.send(ADMIN_GET);
      await client.until(() => client.received.endsWith('ab'));
      skewMs = HOUR_MS;
      await waitFor(() => eventsOf(world, 'exception.expired').length === 1);
      if (whole) {
        release();
        await client.until(() => client.received.endsWith('abcd'));
        const [next] = await client.ask(ADMIN_GET);
        t.equal(next?.status, 403, 'the next one does not come in');
      } else await client.untilClosed();
      const [record] = await world.untilRecords(1);
      t.equal(record?.response.outcome, whole ? 'complete' : 'access_ended', setting);
    }
  },
);

t.test('a grant for later lets nobody in before, and everybody told when it begins', async (t) => {
  let skewMs = 0;
  const world = await startWithGrants(t, { nowMs: () => Date.now() + skewMs });
  const answer = await grant(world, { ...ASKED, id: 'L-1', starts: inHours(30), for: '48h' });
  t.match(answer.body.exceptions, [{ id: 'L-1', state: 'pending' }]);
  const client = await world.client(await lasting(world));
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 403);
  t.same(eventsOf(world, 'exception.started'), []);
  t.match((await world.snapshot()).exceptions, { pending: 1, active: 0, next: { id: 'L-1' } });
  const told = async (hours: number, event: string, count: number): Promise<void> => {
    skewMs = hours * HOUR_MS;
    await waitFor(
      () => eventsOf(world, event).length === count,
      10_000,
      () => `${count} ${event}`,
    );
  };
  await told(31, 'exception.started', 1);
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 200);
  await told(55, 'exception.expiring', 1);
  world.replace('policy.yaml', POLICY.replace('id: public', 'id: public2'));
  await world.untilSnapshot(({ policyRevision }) => policyRevision !== answer.body.policyRevision);
  await told(77.5, 'exception.expiring', 2);
  await told(79, 'exception.expired', 1);
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 403);
  const life = world.records.filter(({ event }) => event.startsWith('exception.'));
  t.same(
    life.map(({ event }) => event),
    ['exception.started', 'exception.expiring', 'exception.expiring', 'exception.expired'],
    'each moment once, whatever was reloaded meanwhile',
  );
});

t.test('what a condition on time lets in ends with that time, without a reload', async (t) => {
  let skewMs = 0;
  const policy = `${POLICY.replace(/^ {2}- \{ id: ws.*\n/m, '')}  - id: ws-until
    effect: allow
    principals: ["spiffe://a.test/web"]
    destinations: [r4]
    when: 'now < timestamp("${inHours(1)}")'\n`;
  const world = await startWithEcho(t, { policy, nowMs: () => Date.now() + skewMs });
  const { closed } = await openSocket(world.port, await lasting(world));
  const { sequence } = await world.snapshot();
  skewMs = HOUR_MS;
  await closed;
  t.equal((await world.snapshot()).sequence, sequence, 'nothing was loaded');
  await waitFor(() => eventsOf(world, 'connection.terminated').length === 1);
  t.match(eventsOf(world, 'connection.terminated'), [{ reason: 'policy_denied' }]);
});
