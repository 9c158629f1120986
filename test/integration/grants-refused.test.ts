import t from 'tap';
import { DAY_MS, HOUR_MS } from '../../src/policy/exception.js';
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
  startWithGrants,
  withdraw,
} from '../support/grants.js';
import { refusalsOf } from '../support/sources.js';
import { POLICY, type ReadRecord, waitFor } from '../support/start-proxy.js';

t.test(
  'a request to grant that is wrong in any way grants nothing, and says everything that is wrong',
  async (t) => {
    const policy = `${POLICY}exceptions:
  - { id: EX-1, owner: o, reason: r, expires: "${inHours(24 * 30)}", allow: { principals: ["spiffe://a.test/web"], destinations: [r5] } }\n`;
    const world = await startWithGrants(t, { policy });
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
    const world = await startWithGrants(t, { extra: '', policy });
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
  const world = await startWithGrants(t);
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
  const world = await startWithGrants(t);
  await grant(world, { ...ASKED, id: 'D-1', for: '60d' });
  world.replace(
    'countersign.yaml',
    world.configText({ extra: `exceptions: { file: ${GRANTS_FILE}, maxLength: 30d }` }),
  );
  await waitFor(() => refusalsOf(world, 'config').length === 1);
  t.match(
    refusalsOf(world, 'config')[0]?.problem,
    /grants: .*exceptions\[0\]\.expires: is too far ahead: at most 30d/,
  );
  t.equal((await (await world.client()).ask(ADMIN_GET))[0]?.status, 200);
});

t.test('the id of a dead grant is free again, and a dead one leaves the file a day later', async (t) => {
  let skewMs = 0;
  const world = await startWithGrants(t, { nowMs: () => Date.now() + skewMs });
  await grant(world, { ...ASKED, id: 'A-1', for: '1h' }, { ...ASKED, id: 'A-2', for: '1h' });
  skewMs = 2 * HOUR_MS;
  const again = await grant(world, { ...ASKED, id: 'A-1', for: '1h' });
  t.match(again, { status: 200, body: { added: 1 } });
  t.same(kept(world), ['A-2', 'A-1']);
  await waitFor(() => eventsOf(world, 'exception.started').length === 3);
  skewMs = DAY_MS + 2 * HOUR_MS;
  await grant(world, { ...ASKED, id: 'A-3', for: '1h' });
  t.same(kept(world), ['A-1', 'A-3']);
});

t.test('a grant may read what the policy lets conditions read, and nothing else', async (t) => {
  const reads = (names: string): string => POLICY.replace('rules:', `reads: { headers: [${names}] }\nrules:`);
  const tried = POLICY.replace('id: admin', 'id: admin2');
  const extra = `${EXTRA}\nshadowPolicy: tried.yaml`;
  const world = await startWithGrants(t, {
    extra,
    policy: reads('x-region'),
    files: { 'tried.yaml': tried },
  });
  const allow = { ...ALLOW, when: 'request.headers["x-region"] == "eu"' };
  const other = { ...ALLOW, when: 'request.headers["x-other"] == "eu"' };
  const refused = await grant(world, { ...ASKED, id: 'N-1', for: '1h', allow: other });
  t.match(refused, {
    status: 400,
    body: { problems: [{ path: 'exceptions[0].allow.when', message: /x-other/ }] },
  });
  t.equal((await grant(world, { ...ASKED, id: 'N-2', for: '1h', allow })).status, 200);
  const client = await world.client();
  const ask = async (region: string): Promise<number | undefined> =>
    (await client.ask(ADMIN_GET.replace('\r\n\r\n', `\r\nX-Region: ${region}\r\n\r\n`)))[0]?.status;
  t.equal(await ask('eu'), 200, 'a policy that is only tried out does not stand in its way');
  t.equal(await ask('us'), 403);
  world.replace('policy.yaml', reads('x-zone'));
  await waitFor(async () => (await ask('eu')) === 403);
  t.match(await listed(world), [{ id: 'N-2', state: 'unusable', problem: /x-region/ }]);
});
