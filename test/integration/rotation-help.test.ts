import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { runCheck } from '../../src/cli/check.js';
import { type Authority, mintRoot } from '../support/pki.js';
import { changeConfig, GET, untilAuthorities } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const DAY_MS = 86_400_000;

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

const eventsOf = (world: World, event: string): ReadRecord[] =>
  world.records.filter((record) => record.event === event);

async function authorityOf(world: World, { sha256 }: Authority, domain = 'a.test'): Promise<ReadRecord> {
  const { trust } = await world.snapshot();
  const entry = (trust as ReadRecord[]).find(({ trustDomain }) => trustDomain === domain);
  const authority = ((entry?.authorities ?? []) as ReadRecord[]).find((one) => one.sha256 === sha256);
  if (authority === undefined) throw new Error(`${sha256} is not in the bundle of ${domain}`);
  return authority;
}

async function call(world: World, identity = world.web): Promise<number | undefined> {
  return (await (await world.client(identity)).ask(GET))[0]?.status;
}

/** Both roots in force, and the sidecar on the new one. */
async function rotateTo(world: World): Promise<Authority> {
  const next = await mintRoot('a.test', { subject: 'CN=next root' });
  world.replace('a.pem', world.caA.certPem + next.certPem);
  await untilAuthorities(world, 'a.test', [world.caA, next]);
  return next;
}

interface Checked {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly json: ReadRecord;
}

async function check(world: World, ...args: string[]): Promise<Checked> {
  let [out, err] = ['', ''];
  const io = {
    stdout: (text: string) => {
      out += text;
    },
    stderr: (text: string) => {
      err += text;
    },
    env: {},
    cwd: world.dir,
  };
  const code = await runCheck(['-c', 'countersign.yaml', ...args], io);
  return { code, out, err, json: out.startsWith('{') ? JSON.parse(out) : {} };
}

t.test(
  '/snapshot says in the middle of a rotation who depends on the old authority and who has moved',
  async (t) => {
    const world = await start(t);
    const old = await world.client();
    t.equal((await old.ask(GET))[0]?.status, 200);
    t.equal(await call(world, world.admin), 200);
    const next = await rotateTo(world);
    const moved = await next.issue('spiffe://a.test/web', { notBefore: new Date(Date.now() - 1000) });
    t.match(await authorityOf(world, world.caA), { dependents: { identities: 2 }, moved: 0 });
    t.match(await authorityOf(world, next), {
      connections: 0,
      dependents: { identities: 0, shown: [] },
      moved: 0,
    });
    t.equal(await call(world, moved), 200);
    const [before, after] = [await authorityOf(world, world.caA), await authorityOf(world, next)];
    t.match(before, { moved: 1, dependents: { identities: 1, shown: [{ id: world.admin.uri }] } });
    t.ok(before.connections >= 1, 'an old connection of the identity that moved is still open');
    t.ok(Date.parse(before.lastSeen) > 0 && before.subject !== after.subject);
    t.match(after, {
      connections: 1,
      moved: 0,
      dependents: { shown: [{ id: 'spiffe://a.test/web', connections: 1 }] },
    });
  },
);

t.test('identities that have gone are remembered, refused ones do not count', async (t) => {
  const world = await start(t);
  const gone = await world.client();
  t.equal((await gone.ask(GET))[0]?.status, 200);
  gone.destroy();
  await waitFor(async () => (await authorityOf(world, world.caA)).connections === 0);
  t.match(await authorityOf(world, world.caA), {
    dependents: { identities: 1, shown: [{ connections: 0 }] },
  });
  world.replace('revoked.yaml', `version: 1\nrevoked: [{ id: "${world.web.uri}", reason: r }]\n`);
  await world.untilSnapshot(({ revocations }) => revocations === 1);
  t.equal(await call(world), 403);
  t.match(await authorityOf(world, world.caA), { dependents: { identities: 0 } });
});

t.test('a bundle that shrinks is loud: who left, and how many connections that was', async (t) => {
  const world = await start(t);
  const clients = [await world.client(world.bweb), await world.client(world.bweb)];
  for (const client of clients) t.equal((await client.ask(GET))[0]?.status, 200);
  world.replace('b.pem', world.caC.certPem);
  await Promise.all(clients.map((client) => client.untilClosed()));
  await waitFor(() => eventsOf(world, 'revocation.enforced').length > 0);
  const [shrunk] = eventsOf(world, 'trust.shrunk');
  t.match(shrunk, {
    source: 'bundle:b.test',
    connections: 2,
    detail: new RegExp(`b\\.test lost ${world.caB.sha256.slice(0, 16)}`),
  });
  t.match(shrunk?.detail, /1 identities depend on it/);
  const warning = world.diagnostics.find(({ message }) => message === 'a trust bundle has shrunk');
  t.match(warning, { level: 'warn', detail: { trustDomain: 'b.test', before: 1, now: 1, connections: 2 } });
  t.match(eventsOf(world, 'trust.changed')[0], { detail: 'b.test +1 -1 authorities' });
  t.match(eventsOf(world, 'revocation.enforced')[0], { source: 'bundle:b.test', connections: 2 });
  t.match(eventsOf(world, 'authority.in_use')[0]?.detail, new RegExp(world.caC.sha256.slice(0, 16)));
});

t.test(
  'check --against names who would be locked out, from records and from a running sidecar',
  async (t) => {
    const world = await start(t);
    t.equal(await call(world), 200);
    t.equal(await call(world, world.admin), 200);
    const next = await rotateTo(world);
    const [web, admin] = [await next.issue(world.web.uri), await next.issue(world.admin.uri)];
    writeFileSync(join(world.dir, 'next.pem'), next.certPem);
    const ours = ['--against', 'next.pem', '--trust-domain', 'a.test'];
    for (const from of [
      ['--audit', 'audit.ndjson'],
      ['--snapshot', world.adminUrl],
    ]) {
      await world.untilRecords(2);
      const { code, json } = await check(world, ...ours, ...from, '--json');
      t.equal(code, 1);
      t.match(json, {
        ok: false,
        leaving: [{ sha256: world.caA.sha256 }],
        staying: [{ sha256: next.sha256 }],
        seen: 2,
      });
      t.same(json.lockedOut.map(({ id }: ReadRecord) => id).sort(), [world.admin.uri, world.web.uri]);
      t.match(json.own, /spiffe:\/\/a\.test\/proxy: chain_untrusted/);
    }
    t.equal(await call(world, web), 200);
    world.own = await next.issue(world.own.uri, { otherSans: ['DNS:svc.test'] });
    world.replace('own.pem', world.own.chainPem);
    world.replace('own-key.pem', world.own.keyPem);
    await world.untilSnapshot(({ own }) => own.serial === world.own.serial);
    await world.untilRecords(3);
    const one = await check(world, ...ours, '--audit', 'audit.ndjson');
    t.equal(one.code, 1);
    t.match(one.out, /^2 identities seen, 1 of them would be locked out$/m);
    t.match(
      one.out,
      new RegExp(
        `^ {2}${world.admin.uri} {2}last seen .*, 1 times, by ${world.caA.sha256.slice(0, 16)}`,
        'm',
      ),
    );
    t.notMatch(one.out, `${world.web.uri} `);
    t.notMatch(one.out, 'our own SVID');
    t.equal(await call(world, admin), 200);
    await world.untilRecords(4);
    for (const from of [
      ['--audit', 'audit.ndjson'],
      ['--snapshot', world.adminUrl],
      ['--audit', 'audit.ndjson', '--snapshot', world.adminUrl],
    ]) {
      const { code, out } = await check(world, ...ours, ...from);
      t.equal(code, 0, `${from} ${out}`);
      t.match(out, /^2 identities seen, 0 of them would be locked out$/m);
    }
  },
);

t.test('check --against does not take ignorance for an answer', async (t) => {
  const world = await start(t);
  t.equal(await call(world), 200);
  await world.untilRecords(1);
  world.write('empty.ndjson', '');
  world.write('torn.ndjson', '{"principal":{"kind":"workload"\n');
  world.write('old.json', '{"trust":[{"trustDomain":"a.test","authorities":[{"sha256":"00"}]}]}');
  const ours = ['--against', 'a.pem', '--trust-domain', 'a.test'];
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [[...ours, '--audit', 'audit.ndjson'], 0, /1 identities seen, 0 of them/],
    [ours, 64, /say where to look/],
    [['--against', 'a.pem', '--audit', 'audit.ndjson'], 64, /--trust-domain with one of a\.test, b\.test/],
    [['--against', 'a.pem', '--trust-domain', 'c.test', '--audit', 'x'], 64, /no trust domain c\.test/],
    [['--audit', 'audit.ndjson'], 64, /say which bundle/],
    [[...ours, '--audit', 'empty.ndjson'], 1, /nobody of a\.test was seen there, which says nothing/],
    [
      [...ours, '--audit', 'audit.ndjson', '--since', '2999-01-01T00:00:00Z'],
      1,
      /nobody of a\.test was seen/,
    ],
    [[...ours, '--audit', 'audit.ndjson', '--since', 'yesterday'], 64, /--since: "yesterday" is not a time/],
    [[...ours, '--audit', 'missing.ndjson'], 78, /missing\.ndjson: cannot be read \(ENOENT\)/],
    [[...ours, '--audit', 'torn.ndjson'], 78, /torn\.ndjson:1 is not a record/],
    [[...ours, '--snapshot', 'old.json'], 78, /does not say who depends/],
    [[...ours, '--snapshot', 'torn.ndjson'], 78, /is no snapshot/],
    [[...ours, '--snapshot', 'http://127.0.0.1:1'], 78, /no answer/],
    [
      ['--against', 'policy.yaml', '--trust-domain', 'a.test', '--audit', 'audit.ndjson'],
      78,
      /policy\.yaml: /,
    ],
    [
      ['--against', 'own.pem', '--trust-domain', 'a.test', '--audit', 'audit.ndjson'],
      78,
      /own\.pem: .*not a CA/,
    ],
  ];
  for (const [args, code, said] of cases) {
    const checked = await check(world, ...args);
    t.equal(checked.code, code, args.join(' '));
    t.match(checked.out + checked.err, said, args.join(' '));
  }
});

t.test('whom we refused for its credential is not counted as locked out', async (t) => {
  const world = await start(t, {
    revoked: 'version: 1\nrevoked: [{ id: "spiffe://a.test/web", reason: r }]\n',
  });
  t.equal(await call(world), 403);
  await world.untilRecords(1);
  const { code, out } = await check(
    world,
    '--against',
    'a.pem',
    '--trust-domain',
    'a.test',
    '--audit',
    'audit.ndjson',
  );
  t.equal(code, 1);
  t.match(out, /nobody of a\.test was seen there/);
});

for (const [name, revoke] of [
  [
    'by the operator',
    (w: World) => w.replace('revoked.yaml', `version: 1\nrevoked: [{ id: "${w.own.uri}", reason: r }]\n`),
  ],
  [
    'on a CRL',
    async (w: World) => {
      w.write('a.crl', (await w.caA.crl({ revoked: [{ serial: w.own.serial }] })).pem);
      changeConfig(w, (text) => text.replace('bundle: { file: a.pem }', '$&, revocation: { crls: [a.crl] }'));
    },
  ],
] as const) {
  t.test(
    `an own SVID that is revoked ${name} is an alarm: not ready, recorded, measured, served on`,
    async (t) => {
      const world = await start(t);
      const client = await world.client();
      t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200);
      t.match(await world.metrics(), /^countersign_svid_revoked 0$/m);
      await revoke(world);
      await waitFor(() => eventsOf(world, 'svid.revoked').length > 0);
      t.match(eventsOf(world, 'svid.revoked')[0]?.detail, new RegExp(`^${world.own.serial}: svid_revoked`));
      const ready = await fetch(`${world.adminUrl}/readyz`);
      t.equal(ready.status, 503);
      t.equal(await ready.text(), 'not ready: the own SVID is revoked\n');
      t.match((await world.snapshot()).own.problem, /^svid_revoked/);
      t.match(await world.metrics(), /^countersign_svid_revoked 1$/m);
      t.ok(
        world.diagnostics.some(({ level, message }) => level === 'error' && /peers refuse it/.test(message)),
      );
      t.equal((await client.ask(GET))[0]?.status, 200);
      await world.rotateOwn();
      if (name === 'by the operator') {
        await waitFor(() => eventsOf(world, 'svid.revoked').length === 2);
        t.match(
          eventsOf(world, 'svid.revoked')[1]?.detail,
          new RegExp(`^${world.own.serial}`),
          'anew for a new SVID',
        );
      } else {
        t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200);
        t.match(await world.metrics(), /^countersign_svid_revoked 0$/m);
        t.equal(eventsOf(world, 'svid.revoked').length, 1);
      }
    },
  );
}

t.test(
  'an own SVID that is not rotated in the last quarter of its life is said once, its successor anew',
  async (t) => {
    let skewMs = 0;
    const world = await start(t, { nowMs: () => Date.now() + skewMs });
    const { notAfter } = (await world.snapshot()).own;
    t.same(eventsOf(world, 'svid.expiring'), []);
    skewMs = (Date.parse(notAfter) - Date.now()) * 0.8;
    await waitFor(() => eventsOf(world, 'svid.expiring').length > 0);
    t.match(eventsOf(world, 'svid.expiring')[0]?.detail, `${world.own.serial} ends at ${notAfter}`);
    t.ok(
      world.diagnostics.some(({ level, message }) => level === 'warn' && /less than a quarter/.test(message)),
    );
    await world.app.reload();
    t.equal(eventsOf(world, 'svid.expiring').length, 1);
  },
);

t.test(
  'a credential that lives longer than flagSvidLifetime is let in, recorded once and shown',
  async (t) => {
    const world = await start(t);
    const long = await world.caA.issue('spiffe://a.test/web', { ttlMs: 2 * DAY_MS });
    changeConfig(world, (text) => text.replace('identity:', 'identity:\n  flagSvidLifetime: 24h'));
    await world.untilSnapshot(({ sequence }) => sequence > 1);
    t.equal(await call(world, world.admin), 200);
    for (let i = 0; i < 3; i++) t.equal(await call(world, long), 200);
    await waitFor(() => eventsOf(world, 'credential.long_lived').length > 0);
    const records = eventsOf(world, 'credential.long_lived');
    t.equal(records.length, 1);
    t.match(records[0], {
      source: 'inbound',
      principal: { id: long.uri, serial: long.serial },
      detail: /^lives 17\d{4} seconds/,
    });
    t.match((await world.snapshot()).longLived, { total: 1, shown: [{ id: long.uri, serial: long.serial }] });
  },
);
