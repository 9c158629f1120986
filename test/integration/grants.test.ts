import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startApp } from '../../src/app/app.js';
import { openSocket } from '../support/echo-socket.js';
import {
  ADMIN_GET,
  ALLOW,
  ASKED,
  EXTRA,
  eventsOf,
  GRANTS_FILE,
  grant,
  inHours,
  kept,
  listed,
  order,
  startWithEcho,
  startWithGrants,
  withdraw,
} from '../support/grants.js';
import type { RawClient } from '../support/raw-client.js';
import { ProcessWorld } from '../support/run-process.js';
import { GET, refusalsOf, sourceOf } from '../support/sources.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

t.test(
  'a grant lets the next request on an open connection in, is kept first, and outlives a restart',
  async (t) => {
    const world = await startWithGrants(t);
    const client = await world.client();
    t.equal((await client.ask(ADMIN_GET))[0]?.status, 403);
    const before = (await world.snapshot()).policyRevision;
    const answer = await grant(world, { ...ASKED, for: '4h' });
    t.equal(answer.status, 200, JSON.stringify(answer.body));
    const [id] = answer.body.granted as string[];
    t.match(id, /^GR-[0-9a-f]{10}$/, 'an id is made');
    t.match(answer.body, {
      added: 1,
      keptIn: join(world.dir, GRANTS_FILE),
      exceptions: [{ id, ...ASKED, source: 'grants', state: 'expiring', uses: 0 }],
    });
    t.not(answer.body.policyRevision, before);
    t.same(kept(world), [id]);
    t.equal(statSync(join(world.dir, GRANTS_FILE)).mode & 0o777, 0o600);

    t.equal((await client.ask(ADMIN_GET))[0]?.status, 200, 'the connection was open before');
    const records = await world.untilRecords(2);
    t.match(records[0]?.decision, { effect: 'deny', reason: 'no_rule_matched', rule: 'default' });
    t.match(records[1]?.decision, {
      effect: 'allow',
      reason: 'exception_allowed',
      rule: id,
      exception: id,
      policyRevision: answer.body.policyRevision,
    });
    t.match(await listed(world), [{ id, uses: 1 }]);
    t.match(await world.metrics(), /countersign_exceptions\{state="expiring"\} 1\n/);
    const [started] = eventsOf(world, 'exception.started');
    t.match(started, { source: 'grants', exception: { id, owner: 'team-web' } });
    t.match(started?.detail, /incident 7.*granted by alice$/);
    const changed = eventsOf(world, 'policy.changed');
    t.match(changed[0]?.detail, new RegExp(`^added exception ${id} of team-web`));

    await world.app.close();
    await world.run();
    t.equal((await (await world.client()).ask(ADMIN_GET))[0]?.status, 200);
    t.equal((await world.snapshot()).policyRevision, answer.body.policyRevision);
  },
);

t.test('what is withdrawn is out of force at once, ends what it held, and leaves the file', async (t) => {
  const world = await startWithGrants(t);
  const allow = { ...ALLOW, principals: ['spiffe://b.test/other'], destinations: ['r5'] };
  const only = await world.caB.issue('spiffe://b.test/other');
  await grant(world, { ...ASKED, id: 'W-1', for: '4h' }, { ...ASKED, id: 'W-2', for: '4h', allow });
  const client = await world.client();
  const other = await world.client(only);
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 200);
  t.match(await withdraw(world, 'W-1'), { status: 200, body: { withdrawn: { id: 'W-1' }, connections: 0 } });
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 403);
  t.same(kept(world), ['W-2']);
  t.match(await listed(world), [{ id: 'W-2' }]);
  t.equal((await other.ask(GET))[0]?.status, 200, 'public lets it in anyway');
  await waitFor(() => eventsOf(world, 'exception.withdrawn').length === 1);
  const [record] = eventsOf(world, 'exception.withdrawn');
  t.match(record, { source: 'grants', exception: { id: 'W-1' } });
  t.match(record?.detail, /withdrawn: incident is over, by bob$/);
  t.match(await withdraw(world, 'W-1'), { status: 404 });
  await world.app.close();
  await world.run();
  t.equal((await (await world.client()).ask(ADMIN_GET))[0]?.status, 403);
});

t.test('a withdrawal that ends an open WebSocket says how many connections it ended', async (t) => {
  const world = await startWithEcho(t);
  await grant(world, { ...ASKED, id: 'WS-2', for: '4h', allow: { ...ALLOW, destinations: ['r4'] } });
  const { closed } = await openSocket(world.port, world.web);
  t.match((await withdraw(world, 'WS-2')).body, { connections: 1 });
  await closed;
});

t.test(
  'what cannot be written is not granted; what is withdrawn stays withdrawn without being written',
  async (t) => {
    const world = new World();
    t.teardown(() => world.close());
    await world.prepare();
    mkdirSync(join(world.dir, 'kept'));
    world.writeConfig({ extra: 'exceptions: { file: kept/list.yaml }' });
    await world.run();
    await grant(world, { ...ASKED, id: 'K-1', for: '4h' });
    const client = await world.client();
    t.equal((await client.ask(ADMIN_GET))[0]?.status, 200);
    const text = readFileSync(join(world.dir, 'kept/list.yaml'));
    rmSync(join(world.dir, 'kept'), { recursive: true });

    const refused = await grant(world, { ...ASKED, id: 'K-2', for: '4h' });
    t.equal(refused.status, 500);
    t.match(refused.body.detail, /^NOTHING WAS GRANTED: .*cannot be written/);
    t.notMatch(await listed(world), [{ id: 'K-2' }]);

    const withdrawn = await withdraw(world, 'K-1');
    t.equal(withdrawn.status, 500);
    t.match(withdrawn.body.detail, /^OUT OF FORCE, BUT STILL IN THE FILE/);
    t.match(withdrawn.body.withdrawn, { id: 'K-1' });
    t.equal((await client.ask(ADMIN_GET))[0]?.status, 403);
    t.ok(world.diagnostics.some(({ level, message }) => level === 'error' && /withdrawn/.test(message)));

    mkdirSync(join(world.dir, 'kept'));
    world.write('kept/list.yaml', text);
    await waitFor(
      () => kept(world, 'kept/list.yaml').length === 0,
      15_000,
      () => 'the second attempt',
    );
    t.equal((await client.ask(ADMIN_GET))[0]?.status, 403, 'also when the file comes back');
  },
);

t.test('people may write the file: what it gains is granted, what it loses is taken back', async (t) => {
  const world = await startWithGrants(t);
  const client = await world.client();
  const entry = (id: string, end: string): string =>
    `  - { id: ${id}, owner: team-web, reason: by hand, by: carol, expires: ${end}, allow: { principals: ["spiffe://a.test/web"], destinations: [r2] } }\n`;
  world.replace(GRANTS_FILE, `version: 1\nexceptions:\n${entry('H-1', inHours(2))}`);
  await waitFor(async () => (await client.ask(ADMIN_GET))[0]?.status === 200);
  world.replace(GRANTS_FILE, `version: 1\nexceptions:\n${entry('H-1', inHours(24 * 365))}`);
  await waitFor(() => refusalsOf(world, 'grants').length === 1);
  t.match(
    refusalsOf(world, 'grants')[0]?.problem,
    /grants\.yaml:3:\d+ exceptions\[0\]\.expires: is too far ahead: at most 90d/,
  );
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 200, 'the last good version stays');
  t.match(
    (await grant(world, { ...ASKED, for: '1h' })).body.detail,
    /too far ahead/,
    'nobody writes over it',
  );
  rmSync(join(world.dir, GRANTS_FILE));
  await waitFor(async () => /is gone/.test((await sourceOf(world, 'grants')).lastError));
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 200, 'each of them dies at its own time');
  world.replace(GRANTS_FILE, 'version: 1\nexceptions: []\n');
  await waitFor(async () => (await client.ask(ADMIN_GET))[0]?.status === 403);
  await waitFor(() => eventsOf(world, 'exception.withdrawn').length === 1);
  t.match(eventsOf(world, 'exception.withdrawn')[0]?.detail, /its entry is gone$/);
});

t.test('a grants file that is broken at the start is exit 78', async (t) => {
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig({ extra: EXTRA });
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const attempt = () =>
    startApp({ configFile: join(world.dir, 'countersign.yaml'), env: {}, diagnostics: silent });
  world.write(GRANTS_FILE, 'version: 1\nexceptions:\n  - { id: X-1 }\n');
  await t.rejects(attempt(), /grants\.yaml:3:\d+ exceptions\[0\]\.owner: is required/);
  rmSync(join(world.dir, GRANTS_FILE));
  mkdirSync(join(world.dir, GRANTS_FILE));
  await t.rejects(attempt(), /grants\.yaml: cannot be read/, 'a folder in its place is not an empty list');
});

t.test('several workers agree: granted is granted at each, withdrawn is withdrawn at each', async (t) => {
  const proxy = await ProcessWorld.start({ extra: `${EXTRA}\nworkers: 2` });
  t.teardown(() => proxy.close());
  const url = `http://${proxy.address('admin')}`;
  const clients: RawClient[] = [];
  for (let i = 0; i < 6; i++) clients.push(await proxy.client());
  const statuses = async (): Promise<number[]> => {
    const answers = await Promise.all(clients.map((client) => client.ask(ADMIN_GET)));
    return answers.map(([answer]) => answer?.status ?? 0);
  };
  t.same(new Set(await statuses()), new Set([403]));
  const asked = ['P-1', 'P-2', 'P-3', 'P-4'].map((id) => ({ ...ASKED, id, for: '4h' }));
  const answers = await Promise.all(
    asked.map((one) => order(url, 'POST', '/exceptions', { exceptions: [one] })),
  );
  t.same(
    answers.map(({ status }) => status),
    [200, 200, 200, 200],
    'orders at one time do not lose each other',
  );
  t.same(new Set(await statuses()), new Set([200]), 'when it is answered, every worker has it');
  const { exceptions } = (await order(url, 'GET', '/exceptions')).body;
  t.same(exceptions.map(({ id }: ReadRecord) => id).sort(), ['P-1', 'P-2', 'P-3', 'P-4']);
  t.equal(
    exceptions.reduce((sum: number, { uses }: ReadRecord) => sum + uses, 0),
    6,
    'uses are summed over the workers',
  );
  t.equal((await proxy.snapshot()).agreed, true);
  const metrics = await (await proxy.admin('/metrics')).text();
  t.match(metrics, /countersign_exceptions\{state="expiring"\} 4\n/, 'four, not eight');
  const ends = await Promise.all(
    asked.map(({ id }) => order(url, 'DELETE', `/exceptions/${id}`, { by: 'bob', reason: 'over' })),
  );
  t.same(
    ends.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  t.same(new Set(await statuses()), new Set([403]));
  t.same(kept(proxy.world), []);
  const started = proxy.world.records.filter(({ event }) => event === 'exception.started');
  t.equal(started.length, 4, 'told once, not once a worker');
});
