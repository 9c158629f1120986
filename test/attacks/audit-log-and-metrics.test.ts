import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { holdInvariants, seriesOf } from '../support/invariants.js';
import { POLICY, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

// --- N: policy evaluation ---

t.test('P123 a policy without rules denies everything', async (t) => {
  const world = await start(t, { policy: 'version: 1\ndefault: deny\nrules: []\n' });
  for (const identity of [world.web, world.admin, world.bweb]) {
    const [answer] = await (await world.client(identity)).ask(GET);
    t.equal(answer?.status, 403);
  }
  t.equal(world.upstream.bytes, '');
  const records = await world.untilRecords(3);
  t.same([...new Set(records.map((record) => record.decision.reason))], ['no_rule_matched']);
});

t.test('P124 an ID matches as a whole, in its own trust domain', async (t) => {
  const world = await start(t);
  for (const id of [
    'spiffe://a.test/web2',
    'spiffe://a.test/web/x',
    'spiffe://a.test/we',
    'spiffe://a.test/upload',
  ]) {
    const client = await world.client(await world.caA.issue(id));
    const [answer] = await client.ask('POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 0\r\n\r\n');
    t.equal(answer?.status, 403, id);
  }
  const evil = await world.client(await world.caA.issue('spiffe://a.test.evil/web'));
  const [answer] = await evil.ask(GET);
  t.equal(JSON.parse(answer?.body ?? '{}').reason, 'trust_domain_unknown');
  t.equal(world.upstream.bytes, '');
  t.equal((await world.untilRecords(5)).filter((record) => record.decision.effect === 'allow').length, 0);
});

t.test('P121 a pattern with many stars decides in no time', async (t) => {
  const stars = '/**/a'.repeat(20);
  const world = await start(t, {
    policy: POLICY.replace(
      'rules:',
      `rules:\n  - { id: stars, effect: deny, principals: ["spiffe://a.test/**"], destinations: [r1], paths: ["/public${stars}/x"] }`,
    ),
  });
  const client = await world.client();
  const before = performance.now();
  const [answer] = await client.ask(`GET /public${'/a'.repeat(200)}/! HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
  t.equal(answer?.status, 200);
  t.ok(performance.now() - before < 250);
  await holdInvariants(t, world);
});

// --- O: audit log ---

t.test('P126 text that looks like a record, or breaks a line, stays inside its value', async (t) => {
  const world = await start(t);
  const paths = ['/admin/%0d%0a', '/admin/{"decision":"allow"}', '/admin/"', '/admin/\\', '/admin/%22%5c'];
  for (const path of paths) {
    const client = await world.client();
    await client.ask(
      `GET ${path} HTTP/1.1\r\nHost: svc.test\r\nUser-Agent: "\\{"decision":"allow"}\r\nConnection: close\r\n\r\n`,
    );
  }
  const odd = await world.client(world.web, { servername: 'a"\\{decision.test' });
  await odd.ask(GET);
  const records = await world.untilRecords(paths.length + 1);
  t.same(
    records.slice(0, paths.length).map((record) => record.request.path),
    paths,
  );
  t.equal(records.at(-1)?.tls.serverName, 'a"\\{decision.test');
  t.ok(records.slice(0, paths.length).every((record) => record.decision.effect === 'deny'));
  const lines = readFileSync(`${world.dir}/audit.ndjson`, 'utf8').trimEnd().split('\n');
  t.ok(lines.every((line) => Object.keys(JSON.parse(line) as object).includes('event')));
});

t.test('P129 secrets of a request are in no record and no diagnostic', async (t) => {
  const world = await start(t);
  const secret = 'hunter2-s3cret';
  const client = await world.client();
  for (const target of [
    `/public/a?token=${secret}`,
    `/admin/x?token=${secret}`,
    `/public/%zz?token=${secret}`,
  ]) {
    const one = await world.client();
    await one.ask(
      `GET ${target} HTTP/1.1\r\nHost: svc.test\r\nAuthorization: Bearer ${secret}\r\nCookie: a=${secret}\r\nX-Api-Key: ${secret}\r\nConnection: close\r\n\r\n`,
    );
  }
  await client.ask(
    `GET /public/a HTTP/1.1\r\nHost: svc.test\r\nAuthorization: ${secret}\r\nBad Name: ${secret}\r\n\r\n`,
  );
  await world.untilRecords(4);
  t.notMatch(readFileSync(`${world.dir}/audit.ndjson`, 'utf8'), new RegExp(`${secret}|PRIVATE KEY`));
  t.notMatch(JSON.stringify(world.diagnostics), new RegExp(`${secret}|PRIVATE KEY`));
});

t.test('P129 userinfo in a target that is refused is in no record', async (t) => {
  const world = await start(t);
  const secret = 'hunter2-s3cret';
  const targets = [
    ['GET', `http://user:${secret}@svc.test/public/a?x`, '/public/a'],
    ['GET', `http://user:${secret}@svc.test`, '/'],
    ['GET', `HTTPS://user:${secret}@svc.test/@scope/a`, '/@scope/a'],
    ['GET', `ftp://user:${secret}@svc.test/a`, '/a'],
    ['CONNECT', `user:${secret}@svc.test:443`, 'svc.test:443'],
    ['CONNECT', 'svc.test:443', 'svc.test:443'],
  ] as const;
  for (const [i, [method, target, path]] of targets.entries()) {
    const client = await world.client();
    client.send(`${method} ${target} HTTP/1.1\r\nHost: svc.test\r\nConnection: close\r\n\r\n`);
    const records = await world.untilRecords(i + 1);
    t.equal(records[i]?.decision.effect, 'deny');
    t.equal(records[i]?.request.path, path, target);
  }
  t.notMatch(readFileSync(`${world.dir}/audit.ndjson`, 'utf8'), new RegExp(secret));
  t.notMatch(JSON.stringify(world.diagnostics), new RegExp(secret));
});

/** The first flight of a real client. */
async function clientHello(): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connectTls({ port, host: '127.0.0.1', servername: 'svc.test' }).on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}

t.test(
  'a handshake that its client gives up leaves a record and is counted, a bare probe does not',
  async (t) => {
    const world = await start(t);
    const hello = await clientHello();
    const giveUp = async (bytes: Buffer, how: 'end' | 'resetAndDestroy'): Promise<void> => {
      const socket = connect(world.port, '127.0.0.1');
      socket.on('error', () => undefined).resume();
      await once(socket, 'connect');
      const closed = new Promise((resolve) => socket.once('close', resolve));
      if (bytes.length === 0) socket[how]();
      else socket.write(bytes, () => socket[how]());
      await closed;
    };
    for (let i = 0; i < 5; i++) {
      for (const how of ['end', 'resetAndDestroy'] as const) {
        await giveUp(Buffer.alloc(0), how);
        await giveUp(hello, how);
        await giveUp(hello.subarray(0, 50), how);
      }
    }
    const records = await world.untilRecords(20);
    t.same([...new Set(records.map(({ event }) => event))], ['handshake']);
    t.same([...new Set(records.map(({ decision }) => decision.reason))], ['tls_handshake_failed']);
    t.same([...new Set(records.map(({ peer }) => peer.address))], ['127.0.0.1']);
    await (await world.client()).ask(GET); // later than every probe
    t.equal((await world.untilRecords(21)).length, 21);
    const metrics = await world.metrics();
    t.match(
      metrics,
      /handshakes_total\{listener="inbound",result="refused",reason="tls_handshake_failed"\} 20/,
    );
    t.match(metrics, /refusals_total\{listener="inbound",reason="tls_handshake_failed"\} 20/);
  },
);

t.test('an untrusted client that closes as soon as it is connected leaves its record', async (t) => {
  const world = await start(t);
  const stranger = await world.caC.issue('spiffe://c.test/web');
  const leave = async (
    maxVersion: 'TLSv1.2' | 'TLSv1.3',
    how: 'end' | 'destroy' | 'reset',
  ): Promise<void> => {
    const socket = connect(world.port, '127.0.0.1');
    const { chainPem: cert, keyPem: key } = stranger;
    const client = connectTls({ socket, cert, key, maxVersion, rejectUnauthorized: false });
    client.on('error', () => undefined).resume();
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    client.once('secureConnect', () => {
      // When its last flight, the certificate in it, is out.
      setImmediate(() => (how === 'reset' ? socket.resetAndDestroy() : client[how]()));
    });
    await closed;
  };
  let left = 0;
  for (let i = 0; i < 5; i++) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      for (const how of ['end', 'destroy', 'reset'] as const) {
        await leave(version, how);
        left++;
        const record = (await world.untilRecords(left)).at(-1);
        t.equal(record?.event, 'handshake', `${version} ${how}`);
        t.equal(record?.decision.reason, 'trust_domain_unknown', `${version} ${how}`);
        t.equal(record?.peer.address, '127.0.0.1');
      }
    }
  }
  await waitFor(async () =>
    /refusals_total\{listener="inbound",reason="trust_domain_unknown"\} 30/.test(await world.metrics()),
  );
  await holdInvariants(t, world);
});

t.test('P156 giant values are cut, flagged, and never the identity', async (t) => {
  const world = await start(t);
  const id = `spiffe://a.test/${'i'.repeat(2000)}`;
  const client = await world.client(await world.caA.issue(id), {
    servername: `${'s'.repeat(60)}.${'t'.repeat(60)}.test`,
  });
  await client.ask(
    `GET /admin/${'p'.repeat(15_000)} HTTP/1.1\r\nHost: svc.test\r\n${'A: b\r\n'.repeat(300)}\r\n`,
  );
  const [record] = await world.untilRecords(1);
  t.equal(record?.principal.id, id);
  t.equal(record?.request.truncated, true);
  t.ok(record?.request.path.length <= 4096);
  t.ok(JSON.stringify(record).length < 16_384);
  t.equal(record?.decision.effect, 'deny');
});

// --- P: metrics ---

t.test(
  'P131 P132 P133 paths, identities, methods and hosts that a client invents add no series',
  async (t) => {
    const world = await start(t);
    const ask = async (bytes: string, identity = world.web): Promise<void> => {
      const client = await world.client(identity);
      await client.ask(bytes.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
      client.destroy();
    };
    const round = async (n: number): Promise<void> => {
      await ask(`GET /public/p${n} HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
      await ask(`GET /nowhere/p${n} HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
      await ask(`GET / HTTP/1.1\r\nHost: h${n}.test\r\n\r\n`);
      await ask(`INVENT${n} /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
      await ask(`REPORT /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
      await ask(GET, await world.caA.issue(`spiffe://a.test/n${n}`));
      await ask(GET, await world.caC.issue(`spiffe://d${n}.test/x`));
    };
    await round(0);
    await world.untilRecords(7);
    const before = await seriesOf(world);
    for (let n = 1; n <= 25; n++) await round(n);
    await world.untilRecords(7 * 26);
    await holdInvariants(t, world, { seriesBefore: before });
  },
);

t.test('P134 the admin listener is loopback by default and cannot be asked through a listener', async (t) => {
  const world = await start(t);
  t.match(world.app.addresses.get('admin'), /^127\.0\.0\.1:/);
  for (const path of ['/metrics', '/snapshot', '/drain']) {
    const [answer] = await (await world.client(world.admin)).ask(
      `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`,
    );
    t.equal(answer?.status, 404);
  }
  await holdInvariants(t, world);
});

t.test('P157 a scrape is answered quickly while slow clients and invented paths keep coming', async (t) => {
  const world = await start(t, { extra: 'deadlines: { head: 1s }' });
  const slow = await Promise.all(Array.from({ length: 60 }, () => world.client()));
  for (const client of slow) client.send('GET /public/a HT');
  const busy = await world.client();
  let stop = false;
  const load = (async () => {
    for (let n = 0; !stop && !busy.closed; n++) {
      busy.received = '';
      await busy.ask(`GET /public/x${n} HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
    }
  })();
  let worst = 0;
  for (let i = 0; i < 10; i++) {
    const before = performance.now();
    t.match(await world.metrics(), /countersign_requests_total/);
    worst = Math.max(worst, performance.now() - before);
  }
  stop = true;
  await load;
  t.ok(worst < 500, `${worst} ms`);
  await Promise.all(slow.map((client) => client.untilClosed()));
  await holdInvariants(t, world);
});
