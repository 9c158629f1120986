import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startApp } from '../../src/app/app.js';
import { parseGrants } from '../../src/config/grants.js';
import { DAY_MS, HOUR_MS } from '../../src/policy/exception.js';
import { EchoServer, openSocket } from '../support/echo-socket.js';
import type { Svid } from '../support/pki.js';
import type { RawClient } from '../support/raw-client.js';
import { ProcessWorld } from '../support/run-process.js';
import { GET, refusalsOf, sourceOf } from '../support/sources.js';
import { POLICY, type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const FILE = 'grants.yaml';
const EXTRA = `exceptions: { file: ${FILE} }`;
const ADMIN_GET = 'GET /admin/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
/** A credential of web's that outlives what a test does to the clock. */
const lasting = (world: World): Promise<Svid> => world.caA.issue(world.web.uri, { ttlMs: 30 * DAY_MS });
/** What the policy does not let web do. */
const ALLOW = { principals: ['spiffe://a.test/web'], destinations: ['r2'], methods: ['GET'] };
const ASKED = { owner: 'team-web', reason: 'incident 7', by: 'alice', allow: ALLOW };

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start({ extra: EXTRA, ...options });
  t.teardown(() => world.close());
  return world;
}

interface Answer {
  readonly status: number;
  readonly body: ReadRecord;
}

async function order(url: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : { text } };
}

const grant = (world: World, ...exceptions: object[]): Promise<Answer> =>
  order(world.adminUrl, 'POST', '/exceptions', { exceptions });
const withdraw = (world: World, id: string): Promise<Answer> =>
  order(world.adminUrl, 'DELETE', `/exceptions/${id}`, { by: 'bob', reason: 'incident is over' });
const listed = async (world: World): Promise<ReadRecord[]> =>
  (await order(world.adminUrl, 'GET', '/exceptions')).body.exceptions;

const kept = (world: World, file = FILE): readonly string[] => {
  const limit = { nowMs: Date.now(), maxLengthMs: 90 * DAY_MS };
  const { list, problems } = parseGrants(readFileSync(join(world.dir, file)), file, limit);
  if (list === undefined) throw new Error(JSON.stringify(problems));
  return list.grants.map(({ id }) => id);
};

const eventsOf = (world: World, event: string): ReadRecord[] =>
  world.records.filter((record) => record.event === event);
const inHours = (hours: number, nowMs = Date.now()): string =>
  new Date(nowMs + hours * HOUR_MS).toISOString();

t.test(
  'a grant lets the next request on an open connection in, is kept first, and outlives a restart',
  async (t) => {
    const world = await start(t);
    const client = await world.client();
    t.equal((await client.ask(ADMIN_GET))[0]?.status, 403);
    const before = (await world.snapshot()).policyRevision;
    const answer = await grant(world, { ...ASKED, for: '4h' });
    t.equal(answer.status, 200, JSON.stringify(answer.body));
    const [id] = answer.body.granted as string[];
    t.match(id, /^GR-[0-9a-f]{10}$/, 'an id is made');
    t.match(answer.body, {
      added: 1,
      keptIn: join(world.dir, FILE),
      exceptions: [{ id, ...ASKED, source: 'grants', state: 'expiring', uses: 0 }],
    });
    t.not(answer.body.policyRevision, before);
    t.same(kept(world), [id]);
    t.equal(statSync(join(world.dir, FILE)).mode & 0o777, 0o600);

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

t.test('it dies at its time without a reload: requests, then the open WebSocket under it', async (t) => {
  let skewMs = 0;
  const echo = await new EchoServer().open();
  t.teardown(() => echo.close());
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  const policy = POLICY.replace(/^ {2}- \{ id: ws.*\n/m, '');
  world.writeConfig({ extra: EXTRA, policy });
  const config = world.configText({ extra: EXTRA });
  world.write(
    'countersign.yaml',
    config.replace(`127.0.0.1:${world.upstream.port}`, `127.0.0.1:${echo.port}`),
  );
  await world.run({ nowMs: () => Date.now() + skewMs });
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
      const world = await start(t, { extra, nowMs: () => Date.now() + skewMs });
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
  const world = await start(t, { nowMs: () => Date.now() + skewMs });
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

t.test('what is withdrawn is out of force at once, ends what it held, and leaves the file', async (t) => {
  const world = await start(t);
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
  const echo = await new EchoServer().open();
  t.teardown(() => echo.close());
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig({ extra: EXTRA, policy: POLICY.replace(/^ {2}- \{ id: ws.*\n/m, '') });
  const config = world.configText({ extra: EXTRA });
  world.write(
    'countersign.yaml',
    config.replace(`127.0.0.1:${world.upstream.port}`, `127.0.0.1:${echo.port}`),
  );
  await world.run();
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
  const world = await start(t);
  const client = await world.client();
  const entry = (id: string, end: string): string =>
    `  - { id: ${id}, owner: team-web, reason: by hand, by: carol, expires: ${end}, allow: { principals: ["spiffe://a.test/web"], destinations: [r2] } }\n`;
  world.replace(FILE, `version: 1\nexceptions:\n${entry('H-1', inHours(2))}`);
  await waitFor(async () => (await client.ask(ADMIN_GET))[0]?.status === 200);
  world.replace(FILE, `version: 1\nexceptions:\n${entry('H-1', inHours(24 * 365))}`);
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
  rmSync(join(world.dir, FILE));
  await waitFor(async () => /is gone/.test((await sourceOf(world, 'grants')).lastError));
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 200, 'each of them dies at its own time');
  world.replace(FILE, 'version: 1\nexceptions: []\n');
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
  world.write(FILE, 'version: 1\nexceptions:\n  - { id: X-1 }\n');
  await t.rejects(attempt(), /grants\.yaml:3:\d+ exceptions\[0\]\.owner: is required/);
  rmSync(join(world.dir, FILE));
  mkdirSync(join(world.dir, FILE));
  await t.rejects(attempt(), /grants\.yaml: cannot be read/, 'a folder in its place is not an empty list');
});

t.test(
  'a request to grant that is wrong in any way grants nothing, and says everything that is wrong',
  async (t) => {
    const policy = `${POLICY}exceptions:
  - { id: EX-1, owner: o, reason: r, expires: "${inHours(24 * 30)}", allow: { principals: ["spiffe://a.test/web"], destinations: [r5] } }\n`;
    const world = await start(t, { policy });
    await grant(world, { ...ASKED, id: 'HERE', for: '1h' });
    const fail = async (asked: object, path: string, message: RegExp, status = 400): Promise<void> => {
      const { status: said, body } = await grant(world, asked);
      t.equal(said, status, `${path}: ${JSON.stringify(body)}`);
      const found = (body.problems as ReadRecord[]).find((problem) => problem.path === path);
      t.match(found?.message, message, `${path}: ${JSON.stringify(body.problems)}`);
    };
    const good = { ...ASKED, for: '1h' };
    const without = (key: string): object =>
      Object.fromEntries(Object.entries(good).filter(([name]) => name !== key));
    for (const key of ['owner', 'reason', 'by', 'allow'])
      await fail(without(key), `exceptions[0].${key}`, /is required/);
    await fail(without('for'), 'exceptions[0].expires', /is required, or `for`/);
    await fail({ ...good, expires: inHours(1) }, 'exceptions[0].for', /goes without/);
    await fail({ ...ASKED, expires: inHours(-1) }, 'exceptions[0].expires', /is over already/);
    await fail({ ...ASKED, for: '91d' }, 'exceptions[0].for', /too far ahead: at most 90d/);
    await fail({ ...ASKED, starts: inHours(24 * 89), for: '2d' }, 'exceptions[0].for', /too far ahead/);
    await fail(
      { ...ASKED, expires: inHours(1), starts: inHours(2) },
      'exceptions[0].expires',
      /later than `starts`/,
    );
    for (const [id, message] of [
      ['public', /the id of a rule/],
      ['EX-1', /the id of an exception/],
      ['default', /the name of the rule that denies/],
      ['registry', /where the registry refuses/],
    ] as const)
      await fail({ ...good, id }, 'exceptions[0].id', message);
    await fail(
      { ...good, allow: { ...ALLOW, destinations: ['r22'] } },
      'exceptions[0].allow.destinations[0]',
      /did you mean "r2"/,
    );
    await fail(
      { ...good, allow: { ...ALLOW, principals: ['spiffe://c.test/x'] } },
      'exceptions[0].allow.principals[0]',
      /is not configured/,
    );
    await fail(
      { ...good, allow: { ...ALLOW, principals: ['spiffe://*/x'] } },
      'exceptions[0].allow.principals[0]',
      /wildcard/,
    );
    await fail({ ...good, allow: { ...ALLOW, effect: 'deny' } }, 'exceptions[0].allow.effect', /unknown key/);
    const twice = await grant(world, { ...good, id: 'T-1' }, { ...good, id: 'T-1' });
    t.match(twice.body.problems, [{ path: 'exceptions[1].id' }]);
    const taken = await grant(world, { ...good, id: 'HERE' });
    t.match(taken, { status: 409, body: { detail: /^NOTHING WAS GRANTED: "HERE" is the id of a grant/ } });
    t.equal((await order(world.adminUrl, 'POST', '/exceptions', [good])).status, 400);
    t.same(kept(world), ['HERE']);
    t.match(await withdraw(world, 'EX-1'), {
      status: 409,
      body: { detail: /policy\.yaml: take it out there/ },
    });
    const plain = await fetch(`${world.adminUrl}/exceptions`, { method: 'POST', body: '{}' });
    t.equal(plain.status, 415, 'a form of a page is no order');
  },
);

t.test(
  'without a file nothing is granted, and exceptions of the policy are listed all the same',
  async (t) => {
    const policy = `${POLICY}exceptions:
  - { id: EX-1, owner: o, reason: r, expires: "${inHours(24 * 30)}", allow: { principals: ["spiffe://a.test/web"], destinations: [r2] } }\n`;
    const world = await start(t, { extra: '', policy });
    t.match(await grant(world, { ...ASKED, for: '1h' }), {
      status: 501,
      body: { detail: /exceptions: \{ file/ },
    });
    t.match(await withdraw(world, 'GR-1'), { status: 501 });
    t.equal((await (await world.client()).ask(ADMIN_GET))[0]?.status, 200);
    await world.untilRecords(1);
    t.match(await listed(world), [{ id: 'EX-1', source: 'policy', state: 'active', uses: 1 }]);
    t.match((await world.snapshot()).exceptions, { active: 1, expired: 0, next: { id: 'EX-1', owner: 'o' } });
  },
);

t.test('a policy that takes the id of a grant puts the grant out of force, and says so', async (t) => {
  const world = await start(t);
  await grant(world, { ...ASKED, id: 'C-1', for: '4h' });
  const client = await world.client();
  t.equal((await client.ask(ADMIN_GET))[0]?.status, 200);
  world.replace('policy.yaml', POLICY.replace('id: upload', 'id: C-1'));
  await waitFor(async () => (await client.ask(ADMIN_GET))[0]?.status === 403);
  t.match(await listed(world), [{ id: 'C-1', state: 'unusable', problem: /the id of a rule/ }]);
  t.ok(world.diagnostics.some(({ message }) => message === 'a grant is not in force'));
  world.replace('policy.yaml', POLICY);
  await waitFor(async () => (await client.ask(ADMIN_GET))[0]?.status === 200);
});

t.test('a shorter maxLength is held against grants that stand already', async (t) => {
  const world = await start(t);
  await grant(world, { ...ASKED, id: 'D-1', for: '60d' });
  world.replace(
    'countersign.yaml',
    world.configText({ extra: `exceptions: { file: ${FILE}, maxLength: 30d }` }),
  );
  await waitFor(() => refusalsOf(world, 'config').length === 1);
  t.match(
    refusalsOf(world, 'config')[0]?.problem,
    /grants: .*exceptions\[0\]\.expires: is too far ahead: at most 30d/,
  );
  t.equal((await (await world.client()).ask(ADMIN_GET))[0]?.status, 200);
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
