import t from 'tap';
import { jwksOf, KEY_SERVER_CA, KeyServer, newIssuerKey } from '../support/key-sets.js';
import { changeConfig, refusalsOf, shownAsGood, shownAsRefused, sourceOf } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const [k1, k2] = [newIssuerKey('k1'), newIssuerKey('k2')];
const GET = 'GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const SOURCE = 'token-keys:ci';

type Teardown = { teardown(run: () => Promise<void>): void };

/** One issuer `ci`, whose keys come from here. */
const tokens = (jwks: string): string => `
tokens:
  - { name: ci, issuer: "https://token.ci.test", audience: billing, principal: "ci:{sub}", jwks: { ${jwks} } }`;

const remote = (server: KeyServer, more = ''): string => `url: "${server.url}", ca: keys-ca.pem${more}`;

async function start(t: Teardown, jwks: string, options: WorldOptions = {}): Promise<World> {
  const files = { 'keys-ca.pem': KEY_SERVER_CA, 'jwks.json': jwksOf(k1), ...options.files };
  const world = await World.start({ ...options, extra: tokens(jwks), files });
  t.teardown(() => world.close());
  return world;
}

const kidsIn = (snapshot: ReadRecord): unknown =>
  snapshot.tokens[0]?.keys?.map(({ kid }: { kid: string }) => kid);

const untilKids = (world: World, ...kids: string[]): Promise<ReadRecord> =>
  world.untilSnapshot((snapshot) => JSON.stringify(kidsIn(snapshot)) === JSON.stringify(kids));

const changesOf = (world: World): unknown[] =>
  world.records.filter(({ event }) => event === 'trust.changed').map(({ detail }) => detail);

t.test('keys in a file follow it; what is broken is refused, and the last good keys stay', async (t) => {
  const world = await start(t, 'file: jwks.json');
  const before = await untilKids(world, 'k1');
  t.match(before.tokens, [{ name: 'ci', kind: 'oidc', issuer: 'https://token.ci.test' }]);
  t.match(before.tokens[0].keys[0], { kid: 'k1', alg: 'ES256', thumbprint: /^[\w-]{43}$/ });
  t.notMatch(JSON.stringify(before), String(k1.jwk.x), 'names of keys are shown, not keys');
  world.replace('jwks.json', jwksOf(k1, k2));
  const after = await untilKids(world, 'k1', 'k2');
  t.not(after.trustRevision, before.trustRevision, 'keys are trust');
  await waitFor(() => changesOf(world).length === 1);
  t.same(changesOf(world), ['ci +1 -0 keys']);
  world.replace('jwks.json', JSON.stringify({ keys: [k2.privateKey.export({ format: 'jwk' })] }));
  await shownAsRefused(t, world, SOURCE, 'trust.refused', /jwks\.json: key 1 .*private key/);
  t.same(kidsIn(await world.snapshot()), ['k1', 'k2']);
  world.replace('jwks.json', jwksOf(k2));
  await shownAsGood(t, world, SOURCE);
  await untilKids(world, 'k2');
  await waitFor(() => changesOf(world).length === 2);
  t.equal(changesOf(world)[1], 'ci +0 -1 keys');
  const client = await world.client();
  t.equal((await client.ask(GET))[0]?.status, 200, 'who has a certificate has noticed nothing');
});

t.test('a file that shrinks in place gets time to be finished', async (t) => {
  const world = await start(t, 'file: jwks.json', { files: { 'jwks.json': jwksOf(k1, k2) } });
  await untilKids(world, 'k1', 'k2');
  const from = performance.now();
  world.write('jwks.json', jwksOf(k1));
  await untilKids(world, 'k1');
  t.ok(performance.now() - from >= 900, 'half of a file may be whole in form');
});

t.test('an issuer that cannot be reached holds up its own tokens and nothing else', async (t) => {
  const server = await KeyServer.start(t);
  server.server.serve('', 503);
  const world = await start(t, remote(server));
  const ready = await fetch(`${world.adminUrl}/readyz`);
  t.equal(ready.status, 200);
  await waitFor(() => refusalsOf(world, SOURCE).length === 1);
  t.match(refusalsOf(world, SOURCE)[0]?.problem, /the endpoint answered 503/);
  const { tokens: shown, sources } = await world.snapshot();
  t.match(shown, [{ name: 'ci', keys: undefined }]);
  const source = (sources as ReadRecord[]).find(({ name }) => name === SOURCE);
  t.match(source, { awaited: true, optional: true, remote: { url: server.url, lastFetchAt: undefined } });
  const why = await fetch(`${world.adminUrl}/readyz`);
  t.equal(why.status, 200);
  t.match(await why.text(), /token-keys:ci is refused/, 'ready, and it is said');
  const client = await world.client();
  t.equal((await client.ask(GET))[0]?.status, 200);
  server.publish(k1);
  await untilKids(world, 'k1');
  await shownAsGood(t, world, SOURCE);
  t.equal((await client.ask(GET))[0]?.status, 200, 'on the connection that was open');
});

t.test(
  'keys that nobody confirms count until they are too old, and again when they are confirmed',
  async (t) => {
    const server = await KeyServer.start(t);
    server.publish(k1);
    const clock = { skewMs: 0 };
    const world = await start(t, remote(server, ', maxStale: 1m'), {
      nowMs: () => Date.now() + clock.skewMs,
    });
    const fresh = await untilKids(world, 'k1');
    server.server.serve('', 503);
    clock.skewMs = 50_000;
    await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
    const late = await world.snapshot();
    t.equal(late.tokens[0].stale, undefined);
    t.equal(late.trustRevision, fresh.trustRevision);
    const adopted = `countersign_reloads_total{source="${SOURCE}",result="adopted"}`;
    const counted = (await world.metrics()).split('\n').find((line) => line.startsWith(adopted));
    clock.skewMs = 70_000;
    const stale = await world.untilSnapshot((snapshot) => snapshot.tokens[0].stale !== undefined);
    t.match(stale.tokens[0].stale, /has not confirmed the keys since .*: they count no more/);
    t.not(stale.trustRevision, fresh.trustRevision, 'what counts no more is no trust');
    await waitFor(() => changesOf(world).includes('keys of ci are out of date'));
    t.equal(
      (await world.metrics()).split('\n').find((line) => line.startsWith(adopted)),
      counted,
      'nothing was loaded',
    );
    t.match(await (await fetch(`${world.adminUrl}/readyz`)).text(), /token-keys:ci is/);
    const said = world.diagnostics.filter(({ message }) => message === 'a source in force is out of date');
    t.equal(said.length, 1, 'said once');
    server.publish(k1);
    await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
    const again = await world.untilSnapshot((snapshot) => snapshot.tokens[0].stale === undefined);
    t.equal(again.trustRevision, fresh.trustRevision);
  },
);

t.test('another way to ask the same place does not lose the keys in force', async (t) => {
  const server = await KeyServer.start(t);
  server.publish(k1);
  const world = await start(t, remote(server));
  const { sequence } = await untilKids(world, 'k1');
  const { waiting } = server.hold();
  changeConfig(world, (text) => text.replace('ca: keys-ca.pem', 'ca: keys-ca.pem, refresh: 20m'));
  await waitFor(() => waiting.length === 1);
  const snapshot = await world.untilSnapshot((now) => now.sequence > sequence);
  t.same(kidsIn(snapshot), ['k1'], 'without an answer yet');
  waiting[0]?.end(jwksOf(k2));
  await untilKids(world, 'k2');
});

t.test('another place begins anew: keys of the old one count no more', async (t) => {
  const server = await KeyServer.start(t);
  server.publish(k1);
  const world = await start(t, remote(server));
  await untilKids(world, 'k1');
  const elsewhere = await KeyServer.start(t);
  elsewhere.hold();
  changeConfig(world, (text) => text.replace(server.url, elsewhere.url));
  const snapshot = await world.untilSnapshot((now) => kidsIn(now) === undefined);
  t.match(snapshot.tokens, [{ name: 'ci', keys: undefined }]);
});

t.test('other authorities for https count from the next fetch on, which comes at once', async (t) => {
  const server = await KeyServer.start(t);
  server.publish(k1);
  const world = await start(t, remote(server), { files: { 'keys-ca.pem': 'no PEM at all\n' } }).catch(
    (cause: Error) => cause,
  );
  t.match(
    world,
    { message: /token-keys:ci: .*keys-ca\.pem: holds no certificate/ },
    'a bad local file at start',
  );
  const sound = await start(t, remote(server));
  await untilKids(sound, 'k1');
  sound.replace('keys-ca.pem', sound.caC.certPem);
  await waitFor(async () => /no TLS connection/.test((await sourceOf(sound, SOURCE)).lastError ?? ''));
  t.same(kidsIn(await sound.snapshot()), ['k1'], 'the last good keys stay');
  server.publish(k1, k2);
  sound.replace('keys-ca.pem', KEY_SERVER_CA);
  await untilKids(sound, 'k1', 'k2');
});

t.test('a new configuration whose key file is broken is refused as a whole', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const { trustRevision } = await world.snapshot();
  world.write('jwks.json', '{"keys":7}');
  changeConfig(world, (text) => `${text}${tokens('file: jwks.json')}\n`);
  await waitFor(() => refusalsOf(world, 'config').length > 0);
  t.match(refusalsOf(world, 'config')[0]?.problem, /token-keys:ci: .*jwks\.json: .*no JWK Set/);
  t.same((await world.snapshot()).tokens, []);
  world.replace('jwks.json', jwksOf(k1));
  await untilKids(world, 'k1');
  t.not((await world.snapshot()).trustRevision, trustRevision);
});

t.test('an issuer whose keys cannot be discovered is a problem at start', async (t) => {
  const refused = await World.start({
    extra: tokens('discovery: true').replace('https://token.ci.test', 'http://token.ci.test'),
  }).catch((cause: Error) => cause);
  t.match(refused, {
    message: /tokens\[0\]\.jwks: the issuer http:\/\/token\.ci\.test is no https:\/\/ URL/,
  });
});
