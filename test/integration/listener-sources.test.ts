import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runCheck } from '../../src/cli/check.js';
import { jwksOf, KEY_SERVER_CA, newIssuerKey } from '../support/key-sets.js';
import { mintRoot } from '../support/pki.js';
import { changeConfig, refusalsOf, shownAsGood, shownAsRefused, sourceOf } from '../support/sources.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';
import { toldIo } from '../support/told-io.js';

const root = await mintRoot('web', { subject: 'CN=web root', uriSans: [] });
const newCertificate = (ttlMs?: number) =>
  root.issue([], { otherSans: ['DNS:api.test'], ...(ttlMs === undefined ? {} : { ttlMs }) });
const web = await newCertificate();
const SECRET = 'hunter2hunter2';

const OPTIONS: WorldOptions = {
  listenerExtra: '\n    serverCertificate: { certificate: web.pem, key: web-key.pem }',
  routes: `
      - { name: r1, host: svc.test, path: /public/**, upstream: u, injectCredential: { header: x-api-key, file: secret } }`,
  policy:
    'version: 1\ndefault: deny\nrules:\n  - { id: all, effect: allow, principals: ["spiffe://a.test/**"], destinations: [r1] }\n',
  files: { 'web.pem': web.chainPem, 'web-key.pem': web.keyPem, secret: `${SECRET}\n` },
};

async function start(t: { teardown(run: () => Promise<void>): void }): Promise<World> {
  const world = await World.start(OPTIONS);
  t.teardown(() => world.close());
  return world;
}

const shownEverywhere = async (world: World): Promise<string> =>
  [
    JSON.stringify(await world.snapshot()),
    JSON.stringify(world.diagnostics),
    JSON.stringify(world.records),
    await world.metrics(),
    await (await fetch(`${world.adminUrl}/readyz`)).text(),
  ].join('\n');

t.test('a server certificate and its key are adopted together, and a broken pair is not', async (t) => {
  const world = await start(t);
  const source = 'server-certificate:inbound';
  const { loadedAt } = await sourceOf(world, source);
  const next = await newCertificate();
  world.replace('web.pem', next.chainPem);
  await shownAsRefused(
    t,
    world,
    source,
    'trust.refused',
    /web-key\.pem: it is not the key of the certificate/,
  );
  t.equal((await sourceOf(world, source)).loadedAt, loadedAt, 'the last good pair is shown');
  world.replace('web-key.pem', next.keyPem);
  await shownAsGood(t, world, source);
  t.not((await sourceOf(world, source)).loadedAt, loadedAt);
  t.notMatch(
    await shownEverywhere(world),
    next.keyPem.split('\n')[1] ?? 'no key',
    'the key is shown nowhere',
  );
});

t.test('a server certificate that ends while it is shown is said to be out of date', async (t) => {
  const clock = { skewMs: 0 };
  const brief = await newCertificate(120_000);
  const world = await World.start({
    ...OPTIONS,
    files: { ...OPTIONS.files, 'web.pem': brief.chainPem, 'web-key.pem': brief.keyPem },
    nowMs: () => Date.now() + clock.skewMs,
  });
  t.teardown(() => world.close());
  t.equal((await sourceOf(world, 'server-certificate:inbound')).stale, undefined);
  clock.skewMs = 130_000;
  const isSaid = () =>
    world.diagnostics.some(
      ({ message, detail }) =>
        message === 'a source in force is out of date' &&
        (detail as { source: string }).source === 'server-certificate:inbound',
    );
  await waitFor(isSaid);
  t.match((await sourceOf(world, 'server-certificate:inbound')).stale, /the certificate expired at/);
});

t.test('a secret follows its file, a broken one is refused, and it is shown nowhere', async (t) => {
  const world = await start(t);
  const source = 'injected-credential:r1';
  const { loadedAt } = await sourceOf(world, source);
  world.replace('secret', `${SECRET}\nX-Admin: ${SECRET}\n`);
  await shownAsRefused(t, world, source, 'trust.refused', /secret: holds more than one line/);
  t.equal((await sourceOf(world, source)).loadedAt, loadedAt, 'the last good one goes in');
  world.replace('secret', `${SECRET}-2`);
  await shownAsGood(t, world, source);
  t.not((await sourceOf(world, source)).loadedAt, loadedAt);
  const client = await world.client();
  t.equal((await client.ask('GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n'))[0]?.status, 200);
  await world.untilRecords(1);
  t.notMatch(await shownEverywhere(world), SECRET);
});

t.test('a secret that every user can read is worth a word', async (t) => {
  const world = await start(t);
  world.replace('secret', SECRET);
  chmodSync(join(world.dir, 'secret'), 0o644);
  const note = await waitForNote(world);
  t.match(note, /secret: every user of this machine can read the secret in it; chmod 600 it/);
});

async function waitForNote(world: World): Promise<string> {
  const notes = () =>
    world.diagnostics
      .filter(({ message }) => message === 'adopted, and worth a look')
      .map(({ detail }) => (detail as { note: string }).note);
  await waitFor(() => notes().length > 0);
  return notes()[0] ?? '';
}

t.test('what a configuration newly names must be good, or none of it counts', async (t) => {
  const world = await start(t);
  changeConfig(world, (text) => text.replace('file: secret', 'file: missing'));
  await waitFor(() => refusalsOf(world, 'config').length > 0);
  t.match(refusalsOf(world, 'config')[0]?.problem, /injected-credential:r1: .*missing: cannot be read/);
  world.replace('missing', SECRET);
  await waitFor(async () => (await sourceOf(world, 'injected-credential:r1')).files[0]?.endsWith('missing'));
});

t.test('a check reads keys, certificates and secrets as the sidecar will', async (t) => {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const key = newIssuerKey('k1');
  const extra = `
tokens:
  - { name: ci, issuer: "https://ci.test", audience: x, principal: "ci:{sub}", jwks: { file: jwks.json } }
  - { name: web, issuer: "https://web.test", audience: x, principal: "web:{sub}", jwks: { url: "https://web.test/keys", ca: keys-ca.pem } }
  - { name: found, issuer: "http://found.test", audience: x, principal: "found:{sub}", jwks: { discovery: true } }`;
  const good = { ...OPTIONS.files, 'jwks.json': jwksOf(key), 'keys-ca.pem': KEY_SERVER_CA };
  const check = async (files: NonNullable<WorldOptions['files']>, change = (text: string) => text) => {
    world.writeConfig({ ...OPTIONS, extra, files });
    chmodSync(join(world.dir, 'secret'), 0o600);
    const config = readFileSync(join(world.dir, 'countersign.yaml'), 'utf8');
    world.replace('countersign.yaml', change(config));
    const io = toldIo(world.dir);
    const code = await runCheck(['-c', 'countersign.yaml'], io);
    return { code, said: io.out + io.err };
  };
  const mended = (text: string): string => text.replace('http://found.test', 'https://found.test');
  const sound = await check(good, mended);
  t.equal(sound.code, 0, sound.said);
  const broken = await check({
    'jwks.json': '{"keys":[{"kty":"oct","k":"AAAA"}]}',
    'keys-ca.pem': 'nothing\n',
    'web.pem': web.chainPem,
    'web-key.pem': (await newCertificate()).keyPem,
    secret: '',
  });
  t.equal(broken.code, 78);
  for (const problem of [
    /tokens\[0\]\.jwks\.file: .*jwks\.json: key 1 .*symmetric/,
    /tokens\[1\]\.jwks\.ca: .*keys-ca\.pem: holds no certificate/,
    /tokens\[2\]\.jwks: the issuer http:\/\/found\.test is no https:\/\/ URL/,
    /listeners\[0\]\.serverCertificate\.key: .*web-key\.pem: it is not the key of the certificate/,
    /listeners\[0\]\.routes\[0\]\.injectCredential\.file: .*secret: is empty/,
  ])
    t.match(broken.said, problem);
  const names = 'serverCertificate: { names: [other.test],';
  const odd = await check({ ...good, 'jwks.json': '{"keys":[]}' }, (text) =>
    mended(text).replace('serverCertificate: {', names),
  );
  t.equal(odd.code, 0, odd.said);
  t.match(odd.said, /serverCertificate\.names.*: warning: the certificate does not hold other\.test/);
  t.match(odd.said, /tokens\[0\]\.jwks\.file: warning: .*holds no key that verifies tokens/);
});
