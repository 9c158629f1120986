import t, { type Test } from 'tap';
import { isBlocked } from '../support/blocked.js';
import { type ReadRecord, World } from '../support/start-proxy.js';

const get = (path: string, ...lines: string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

const policy = (rules: string, reads = ''): string => `version: 1\ndefault: deny\n${reads}rules:\n${rules}`;
const allow = (id: string, path: string, more = ''): string =>
  `  - { id: ${id}, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["${path}"]${more} }\n`;

async function start(t: Test, options: Parameters<typeof World.start>[0]): Promise<World> {
  const world = await World.start({ routes: '[{ name: all, path: /**, upstream: u }]', ...options });
  t.teardown(() => world.close());
  return world;
}

async function last(world: World, count: number): Promise<ReadRecord> {
  return (await world.untilRecords(count)).at(-1) ?? {};
}

t.test(
  'a condition decides by what is true of the request, its certificate and its connection',
  async (t) => {
    const rules = [
      allow('by-header', '/header', `, when: 'request.headers["x-region"] == "eu"'`),
      allow('by-query', '/query', `, when: 'request.query["dry_run"] == "1"'`),
      allow(
        'by-life',
        '/fresh',
        `, when: 'credential.remaining > duration("1m") && credential.kind == "x509"'`,
      ),
      allow('by-tls', '/tls', `, when: 'connection.tlsVersion == "TLSv1.3" && !connection.resumed'`),
      allow('by-name', '/name', `, when: 'principal.segments[0] == "web" && request.host == "svc.test"'`),
    ].join('');
    const reads = 'reads: { headers: [x-region], query: [dry_run] }\n';
    const world = await start(t, { policy: policy(rules, reads) });
    const client = await world.client();
    const statusOf = async (bytes: string): Promise<number | undefined> =>
      (await client.ask(bytes))[0]?.status;
    t.equal(await statusOf(get('/header', 'X-Region: eu')), 200);
    t.equal(await statusOf(get('/header', 'X-Region: us')), 403);
    t.equal(await statusOf(get('/query?dry_run=1&secret=s3')), 200);
    t.equal(await statusOf(get('/query?dry_run=0')), 403);
    t.equal(await statusOf(get('/fresh')), 200);
    t.equal(await statusOf(get('/tls')), 200);
    t.equal(await statusOf(get('/name')), 200);
    const records = await world.untilRecords(7);
    t.same(
      records.map(({ decision }) => decision.rule),
      ['by-header', 'default', 'by-query', 'default', 'by-life', 'by-tls', 'by-name'],
    );
    t.same(records[0]?.request.headers, { 'x-region': 'eu' });
    t.same(records[4]?.request.headers, { 'x-region': null });
    t.same(records[2]?.request.query, { dry_run: '1' });
    t.notMatch(JSON.stringify(records), /s3/, 'no other parameter is recorded');
  },
);

t.test('a header that will not cross decides nothing', async (t) => {
  const rules = allow('by-header', '/**', `, when: 'request.headers["x-region"] == "eu"'`);
  const world = await start(t, { policy: policy(rules, 'reads: { headers: [x-region] }\n') });
  const reason = 'no_rule_matched';
  await isBlocked(t, world, get('/a', 'X-Region: eu', 'Connection: x-region'), { reason });
  const alias = await isBlocked(t, world, get('/a', 'X-Region: eu', 'X_Region: us'), { reason });
  t.match(alias.decision.conditionErrors, [{ rule: 'by-header', error: /another spelling/ }]);
  await isBlocked(t, world, get('/a', 'X-Region: us', 'X-Region: eu'), { reason });
});

t.test('a condition that cannot be evaluated lets nobody in, denies, is recorded and counted', async (t) => {
  const when = `, when: 'request.headers["x-region"] == "eu"'`;
  const deny = `  - { id: no-eu, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/guarded"]${when} }\n`;
  const rules = allow('eu', '/open', when) + allow('all', '/guarded') + deny;
  const world = await start(t, { policy: policy(rules, 'reads: { headers: [x-region] }\n') });
  const asAllow = await isBlocked(t, world, get('/open'), { reason: 'no_rule_matched' });
  t.match(asAllow.decision.conditionErrors, [{ rule: 'eu', error: /x-region.*absent/ }]);
  const asDeny = await isBlocked(t, world, get('/guarded'), { reason: 'policy_denied' });
  t.equal(asDeny.decision.rule, 'no-eu');
  t.match(asDeny.decision.conditionErrors, [{ rule: 'no-eu', error: /absent/ }]);
  await isBlocked(t, world, get('/guarded', 'x-region: us', 'x_region: eu'), { reason: 'policy_denied' });
  const client = await world.client();
  t.equal((await client.ask(get('/guarded', 'x-region: us')))[0]?.status, 200);
  t.match(await world.metrics(), /countersign_condition_errors_total\{listener="inbound"\} 3/);
});

t.test('a rule in shadow decides nothing, and records say what it would have decided', async (t) => {
  const shadow = `  - { id: tried, mode: shadow, effect: deny, principals: ["spiffe://a.test/web"], destinations: [u], paths: ["/b"] }\n`;
  const world = await start(t, { policy: policy(allow('all', '/**') + shadow) });
  const client = await world.client();
  t.equal((await client.ask(get('/a')))[0]?.status, 200);
  t.equal((await client.ask(get('/b')))[0]?.status, 200);
  const [open, tried] = await world.untilRecords(2);
  t.match(open?.decision, { effect: 'allow', rule: 'all', shadow: { effect: 'allow', rule: 'all' } });
  t.match(tried?.decision, {
    effect: 'allow',
    rule: 'all',
    shadow: { effect: 'deny', rule: 'tried', reason: 'policy_denied' },
  });
  t.match(
    await world.metrics(),
    /countersign_shadow_decisions_total\{listener="inbound",effect="allow",shadow="deny"\} 1/,
  );
});

t.test(
  'a whole policy is tried out beside the one in force, also where nothing of it would have matched',
  async (t) => {
    const world = await start(t, {
      policy: policy(allow('all', '/public/**')),
      files: { 'candidate.yaml': policy(allow('new', '/new/**')) },
      extra: 'shadowPolicy: candidate.yaml',
    });
    const client = await world.client();
    t.equal((await client.ask(get('/public/a')))[0]?.status, 200);
    const open = await last(world, 1);
    t.match(open.decision, {
      rule: 'all',
      shadow: { effect: 'deny', rule: 'default', reason: 'no_rule_matched' },
    });
    t.not(open.decision.shadow.policyRevision, open.decision.policyRevision);
    const refused = await isBlocked(t, world, get('/new/a'), { reason: 'no_rule_matched' });
    t.match(refused.decision.shadow, { effect: 'allow', rule: 'new', reason: 'rule_allowed' });

    world.replace('candidate.yaml', policy(allow('newer', '/public/**')));
    const next = await world.client();
    await world.untilSnapshot(({ sequence }) => sequence > 1);
    t.equal((await next.ask(get('/public/b')))[0]?.status, 200);
    t.match((await last(world, 3)).decision, { rule: 'all', shadow: { effect: 'allow', rule: 'newer' } });
  },
);
