import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import type { Svid } from '../support/pki.js';
import { GET, refusalsOf, sourceOf } from '../support/sources.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';

/** Class D: revocation lists and what the clock says. */

const HOUR_MS = 3_600_000;
const trustWith = (revocation: string): string => `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { file: b.pem }, revocation: { ${revocation} } }`;

/** A world whose b.test has a list; it is put in by a new configuration, for the authorities are made at the start. */
async function startWithList(
  t: Test,
  revocation: string,
  crl: (world: World) => Promise<{ pem: string }>,
  options: WorldOptions = {},
): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  world.write('b.crl', (await crl(world)).pem);
  world.replace('countersign.yaml', world.configText({ ...options, trust: trustWith(revocation) }));
  await waitFor(async () =>
    (await world.snapshot()).sources.some(({ name }: { name: string }) => name === 'crl:b.test:1'),
  );
  return world;
}

async function verdict(world: World, identity: Svid): Promise<string> {
  const [answer] = await (await world.client(identity)).ask(GET);
  return answer?.status === 200 ? 'served' : JSON.parse(answer?.body ?? '{}').reason;
}

t.test('P030 a serial on the list is refused, on open connections too, and others are not', async (t) => {
  const world = await startWithList(t, 'crls: [b.crl]', ({ caB }) => caB.crl());
  const other = await world.caB.issue('spiffe://b.test/web');
  const [open, kept] = [await world.client(world.bweb), await world.client(other)];
  t.equal((await open.ask(GET))[0]?.status, 200);
  t.equal((await kept.ask(GET))[0]?.status, 200);
  world.replace('b.crl', (await world.caB.crl({ revoked: [world.bweb.serial], number: 2 })).pem);
  await open.untilClosed();
  t.equal(await verdict(world, world.bweb), 'svid_revoked');
  t.equal((await kept.ask(GET))[0]?.status, 200);
  t.equal(await verdict(world, world.web), 'served');
  const ended = world.records.filter(({ event }) => event === 'connection.terminated');
  t.same(
    ended.map(({ reason, principal }) => [reason, principal.serial]),
    [['svid_revoked', world.bweb.serial]],
  );
  await holdInvariants(t, world);
});

t.test('P030 a list that is not the authority’s own is refused, and the one in force stays', async (t) => {
  const world = await startWithList(t, 'crls: [b.crl]', ({ caB, bweb }) =>
    caB.crl({ revoked: [bweb.serial] }),
  );
  t.equal(await verdict(world, world.bweb), 'svid_revoked');
  for (const [name, crl] of [
    ['of another domain', await world.caA.crl({ number: 9 })],
    ['forged', await world.caB.crl({ number: 9, signer: world.caC })],
    ['emptied', { pem: '' }],
    ['cut', { pem: (await world.caB.crl({ number: 9 })).pem.slice(0, 200) }],
  ] as const) {
    const before = refusalsOf(world, 'crl:b.test:1').length;
    world.replace('b.crl', crl.pem);
    await waitFor(
      () => refusalsOf(world, 'crl:b.test:1').length > before,
      4000,
      () => name,
    );
    t.equal(await verdict(world, world.bweb), 'svid_revoked', name);
  }
  t.equal(world.upstream.bytes, '');
  await holdInvariants(t, world);
});

t.test(
  'P031 a list that was not replaced in time shuts its domain and no other, and is said once',
  async (t) => {
    const clock = { skewMs: 0 };
    const nextUpdate = new Date(Date.now() + HOUR_MS / 2);
    const world = await startWithList(t, 'crls: [b.crl]', ({ caB }) => caB.crl({ nextUpdate }), {
      nowMs: () => Date.now() + clock.skewMs,
      extra: 'deadlines: { idle: 24h }',
    });
    const [bweb, web] = [await world.client(world.bweb), await world.client()];
    t.equal((await bweb.ask(GET))[0]?.status, 200);
    t.equal((await web.ask(GET))[0]?.status, 200);
    clock.skewMs = HOUR_MS / 2 + 1000;
    await bweb.untilClosed();
    t.equal(await verdict(world, world.bweb), 'revocation_unknown');
    t.equal((await web.ask(GET))[0]?.status, 200);
    const said = (): object[] => world.diagnostics.filter(({ message }) => /out of date/.test(message));
    await waitFor(() => said().length > 0, 4000);
    t.match((await sourceOf(world, 'crl:b.test:1')).stale, /should have been replaced/);
    t.match(await (await fetch(`${world.adminUrl}/readyz`)).text(), /crl:b\.test:1 is stale/);
    const seconds = Math.floor(nextUpdate.getTime() / 1000);
    t.match(
      await world.metrics(),
      new RegExp(`crl_next_update_timestamp_seconds\\{trust_domain="b.test",crl="1"\\} ${seconds}`),
    );
    await world.app.reload();
    t.equal(said().length, 1, 'one alarm');
    world.replace('b.crl', (await world.caB.crl({ number: 2 })).pem);
    await waitFor(async () => (await verdict(world, world.bweb)) === 'served', 4000);
    t.equal((await sourceOf(world, 'crl:b.test:1')).stale, undefined);
    clock.skewMs = 0;
    await holdInvariants(t, world);
  },
);

t.test(
  'P031 with `stale: use` its entries bind and nobody else is shut out; the grace is kept',
  async (t) => {
    for (const [setting, verdicts] of [
      ['stale: use', ['svid_revoked', 'served']],
      ['staleGrace: 10m', ['svid_revoked', 'served']],
      ['stale: deny', ['svid_revoked', 'revocation_unknown']],
    ] as const) {
      const world = await startWithList(t, `crls: [b.crl], ${setting}`, ({ caB, bweb }) =>
        caB.crl({
          revoked: [bweb.serial],
          thisUpdate: new Date(Date.now() - HOUR_MS),
          nextUpdate: new Date(Date.now() - 60_000),
        }),
      );
      const other = await world.caB.issue('spiffe://b.test/web');
      t.same([await verdict(world, world.bweb), await verdict(world, other)], verdicts, setting);
    }
  },
);

t.test('a list that is asked for and does not speak of the issuer lets nobody in', async (t) => {
  const world = await startWithList(t, 'crls: [b.crl], require: leaf', ({ caB }) => caB.crl());
  t.equal(await verdict(world, world.bweb), 'served');
  const inner = await world.caB.intermediate({ subject: 'CN=inner' });
  t.equal(await verdict(world, await inner.issue(world.bweb.uri)), 'revocation_unknown');
});

t.test('an intermediate on the list takes its leaves with it', async (t) => {
  const world = await startWithList(t, 'crls: [b.crl]', ({ caB }) => caB.crl());
  const inner = await world.caB.intermediate({ subject: 'CN=inner' });
  const svid = await inner.issue(world.bweb.uri);
  const open = await world.client(svid);
  t.equal((await open.ask(GET))[0]?.status, 200);
  world.replace('b.crl', (await world.caB.crl({ revoked: [inner.serial], number: 2 })).pem);
  await open.untilClosed();
  t.equal(await verdict(world, svid), 'svid_revoked');
  t.equal(await verdict(world, world.bweb), 'served');
});

t.test(
  'P032 a certificate of the near future is let in as far as clockSkew says, by default not at all',
  async (t) => {
    for (const [identity, expected] of [
      ['', ['svid_not_yet_valid', 'svid_not_yet_valid']],
      [', clockSkew: 30s', ['served', 'svid_not_yet_valid']],
    ] as const) {
      const world = await World.start();
      t.teardown(() => world.close());
      if (identity !== '') {
        const text = world.configText().replace('key: own-key.pem }', `key: own-key.pem }\n  clockSkew: 30s`);
        world.replace('countersign.yaml', text);
        await world.app.reload();
        t.equal((await sourceOf(world, 'config')).lastError, undefined);
      }
      const from = (ms: number): Promise<Svid> =>
        world.caA.issue(world.web.uri, {
          notBefore: new Date(Date.now() + ms),
          notAfter: new Date(Date.now() + HOUR_MS),
        });
      const [soon, later] = [await from(20_000), await from(600_000)];
      t.same([await verdict(world, soon), await verdict(world, later)], expected);
    }
  },
);

t.test('P032 what was not yet valid is valid when its time has come: no verdict is kept', async (t) => {
  const clock = { skewMs: 0 };
  const world = await World.start({ nowMs: () => Date.now() + clock.skewMs });
  t.teardown(() => world.close());
  const soon = await world.caA.issue(world.web.uri, {
    notBefore: new Date(Date.now() + 20_000),
    notAfter: new Date(Date.now() + HOUR_MS),
  });
  t.equal(await verdict(world, soon), 'svid_not_yet_valid');
  clock.skewMs = 22_000;
  t.equal(await verdict(world, soon), 'served');
  clock.skewMs = 0;
  t.equal(await verdict(world, soon), 'svid_not_yet_valid', 'nor is a yes');
});

t.test('P033 a clock that steps back gives no identity back to the connection that lost it', async (t) => {
  const clock = { skewMs: 0 };
  const world = await World.start({
    nowMs: () => Date.now() + clock.skewMs,
    extra: 'deadlines: { idle: 24h, connectionAge: 24h, accessEnd: 5s }',
  });
  t.teardown(() => world.close());
  const short = await world.caA.issue(world.web.uri, { ttlMs: 8000 });
  let release = (): void => undefined;
  world.upstream.respond = ({ socket, bytes }) => {
    if (bytes.includes('/public/slow'))
      release = () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  };
  const client = await world.client(short);
  client.send('GET /public/slow HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  await waitFor(
    () => world.upstream.requests.length === 1,
    4000,
    () => `a request; ${client.received}`,
  );
  clock.skewMs = 9000; // it ends while a request is in flight, which may finish
  const idle = await world.client(short);
  t.equal((await idle.ask(GET))[0]?.status, 403);
  let last = '';
  await waitFor(
    async () => {
      last = await (await fetch(`${world.adminUrl}/connections`)).text();
      const { connections } = JSON.parse(last) as { connections: { refused?: string; open: number }[] };
      return connections.some(({ refused, open }) => open === 1 && refused === 'svid_expired');
    },
    4000,
    () => `the end of access: ${last} ${JSON.stringify(world.records)}`,
  );
  clock.skewMs = -HOUR_MS;
  client.send(GET);
  release();
  await client.untilClosed();
  t.equal(client.answers.filter(({ status }) => status === 200).length, 1, 'the one in flight, and no other');
  t.equal(world.upstream.requests.length, 1);
  clock.skewMs = 0;
});
