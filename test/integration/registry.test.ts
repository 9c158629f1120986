import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { changeConfig, GET, shownAsGood, shownAsRefused } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const registry = (unregistered: string, ...identities: readonly string[]): string =>
  `version: 1\nunregistered: ${unregistered}\nidentities:${identities.length === 0 ? ' []' : ''}\n${identities
    .map((identity) => `  - { ${identity} }\n`)
    .join('')}`;

const A_WEB = 'id: "spiffe://a.test/web", owner: "team-wéb", environment: prod';
const A_ALL = 'id: "spiffe://a.test/**", owner: platform';

async function start(t: Test, content: string, options: WorldOptions = {}): Promise<World> {
  const world = await World.start({
    ...options,
    extra: `registry: registry.yaml\n${options.extra ?? ''}`,
    files: { 'registry.yaml': content },
  });
  t.teardown(() => world.close());
  return world;
}

const access = (world: World): ReadRecord[] => world.records.filter(({ event }) => event === 'access');
const untilRevision = async (world: World, before: string): Promise<string> =>
  (await world.untilSnapshot((snapshot) => snapshot.registry?.revision !== before)).registry?.revision;
const connectionsOf = async (world: World): Promise<ReadRecord[]> =>
  ((await (await fetch(`${world.adminUrl}/connections`)).json()) as ReadRecord).connections;
const revisionOf = async (world: World): Promise<string> => (await world.snapshot()).registry.revision;

t.test('every record says who owns the caller, and whether the registry knows it', async (t) => {
  const world = await start(t, registry('flag', A_WEB));
  const metric = /^countersign_unregistered_requests_total\{listener="inbound"\} (\d+)$/m;
  await (await world.client(world.web)).ask(GET);
  const stranger = await world.client(world.bweb);
  for (let i = 0; i < 3; i++) t.equal((await stranger.ask(GET))[0]?.status, 200, 'flag lets it in');
  await (await world.client(world.bweb)).ask(GET);
  const expired = await world.caA.issue('spiffe://a.test/web', {
    notBefore: new Date(Date.now() - 7.2e6),
    notAfter: new Date(Date.now() - 3.6e6),
  });
  const refused = await world.client(expired);
  await waitFor(async () => (await connectionsOf(world)).some((one) => one.refused === 'svid_expired'));
  refused.destroy();
  const records = await world.untilRecords(6);
  const ownersOf = records.map(({ event, principal }) => [
    event,
    principal.kind,
    principal.owner,
    principal.registered,
  ]);
  t.same(ownersOf, [
    ['access', 'workload', 'team-wéb', true],
    ...Array.from({ length: 4 }, () => ['access', 'workload', undefined, false]),
    ['handshake', 'none', 'team-wéb', true],
  ]);
  const flagged = world.records.filter(({ event }) => event === 'identity.unregistered');
  t.equal(flagged.length, 1, 'said once an identity');
  t.match(flagged[0], { source: 'inbound', principal: { id: world.bweb.uri, registered: false } });
  t.match(flagged[0]?.detail, records[1]?.id);
  t.equal(metric.exec(await world.metrics())?.[1], '4');
  t.match((await world.snapshot()).registry, {
    entries: 1,
    unregistered: 'flag',
    revision: /^[0-9a-f]{16}$/,
  });
});

t.test('without a registry nothing is said of owners, and `allow` flags nobody', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  await (await world.client()).ask(GET);
  const [record] = await world.untilRecords(1);
  const { principal = {} } = record ?? {};
  t.notOk('owner' in principal || 'registered' in principal);
  t.equal((await world.snapshot()).registry, undefined);

  const other = await start(t, registry('allow', A_ALL));
  t.equal((await (await other.client(other.bweb)).ask(GET))[0]?.status, 200);
  t.match(await other.untilRecords(1), [{ principal: { registered: false } }]);
  t.notOk(other.records.some(({ event }) => event === 'identity.unregistered'));
});

t.test(
  'whom no entry knows is refused where the registry says so, and the service sees no byte of it',
  async (t) => {
    const world = await start(t, registry('deny', A_ALL));
    const stranger = await world.client(world.bweb);
    const [answer] = await stranger.ask(GET);
    t.equal(answer?.status, 403);
    t.match(JSON.parse(answer?.body ?? ''), { reason: 'policy_denied', title: 'Forbidden' });
    t.notMatch(answer?.body, /regist/i, 'nothing of why');
    t.equal(world.upstream.bytes, '');
    const [record] = await world.untilRecords(1);
    t.match(record, {
      principal: { id: world.bweb.uri, kind: 'workload', registered: false },
      decision: { effect: 'deny', reason: 'identity_unregistered' },
      response: { status: 403, outcome: 'refused', reason: 'identity_unregistered' },
    });
    t.match(
      await world.metrics(),
      /countersign_refusals_total\{listener="inbound",reason="identity_unregistered"\} 1/,
    );
    t.equal((await (await world.client(world.web)).ask(GET))[0]?.status, 200);

    const before = await revisionOf(world);
    world.replace('registry.yaml', registry('deny', A_ALL, 'id: "spiffe://b.test/*", owner: b'));
    await untilRevision(world, before);
    t.equal((await stranger.ask(GET))[0]?.status, 200, 'the next request on the same connection');
  },
);

t.test('who is taken from the registry gets nothing more through, on no open connection', async (t) => {
  const world = await start(t, registry('deny', A_ALL, 'id: "spiffe://b.test/**", owner: b'));
  const leaving = await world.client(world.bweb);
  t.equal((await leaving.ask(GET))[0]?.status, 200);
  const { length } = world.upstream.bytes;
  world.replace('registry.yaml', registry('deny', A_ALL));
  await leaving.untilClosed();
  t.equal((await (await world.client(world.bweb)).ask(GET))[0]?.status, 403);
  t.equal(world.upstream.bytes.length, length);
  await waitFor(() => world.records.some(({ event }) => event === 'connection.terminated'));
});

t.test(
  'a changed registry counts for the next request of an open connection: record and header',
  async (t) => {
    const world = await start(t, registry('flag', A_WEB), {
      extra: 'forward: { headers: { X-Owner: "{owner}", X-Where: "{environment}/{owner}" } }',
    });
    const client = await world.client();
    const spoofed = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\nX-Owner: root\r\nx_where: root\r\n\r\n';
    const ask = async (): Promise<(string | undefined)[]> => {
      await client.ask(spoofed);
      const request = world.upstream.requests.at(-1);
      return [request?.header('x-owner'), request?.header('x-where'), request?.header('x_where')];
    };
    t.same(await ask(), ['team-w\\C3\\A9b', 'prod/team-w\\C3\\A9b', undefined]);
    let revision = await revisionOf(world);
    world.replace('registry.yaml', registry('flag', 'id: "spiffe://a.test/*", owner: next'));
    revision = await untilRevision(world, revision);
    t.same(
      await ask(),
      ['next', undefined, undefined],
      'half a value is not sent, nor the one of the client',
    );
    world.replace('registry.yaml', registry('flag'));
    revision = await untilRevision(world, revision);
    t.same(await ask(), [undefined, undefined, undefined]);
    changeConfig(world, (text) => text.replace('registry: registry.yaml\n', '').replace(/^forward:.*$/m, ''));
    await world.untilSnapshot((snapshot) => snapshot.registry === undefined);
    await ask();
    await world.untilRecords(4);
    t.same(
      access(world).map(({ principal }) => [principal.owner, principal.registered]),
      [
        ['team-wéb', true],
        ['next', true],
        [undefined, false],
        [undefined, undefined],
      ],
    );
    t.same(
      world.records
        .filter(({ event }) => event === 'policy.changed')
        .map(({ detail }) => detail.replace(/ [0-9a-f]{16}/, '')),
      [
        'registry: 1 entries, unregistered: flag',
        'registry: 0 entries, unregistered: flag',
        'no registry any more',
      ],
    );
  },
);

t.test(
  'a broken registry is refused and said, the last good one decides, and the next good one is taken',
  async (t) => {
    const world = await start(t, registry('deny', A_ALL));
    const revision = await revisionOf(world);
    world.replace('registry.yaml', registry('deny', A_ALL).replace('owner', 'ower'));
    await shownAsRefused(
      t,
      world,
      'config',
      'policy.refused',
      /registry\.yaml:4:\d+ identities\[0\]\.ower: unknown key/,
    );
    t.equal(await revisionOf(world), revision);
    const stranger = await world.client(world.bweb);
    t.equal((await stranger.ask(GET))[0]?.status, 403);
    t.equal((await (await world.client()).ask(GET))[0]?.status, 200);
    world.replace('registry.yaml', registry('flag', A_ALL));
    await untilRevision(world, revision);
    await shownAsGood(t, world, 'config');
    t.equal((await stranger.ask(GET))[0]?.status, 200);
  },
);

t.test('a registry that is gone keeps the last good one in force', async (t) => {
  const world = await start(t, registry('deny', A_ALL));
  const revision = await revisionOf(world);
  unlinkSync(join(world.dir, 'registry.yaml'));
  await shownAsRefused(t, world, 'config', 'policy.refused', /registry\.yaml: there is no such file/);
  t.equal(await revisionOf(world), revision);
  t.equal((await (await world.client(world.bweb)).ask(GET))[0]?.status, 403);
});

t.test('a registry that is half written opens at no moment', async (t) => {
  const many = Array.from(
    { length: 50 },
    (_, i) => `id: "spiffe://c.test/w${i}", owner: o, environment: prod`,
  );
  const whole = registry('deny', A_ALL, ...many);
  const world = await start(t, whole);
  const { sequence } = await world.snapshot();
  // Whole in form, and not what its author means: the rest follows within the time that a shrunken file gets.
  for (const part of [registry('flag', A_ALL, ...many), registry('deny', A_ALL)]) {
    world.write('registry.yaml', part);
    await new Promise((resolve) => setTimeout(resolve, 500)); // the writer's own pause
    world.write('registry.yaml', whole);
    t.equal((await (await world.client(world.bweb)).ask(GET))[0]?.status, 403);
  }
  await world.app.reload();
  t.equal((await world.snapshot()).sequence, sequence, 'nothing else was ever in force');
  world.write('registry.yaml', registry('deny', A_ALL));
  await world.untilSnapshot((snapshot) => snapshot.registry.entries === 1);
});

t.test('a registry that is too large to be read at once is read beside the requests', async (t) => {
  const world = await start(t, registry('deny', A_ALL));
  const revision = await revisionOf(world);
  const many = Array.from({ length: 2000 }, (_, i) => `id: "spiffe://a.test/ns/n${i}/*", owner: team-${i}`);
  world.replace('registry.yaml', registry('deny', A_ALL, ...many));
  await untilRevision(world, revision);
  t.equal((await world.snapshot()).registry.entries, 2001);
  const client = await world.client(await world.caA.issue('spiffe://a.test/ns/n1234/x'));
  await client.ask(GET);
  t.match((await world.untilRecords(1))[0]?.principal, { owner: 'team-1234', registered: true });
});
