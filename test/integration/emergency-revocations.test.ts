import { createHash, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startApp } from '../../src/app/app.js';
import { parseRevocations } from '../../src/config/revocations.js';
import type { Svid } from '../support/pki.js';
import { GET } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const FILE = 'emergency.yaml';
const EXTRA = `emergencyRevocations: ${FILE}`;
const BY = { reason: 'key leaked', author: 'alice' };

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start({ extra: EXTRA, ...options });
  t.teardown(() => world.close());
  return world;
}

interface Answer {
  readonly status: number;
  readonly type: string | null;
  readonly body: ReadRecord;
}

async function order(
  world: World,
  method: string,
  body: unknown,
  path = '/revocations',
  headers: Record<string, string> = { 'content-type': 'application/json' },
): Promise<Answer> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${world.adminUrl}${path}`, { method, body: text, headers });
  const answer = await response.text();
  const type = response.headers.get('content-type');
  return { status: response.status, type, body: type?.includes('json') ? JSON.parse(answer) : { answer } };
}

const listed = async (world: World): Promise<ReadRecord[]> =>
  ((await (await fetch(`${world.adminUrl}/revocations`)).json()) as ReadRecord).revocations;

const kept = (world: World, file = FILE) => {
  const path = join(world.dir, file);
  const { list, problems } = parseRevocations(readFileSync(path), path);
  if (list === undefined) throw new Error(JSON.stringify(problems));
  return list.entries;
};

const keySha256Of = ({ certDer }: Svid): string => {
  const key = new X509Certificate(certDer).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(key).digest('hex');
};

const eventsOf = (world: World, event: string): ReadRecord[] =>
  world.records.filter((record) => record.event === event);

async function reasonOf(world: World, identity = world.web): Promise<string> {
  const [answer] = await (await world.client(identity)).ask(GET);
  return answer?.status === 200 ? 'allowed' : JSON.parse(answer?.body ?? '{}').reason;
}

/** Stops the sidecar and starts it again on what is in its folder. */
async function restart(world: World): Promise<void> {
  await world.app.close();
  await world.run();
}

t.test(
  'POST /revocations ends open connections, is kept before it is answered, and outlives a restart',
  async (t) => {
    const world = await start(t);
    const [web, other, admin] = [await world.client(), await world.client(), await world.client(world.admin)];
    for (const client of [web, other, admin]) t.equal((await client.ask(GET))[0]?.status, 200);
    const before = (await world.snapshot()).trustRevision;
    const answer = await order(world, 'POST', { id: world.web.uri, ...BY });
    t.equal(answer.status, 200);
    t.match(answer.body, { added: 1, connections: 2, keptIn: join(world.dir, FILE) });
    t.not(answer.body.trustRevision, before);
    t.match(answer.body.revocations, [
      { id: world.web.uri, ...BY, source: 'emergency-revocations', state: 'in_force' },
    ]);
    t.notMatch(answer.body.revocations[0], { kept: false });
    t.same(kept(world), [{ id: world.web.uri, ...BY }]);
    t.equal(statSync(join(world.dir, FILE)).mode & 0o777, 0o600);
    await Promise.all([web.untilClosed(), other.untilClosed()]);
    t.equal((await admin.ask(GET))[0]?.status, 200);
    t.equal(await reasonOf(world), 'svid_revoked');
    await restart(world);
    t.equal(await reasonOf(world), 'svid_revoked');
    t.equal(await reasonOf(world, world.admin), 'allowed');
    t.match(await listed(world), [{ id: world.web.uri, ...BY, source: 'emergency-revocations' }]);
  },
);

t.test('what POST /revocations ends is measured and recorded, also when it ends nothing', async (t) => {
  const world = await start(t);
  const clients = [await world.client(), await world.client(), await world.client()];
  for (const client of clients) await client.ask(GET);
  await order(world, 'POST', { id: world.web.uri, ...BY });
  await waitFor(() => eventsOf(world, 'revocation.enforced').length === 1);
  const [enforced] = eventsOf(world, 'revocation.enforced');
  t.match(enforced, { source: 'emergency-revocations', connections: 3, detail: 'svid_revoked' });
  t.ok(enforced?.latencyMs >= 0 && enforced?.latencyMs < 5000);
  const ends = eventsOf(world, 'connection.terminated');
  t.equal(ends.length, 3);
  for (const end of ends) t.ok(end.seq < enforced?.seq && end.latencyMs <= enforced?.latencyMs);
  const [changed] = eventsOf(world, 'revocation.changed');
  t.match(changed, {
    source: 'emergency-revocations',
    detail: `added id ${world.web.uri} (key leaked) by alice`,
  });
  t.equal(changed?.trustRevision, enforced?.trustRevision);
  t.match(await world.metrics(), /countersign_revocation_seconds_count 1\n/);
  await order(world, 'POST', { id: 'spiffe://a.test/nobody', ...BY });
  await waitFor(() => eventsOf(world, 'revocation.enforced').length === 2);
  t.match(eventsOf(world, 'revocation.enforced')[1], { connections: 0 });
  t.match(await world.metrics(), /countersign_revocation_seconds_count 2\n/);
});

for (const [name, entryOf] of [
  ['an ID prefix', () => ({ idPrefix: 'spiffe://a.test/web' })],
  ['a fingerprint', (w: World) => ({ sha256: w.web.sha256.toUpperCase() })],
  ['a key', (w: World) => ({ keySha256: keySha256Of(w.web) })],
  ['a serial', (w: World) => ({ serial: w.web.serial, issuer: w.caA.subject })],
] as const) {
  t.test(`POST /revocations takes ${name}, in a list too`, async (t) => {
    const world = await start(t);
    const [web, admin] = [await world.client(), await world.client(world.admin)];
    for (const client of [web, admin]) t.equal((await client.ask(GET))[0]?.status, 200);
    const entries = [
      { ...entryOf(world), ...BY },
      { id: 'spiffe://a.test/nobody', ...BY },
    ];
    t.match((await order(world, 'POST', entries)).body, { added: 2, connections: 1 });
    await web.untilClosed();
    t.equal(await reasonOf(world), 'svid_revoked');
    t.equal((await admin.ask(GET))[0]?.status, 200);
    t.equal(kept(world).length, 2);
  });
}

t.test(
  'a broken policy, a broken revoked.yaml and a broken bundle do not hold up an emergency',
  async (t) => {
    const world = await start(t);
    const client = await world.client();
    t.equal((await client.ask(GET))[0]?.status, 200);
    for (const file of ['policy.yaml', 'revoked.yaml', 'a.pem']) world.replace(file, 'broken: [');
    await waitFor(
      () => world.diagnostics.filter(({ message }) => message.startsWith('refused')).length === 3,
    );
    t.match(await order(world, 'POST', { id: world.web.uri, ...BY }), {
      status: 200,
      body: { connections: 1 },
    });
    await client.untilClosed();
  },
);

t.test(
  'what cannot be kept is enforced all the same, said to be forgotten by a restart, and kept when it can be',
  async (t) => {
    const world = await World.start({ extra: 'emergencyRevocations: kept/list.yaml', files: {} }).catch(
      () => undefined,
    );
    t.equal(world, undefined, 'a folder that is not there is found at the start');
    const good = new World();
    t.teardown(() => good.close());
    await good.prepare();
    good.writeConfig({ extra: 'emergencyRevocations: kept/list.yaml' });
    mkdirSync(join(good.dir, 'kept'));
    await good.run();
    rmSync(join(good.dir, 'kept'), { recursive: true });
    const client = await good.client();
    t.equal((await client.ask(GET))[0]?.status, 200);
    const answer = await order(good, 'POST', { id: good.web.uri, ...BY });
    t.equal(answer.status, 500);
    t.equal(answer.type, 'application/problem+json');
    t.match(answer.body.detail, /^IN FORCE, BUT NOT KEPT: a restart would forget it/);
    t.match(answer.body.revocations, [{ id: good.web.uri, kept: false, state: 'in_force' }]);
    await client.untilClosed();
    t.equal(await reasonOf(good), 'svid_revoked');
    t.ok(good.diagnostics.some(({ level, message }) => level === 'error' && /not kept/.test(message)));
    t.equal(
      (await order(good, 'POST', { id: good.web.uri, ...BY })).status,
      500,
      'saying it again does not keep it',
    );
    mkdirSync(join(good.dir, 'kept'));
    const again = await order(good, 'POST', { id: good.web.uri, ...BY });
    t.match(again, { status: 200, body: { added: 0 } });
    t.equal(kept(good, 'kept/list.yaml').length, 1);
  },
);

t.test('a file that is gone or broken takes back nothing', async (t) => {
  const world = await start(t);
  await order(world, 'POST', { id: world.web.uri, ...BY });
  const sourceFailed = (): boolean =>
    world.diagnostics.some(
      ({ detail }) => (detail as ReadRecord).source === 'emergency-revocations' && 'problem' in detail,
    );
  rmSync(join(world.dir, FILE));
  await waitFor(sourceFailed);
  t.equal(await reasonOf(world), 'svid_revoked');
  await order(world, 'POST', { id: 'spiffe://a.test/second', ...BY });
  t.equal(kept(world).length, 2, 'it is made again from what is in force');
  world.replace(FILE, 'version: 1\nrevoked:\n  - { id: "spiffe://a.test/x" }\n');
  const answer = await order(world, 'POST', { id: world.admin.uri, ...BY });
  t.equal(answer.status, 500, 'what somebody else wrote there is not written over');
  t.match(answer.body.detail, /emergency\.yaml:3:\d+ revoked\[0\]\.reason: is required/);
  t.equal(await reasonOf(world, world.admin), 'svid_revoked');
  t.equal(await reasonOf(world), 'svid_revoked');
});

t.test('an emergency file that is broken at the start is exit 78, as revoked.yaml is', async (t) => {
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig({ extra: EXTRA });
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const attempt = () =>
    startApp({ configFile: join(world.dir, 'countersign.yaml'), env: {}, diagnostics: silent });
  for (const [content, problem] of [
    ['', /emergency/],
    ['version: 1\nrevoked:\n  - { id: nobody, reason: r }\n', /emergency\.yaml:3:\d+ revoked\[0\]\.id/],
  ] as const) {
    world.write(FILE, content);
    await t.rejects(attempt(), problem);
  }
  rmSync(join(world.dir, FILE));
  mkdirSync(join(world.dir, FILE));
  await t.rejects(attempt(), /cannot be read/, 'a folder in its place is not an empty list');
});

t.test('the same again changes nothing', async (t) => {
  const world = await start(t);
  const entry = { id: world.web.uri, until: '2999-01-01T00:00:00Z', ...BY };
  const first = await order(world, 'POST', entry);
  const again = await order(world, 'POST', [entry, entry]);
  t.match([first.status, again.status, again.body.added], [200, 200, 0]);
  t.equal(again.body.trustRevision, first.body.trustRevision);
  t.equal(kept(world).length, 1);
});

t.test(
  'an entry for later ends the connection when its time has come, and is over when it is over',
  async (t) => {
    let skewMs = 0;
    const world = await start(t, { nowMs: () => Date.now() + skewMs });
    const client = await world.client();
    const at = (ms: number): string => new Date(Date.now() + ms).toISOString();
    const answer = await order(world, 'POST', {
      id: world.web.uri,
      at: at(300_000),
      until: at(600_000),
      ...BY,
    });
    t.match(answer.body, { connections: 0, revocations: [{ state: 'not_yet' }] });
    t.equal((await client.ask(GET))[0]?.status, 200);
    skewMs = 301_000;
    await client.untilClosed();
    t.equal(await reasonOf(world), 'svid_revoked');
    await waitFor(() => eventsOf(world, 'revocation.enforced').some(({ source }) => source === 'clock'));
    skewMs = 601_000;
    t.match(await listed(world), [{ state: 'over' }]);
    t.equal(await reasonOf(world), 'allowed');
  },
);

const [longText, id] = ['x'.repeat(501), 'spiffe://a.test/web'];
for (const [name, body, problems] of [
  ['text that is no JSON', '{ id: "x"', [/^is not JSON: /]],
  ['YAML', `- { id: "${id}", reason: r, author: a }`, [/^is not JSON: /]],
  ['a member twice', `{"id":"${id}","id":"spiffe://a.test/x","reason":"r","author":"a"}`, [/^is not JSON: /]],
  ['an empty list', [], [/^must hold at least one entry$/]],
  ['no author', { id, reason: 'r' }, [/^\[0\]\.author is required$/]],
  ['no reason', { id, author: 'a' }, [/^\[0\]\.reason is required$/]],
  [
    'an unknown key',
    { id, ...BY, untill: 'x' },
    [/^\[0\]\.untill unknown key `untill`; did you mean `until`\?$/],
  ],
  ['a prototype', `{"__proto__":{},"id":"${id}","reason":"r","author":"a"}`, [/__proto__/]],
  ['nothing named', { ...BY }, [/^\[0\] must say what is revoked/]],
  ['two things', { id, idPrefix: id, ...BY }, [/^\[0\]\.idPrefix must name one thing/]],
  ['a serial alone', { serial: '0a', ...BY }, [/^\[0\]\.serial needs the `issuer`$/]],
  ['a trust domain', { id: 'spiffe://a.test', ...BY }, [/^\[0\]\.id names a trust domain/]],
  ['an end that is past', { id, until: '2020-01-01T00:00:00Z', ...BY }, []],
  ['a control character', { id, reason: 'a\nb', author: 'a' }, [/^\[0\]\.reason must not hold control/]],
  [
    'faults in two entries',
    [
      { id, author: longText, reason: 'r' },
      { id: 'x', reason: 'r' },
    ],
    [/^\[0\]\.author must be at most/, /^\[1\]\.id /, /^\[1\]\.author is required$/],
  ],
] as const) {
  t.test(`POST /revocations of ${name} is refused whole, with every fault`, async (t) => {
    const world = await start(t);
    const answer = await order(world, 'POST', body);
    t.equal(answer.status, 400);
    t.equal(answer.type, 'application/problem+json');
    const said = ((answer.body.problems ?? []) as ReadRecord[]).map(({ path, message }) =>
      `${path} ${message}`.trim(),
    );
    t.equal(said.length, problems.length, said.join(' | '));
    for (const problem of problems)
      t.ok(
        said.some((text) => problem.test(text)),
        `${problem}: ${said.join(' | ')}`,
      );
    if (problems.length === 0) t.match(answer.body.detail, /until: is over already/);
    t.same(await listed(world), []);
    t.throws(() => readFileSync(join(world.dir, FILE)), /ENOENT/);
  });
}

t.test('what a page could send is refused before it is read', async (t) => {
  const world = await start(t);
  const entry = { id: world.web.uri, ...BY };
  const json = { 'content-type': 'application/json' };
  for (const [headers, status] of [
    [{ 'content-type': 'text/plain' }, 415],
    [{ 'content-type': 'application/jsonp' }, 415],
    [{ 'content-type': 'application/x-www-form-urlencoded' }, 415],
    [{ ...json, origin: 'http://evil.test' }, 403],
    [{ ...json, origin: 'null' }, 403],
    [{ ...json, 'sec-fetch-site': 'cross-site' }, 403],
  ] as const)
    t.equal(
      (await order(world, 'POST', entry, '/revocations', headers)).status,
      status,
      JSON.stringify(headers),
    );
  t.equal((await order(world, 'POST', `${' '.repeat(256 * 1024)}{}`)).status, 413);
  t.equal((await order(world, 'PUT', entry)).status, 405);
  t.same(await listed(world), []);
  t.equal(
    (await order(world, 'POST', entry, '/revocations', { 'content-type': 'Application/JSON; charset=utf-8' }))
      .status,
    200,
  );
});

t.test('without a file to keep them, nothing is revoked and the answer says what to configure', async (t) => {
  const world = await start(t, { extra: 'health: { address: "127.0.0.1:0" }' });
  const answer = await order(world, 'POST', { id: world.web.uri, ...BY });
  t.equal(answer.status, 501);
  t.match(answer.body.detail, /`emergencyRevocations: FILE`/);
  t.equal(await reasonOf(world), 'allowed');
  const health = `http://${world.app.addresses.get('health')}/revocations`;
  for (const method of ['GET', 'POST', 'DELETE']) t.equal((await fetch(health, { method })).status, 404);
});

t.test('DELETE withdraws an entry, says who and why, and lets the workload in again', async (t) => {
  const world = await start(t, {
    revoked: 'version: 1\nrevoked:\n  - { id: "spiffe://a.test/old", reason: gone, author: bob }\n',
  });
  await order(world, 'POST', [
    { id: world.web.uri, ...BY },
    { id: world.admin.uri, ...BY },
  ]);
  const entries = await listed(world);
  t.match(entries, [
    { source: 'revocations', author: 'bob' },
    { id: world.web.uri },
    { id: world.admin.uri },
  ]);
  const [old, web] = entries.map(({ key }) => key as string);
  const why = { author: 'carol', reason: 'false alarm' };
  t.match(await order(world, 'DELETE', {}, `/revocations/${web}`), {
    status: 400,
    body: { problems: [{ path: 'author' }, { path: 'reason' }] },
  });
  t.equal(
    (await order(world, 'DELETE', why, `/revocations/${web}`, { 'content-type': 'text/plain' })).status,
    415,
  );
  t.equal((await order(world, 'DELETE', why, '/revocations/nothing')).status, 404);
  t.match(await order(world, 'DELETE', why, `/revocations/${old}`), {
    status: 409,
    body: { detail: /revoked\.yaml/ },
  });
  t.equal(await reasonOf(world), 'svid_revoked');
  const answer = await order(world, 'DELETE', why, `/revocations/${web}`);
  t.match(answer, { status: 200, body: { withdrawn: { id: world.web.uri } } });
  t.equal(answer.body.revocations.length, 2);
  t.same(kept(world), [{ id: world.admin.uri, ...BY }]);
  t.equal(await reasonOf(world), 'allowed');
  t.equal(await reasonOf(world, world.admin), 'svid_revoked');
  await waitFor(() => eventsOf(world, 'revocation.withdrawn').length === 1);
  t.match(eventsOf(world, 'revocation.withdrawn')[0], {
    detail: `withdrew id ${world.web.uri} (key leaked) by alice: false alarm, by carol`,
  });
  t.equal((await order(world, 'DELETE', why, `/revocations/${web}`)).status, 404);
  await restart(world);
  t.equal(await reasonOf(world), 'allowed');
});

t.test('a withdrawal that cannot be kept does not happen', async (t) => {
  const world = await start(t);
  await order(world, 'POST', { id: world.web.uri, ...BY });
  const [entry] = await listed(world);
  world.replace(FILE, 'broken');
  const answer = await order(world, 'DELETE', { author: 'c', reason: 'r' }, `/revocations/${entry?.key}`);
  t.equal(answer.status, 500);
  t.match(answer.body.detail, /^STILL IN FORCE: /);
  t.equal(await reasonOf(world), 'svid_revoked');
  t.equal(readFileSync(join(world.dir, FILE), 'utf8'), 'broken');
});

t.test(
  'two sidecars that share the file revoke what either is told, and lose nothing of each other',
  async (t) => {
    const world = await start(t);
    const second = await startApp({
      configFile: join(world.dir, 'countersign.yaml'),
      env: {},
      diagnostics: { info: () => undefined, warn: () => undefined, error: () => undefined },
    });
    t.teardown(() => second.close());
    const at = (adminUrl: string) => ({ adminUrl }) as World;
    const other = at(`http://${second.addresses.get('admin')}`);
    const ids = Array.from({ length: 8 }, (_, i) => `spiffe://a.test/w${i}`);
    const answers = await Promise.all(
      ids.map((id, i) => order(i % 2 === 0 ? world : other, 'POST', { id, ...BY })),
    );
    t.same(
      answers.map(({ status }) => status),
      ids.map(() => 200),
    );
    await waitFor(async () => (await listed(world)).length === 8 && (await listed(other)).length === 8);
    t.same(
      kept(world)
        .map(({ id }) => id)
        .sort(),
      ids,
    );
  },
);

t.test('a line that is moved to revoked.yaml stays in force when it is withdrawn here', async (t) => {
  const world = await start(t);
  await order(world, 'POST', { id: world.web.uri, ...BY });
  const line = readFileSync(join(world.dir, FILE), 'utf8')
    .split('\n')
    .find((text) => text.startsWith('  - '));
  world.replace('revoked.yaml', `version: 1\nrevoked:\n${line}\n`);
  const [entry] = await listed(world);
  await waitFor(() =>
    world.diagnostics.some(({ detail }) => (detail as ReadRecord).source === 'revocations'),
  );
  t.equal(
    (await order(world, 'DELETE', { author: 'c', reason: 'moved' }, `/revocations/${entry?.key}`)).status,
    200,
  );
  t.equal(kept(world).length, 0);
  t.match(await listed(world), [{ source: 'revocations', id: world.web.uri }]);
  t.equal(await reasonOf(world), 'svid_revoked');
});

t.test('what one file could not keep, the file that is configured in its place keeps', async (t) => {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  mkdirSync(join(world.dir, 'gone'));
  world.writeConfig({ extra: 'emergencyRevocations: gone/emergency.yaml' });
  await world.run();
  rmSync(join(world.dir, 'gone'), { recursive: true });
  t.equal((await order(world, 'POST', { id: world.web.uri, ...BY })).status, 500, 'in force, not kept');
  world.replace('countersign.yaml', world.configText({ extra: 'emergencyRevocations: other.yaml' }));
  const other = join(world.dir, 'other.yaml');
  await waitFor(() => existsSync(other) && readFileSync(other, 'utf8').includes(world.web.uri));
  await restart(world);
  t.equal(await reasonOf(world), 'svid_revoked', 'also after a restart');
});

t.test('no more are taken than are kept, and none of those that are too many', async (t) => {
  const world = await start(t);
  const many = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({ id: `spiffe://a.test/w${from + i}`, ...BY }));
  t.match(await order(world, 'POST', many(0, 999)), { status: 200, body: { added: 999 } });
  const answer = await order(world, 'POST', many(999, 2));
  t.match(answer, { status: 409, body: { detail: /at most 1000 are kept here, and there are 999/ } });
  t.equal((await listed(world)).length, 999);
  t.equal((await order(world, 'POST', many(999, 1))).status, 200);
});

t.test('a line that an operator writes into the file by hand counts', async (t) => {
  const world = await start(t);
  const client = await world.client();
  writeFileSync(
    join(world.dir, `.${FILE}`),
    `version: 1\nrevoked: [{ id: "${world.web.uri}", reason: r }]\n`,
  );
  world.replace(FILE, readFileSync(join(world.dir, `.${FILE}`)));
  await client.untilClosed();
  t.equal(await reasonOf(world), 'svid_revoked');
});
