import { unlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { StartRefused } from '../../src/app/start-refused.js';
import { mintRoot } from '../support/pki.js';
import {
  authoritiesOf,
  changeConfig,
  GET,
  refusalsOf,
  shownAsGood,
  shownAsRefused,
  sourceOf,
  untilAuthorities,
} from '../support/sources.js';
import { POLICY, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const SOURCE = 'bundle:b.test';
const revoke = (id: string): string => `version: 1\nrevoked:\n  - { id: "${id}", reason: "test" }\n`;

const startWorld = async (t: Test, options: WorldOptions = {}): Promise<World> => {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
};

const isServed = async (world: World, identity = world.bweb): Promise<boolean> =>
  (await (await world.client(identity)).ask(GET))[0]?.status === 200;

for (const [name, policy, why] of [
  ['a syntax error', 'version: 1\ndefault: deny\nrules: [', /policy\.yaml:\d+:\d+/],
  ['an unknown key', POLICY.replace('effect: allow', 'efect: allow'), /efect/],
  ['a destination that is none', POLICY.replace('[r1]', '[nowhere]'), /nowhere/],
  ['a default that opens', POLICY.replace('default: deny', 'default: allow'), /default/],
  ['nothing', '', /policy\.yaml/],
] as const) {
  t.test(`P027 a policy with ${name} is refused and said, and holds up no revocation`, async (t) => {
    const world = await startWorld(t);
    const { policyRevision } = await world.snapshot();
    world.replace('policy.yaml', policy);
    await shownAsRefused(t, world, 'config', 'policy.refused', why);
    t.equal((await world.snapshot()).policyRevision, policyRevision);
    t.equal(await isServed(world), true);
    world.replace('revoked.yaml', revoke(world.bweb.uri));
    await waitFor(async () => (await world.snapshot()).revocations === 1, 4000);
    t.equal(await isServed(world), false);
    t.equal(await isServed(world, world.web), true);
    t.match(await (await fetch(`${world.adminUrl}/readyz`)).text(), /config/, 'readiness tells');
    world.replace('policy.yaml', POLICY.replace(/^ {2}- \{ id: public.*\n/m, ''));
    await waitFor(async () => (await world.snapshot()).policyRevision !== policyRevision, 4000);
    await shownAsGood(t, world, 'config');
    t.equal(await isServed(world, world.web), false);
  });
}

for (const [name, gone] of [
  ['revoked.yaml', 'revocations: revoked.yaml\n'],
  ['a CRL', ', revocation: { crls: [b.crl] }'],
] as const) {
  t.test(`a configuration that is half written drops ${name} at no moment`, async (t) => {
    const world = new World();
    t.teardown(() => world.close());
    await world.prepare();
    const options: WorldOptions = {
      revoked: revoke(world.web.uri),
      files: { 'b.crl': (await world.caB.crl({ revoked: [world.bweb.serial] })).pem },
      trust: `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { file: b.pem }, revocation: { crls: [b.crl] } }`,
    };
    world.writeConfig(options);
    await world.run(options);
    const whole = world.configText(options);
    t.ok(whole.includes(gone));
    const identity = gone.startsWith('revocations') ? world.web : world.bweb;
    const shown = async (): Promise<number> =>
      (await world.snapshot()).sources.filter(({ name }: { name: string }) =>
        /^(revocations|crl:)/.test(name),
      ).length;
    t.equal(await isServed(world, identity), false);
    world.write('countersign.yaml', whole.replace(gone, ''));
    for (let i = 0; i < 6; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      t.equal(await shown(), 2);
      t.equal(await isServed(world, identity), false);
    }
    world.write('countersign.yaml', whole); // the second half
    await world.app.reload();
    t.equal(await shown(), 2);
    world.write('countersign.yaml', whole.replace(gone, '')); // and this time it is meant
    await waitFor(async () => (await shown()) === 1, 4000);
    t.equal(await isServed(world, identity), true);
  });
}

t.test('a policy that is written without end holds up no revocation', async (t) => {
  const world = await startWorld(t);
  const bweb = await world.client(world.bweb);
  t.equal((await bweb.ask(GET))[0]?.status, 200);
  let i = 0;
  const storm = setInterval(() => world.write('policy.yaml', `${POLICY}# ${i++}\n`), 20);
  t.teardown(() => clearInterval(storm));
  await waitFor(() => i > 20);
  const from = Date.now();
  world.replace('revoked.yaml', revoke(world.bweb.uri));
  await bweb.untilClosed();
  t.ok(Date.now() - from < 1500);
  clearInterval(storm);
});

t.test('a configuration that names a policy which is not good yet is taken when it is', async (t) => {
  const world = await startWorld(t);
  const { policyRevision } = await world.snapshot();
  changeConfig(world, (text) => text.replace('policy: policy.yaml', 'policy: other.yaml'));
  await shownAsRefused(t, world, 'config', 'policy.refused', /other\.yaml/);
  world.replace('other.yaml', 'version: 1\ndefault: deny\nrules: [');
  await waitFor(() => refusalsOf(world, 'config').length === 2, 4000);
  t.equal((await world.snapshot()).policyRevision, policyRevision);
  world.replace('other.yaml', POLICY.replace(/^ {2}- \{ id: public.*\n/m, ''));
  await waitFor(async () => (await world.snapshot()).policyRevision !== policyRevision, 4000);
  t.equal(await isServed(world), false);
  await shownAsGood(t, world, 'config');
});

t.test(
  'a configuration that names a broken revocation list is refused: what was revoked stays so',
  async (t) => {
    const world = await World.start({ revoked: revoke('spiffe://b.test/web') });
    t.teardown(() => world.close());
    t.equal(await isServed(world), false);
    world.write('other.yaml', 'version: 1\nrevoked: [');
    changeConfig(world, (text) => text.replace('revocations: revoked.yaml', 'revocations: other.yaml'));
    await shownAsRefused(t, world, 'config', 'policy.refused', /other\.yaml/);
    t.equal((await world.snapshot()).revocations, 1);
    t.equal(await isServed(world), false);
    world.replace('other.yaml', 'version: 1\nrevoked: []\n');
    await waitFor(async () => (await world.snapshot()).revocations === 0, 4000);
    t.equal(await isServed(world), true);
  },
);

t.test(
  'a configuration that names a bundle which is not there is refused, and taken once it is',
  async (t) => {
    const world = await startWorld(t);
    changeConfig(world, (text) =>
      text.replace('trust: ', 'trust: \n  - { trustDomain: c.test, bundle: { file: c.pem } }'),
    );
    await shownAsRefused(t, world, 'config', 'policy.refused', /bundle:c\.test/);
    t.equal(await isServed(world), true);
    world.replace('c.pem', world.caC.certPem);
    await untilAuthorities(world, 'c.test', [world.caC]);
    await shownAsGood(t, world, 'config');
  },
);

t.test('a broken bundle on disk does not hold up a configuration that only goes on naming it', async (t) => {
  const crl = await (await mintRoot('x.test')).crl();
  const world = await startWorld(t, { files: { 'unused.crl': crl.pem } });
  world.write('list.crl', (await world.caB.crl({ revoked: [world.bweb.serial] })).pem);
  world.replace('b.pem', 'broken');
  await waitFor(() => refusalsOf(world, SOURCE).length === 1, 4000);
  changeConfig(world, (text) =>
    text.replace('bundle: { file: b.pem }', 'bundle: { file: b.pem }, revocation: { crls: [list.crl] }'),
  );
  await waitFor(async () => !(await isServed(world)), 4000);
  t.same(await authoritiesOf(world, 'b.test'), [world.caB.sha256]);
});

t.test(
  'P029 a domain that the configuration no longer names is shut out, open connections too',
  async (t) => {
    const world = await startWorld(t);
    const [web, bweb] = [await world.client(), await world.client(world.bweb)];
    t.equal((await bweb.ask(GET))[0]?.status, 200);
    const withoutB = (text: string): string => text.replace(/^.*trustDomain: b\.test.*\n/m, '');
    changeConfig(world, withoutB);
    await shownAsRefused(t, world, 'config', 'policy.refused', /b\.test/); // the policy still speaks of it
    t.equal((await bweb.ask(GET))[0]?.status, 200);
    world.replace('policy.yaml', POLICY.replace(', "spiffe://b.test/**"', ''));
    await bweb.untilClosed();
    const again = await world.client(world.bweb);
    t.equal(JSON.parse((await again.ask(GET))[0]?.body ?? '{}').reason, 'trust_domain_unknown');
    t.equal((await web.ask(GET))[0]?.status, 200);
  },
);

t.test('a reload on demand reads everything, and answers when everything is judged', async (t) => {
  const world = await startWorld(t);
  const next = await mintRoot('b.test');
  world.write('b.pem', next.certPem);
  world.write('policy.yaml', 'version: 2');
  world.write('revoked.yaml', revoke(world.web.uri));
  await world.app.reload();
  t.same(await authoritiesOf(world, 'b.test'), [next.sha256]);
  t.equal((await world.snapshot()).revocations, 1);
  t.match((await sourceOf(world, 'config')).lastError, /version/);
  t.equal(refusalsOf(world, 'config').length, 1);
  await Promise.all([world.app.reload(), world.app.reload(), world.app.reload()]);
  t.equal(refusalsOf(world, 'config').length, 1, 'the same failure is not said again');
  const { sequence } = await world.snapshot();
  await world.app.reload();
  t.equal((await world.snapshot()).sequence, sequence, 'nothing changed, nothing was swapped');
  const response = await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
  t.equal(response.status, 200);
});

t.test('what only a restart can change is said, and unsaid when it is taken back', async (t) => {
  const world = await startWorld(t);
  changeConfig(world, (text) =>
    text
      .replace('admin: { address: 127.0.0.1:0 }', 'admin: { address: 127.0.0.1:1 }')
      .replace('audit.ndjson', 'else.ndjson'),
  );
  await world.untilSnapshot((snapshot) => snapshot.restartNeeded.length > 0);
  t.same((await world.snapshot()).restartNeeded, ['admin', 'audit']);
  t.ok(world.diagnostics.some(({ message }) => /restart/.test(message)));
  changeConfig(world, (text) =>
    text
      .replace('admin: { address: 127.0.0.1:1 }', 'admin: { address: 127.0.0.1:0 }')
      .replace('else.ndjson', 'audit.ndjson'),
  );
  await world.untilSnapshot((snapshot) => snapshot.restartNeeded.length === 0);
  t.equal(await isServed(world), true);
});

for (const [name, break_] of [
  ['a bundle that is not there', (w: World) => unlinkSync(join(w.dir, 'a.pem'))],
  ['a bundle that is malformed', (w: World) => w.write('b.pem', 'garbage')],
  ['an empty bundle', (w: World) => w.write('b.pem', '')],
  ['a revocation list that is malformed', (w: World) => w.write('revoked.yaml', 'revoked')],
  ['a key of another certificate', (w: World) => w.write('own-key.pem', w.web.keyPem)],
  ['a policy that is malformed', (w: World) => w.write('policy.yaml', '{')],
  ['a configuration that is not there', (w: World) => unlinkSync(join(w.dir, 'countersign.yaml'))],
] as const) {
  t.test(`P023 ${name}: no start, a reason, and no listener`, async (t) => {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    const world = await startWorld(t);
    await world.app.close();
    changeConfig(world, (text) => text.replace('127.0.0.1:0', `127.0.0.1:${port}`));
    break_(world);
    await t.rejects(world.run(), StartRefused);
    const client = await world.client(world.web, { port });
    t.equal((client.error as { code?: string }).code, 'ECONNREFUSED');
  });
}
