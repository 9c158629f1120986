import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { listBundleFolder } from '../../src/config/bundle-folder.js';
import { parseTrustDomain } from '../../src/identity/spiffe-id.js';
import { parseTrustBundle } from '../../src/identity/trust-bundle.js';
import { bundleDocument, subjectsOf } from '../support/bundle-server.js';
import { bundlePem, mintRoot } from '../support/pki.js';
import { changeConfig, GET, refusalsOf, sourceOf } from '../support/sources.js';
import { POLICY, type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const list = async (path: string) => {
  const listed = await listBundleFolder(path);
  if (!listed.ok) throw new Error(listed.error);
  return listed.value;
};

t.test('a Kubernetes volume lists its bundles, before and after a swap', async (t) => {
  const dir = t.testdir();
  const version = (name: string, files: readonly string[]): void => {
    mkdirSync(join(dir, name));
    for (const file of files) writeFileSync(join(dir, name, file), 'x');
  };
  version('..2026_11_21', ['a.test.pem', 'b.test.spiffe-trust-bundle.pem']);
  symlinkSync('..2026_11_21', join(dir, '..data'));
  for (const file of ['a.test.pem', 'b.test.spiffe-trust-bundle.pem'])
    symlinkSync(join('..data', file), join(dir, file));
  const first = await list(dir);
  t.same(Object.fromEntries(first.domains), {
    'a.test': 'a.test.pem',
    'b.test': 'b.test.spiffe-trust-bundle.pem',
  });
  t.same([first.problems, first.ignored], [[], []], 'folders are no files');

  version('..2026_11_22', ['a.test.pem', 'c.test.pem']);
  symlinkSync('..2026_11_22', join(dir, '..data_tmp'));
  renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
  const during = await list(dir);
  t.same([...during.domains.keys()], ['a.test', 'b.test'], 'a link that leads nowhere is still a name');
  rmSync(join(dir, 'b.test.spiffe-trust-bundle.pem'));
  symlinkSync(join('..data', 'c.test.pem'), join(dir, 'c.test.pem'));
  t.same([...(await list(dir)).domains.keys()], ['a.test', 'c.test']);
});

t.test('subfolders count for nothing, also by a link or by a name like a bundle', async (t) => {
  const dir = t.testdir({ 'a.test.pem': 'x', 'sub.test.pem': { 'c.test.pem': 'x' } });
  symlinkSync('sub.test.pem', join(dir, 'b.test.pem'));
  const { domains, problems } = await list(dir);
  t.same([[...domains.keys()], problems], [['a.test'], []]);
});

t.test(
  'what SPIRE, spiffe-helper, cert-manager and Filesystem Delivery write loads under its name',
  async (t) => {
    const roots = [
      await mintRoot('a.test', { subject: 'CN=CA1' }),
      await mintRoot('a.test', { subject: 'CN=CA2' }),
    ];
    const files: Record<string, string> = {
      'a.test.pem': bundlePem(...roots), // spiffe-helper with svid_bundle_file_name, trust-manager with a key of that name
      'b.test.crt': bundlePem(...roots),
      'c.test.json': bundleDocument(roots, { sequence: 1, hint: 60 }), // spire-server bundle show -format spiffe
      'd.test.spiffe': bundleDocument(roots),
      'e.test.spiffe-trust-bundle.x509.pem': bundlePem(...roots),
    };
    const { domains, problems } = await list(t.testdir(files));
    t.same([domains.size, problems], [5, []]);
    for (const [name, file] of domains) {
      const domain = parseTrustDomain(name);
      const bundle = domain.ok ? parseTrustBundle(domain.value, Buffer.from(files[file]!)) : domain;
      if (!bundle.ok) return t.fail(bundle.error);
      t.same([bundle.value.trustDomain, subjectsOf(bundle.value)], [name, ['CN=CA1', 'CN=CA2']], file);
    }
  },
);

t.test('a folder that cannot be listed is said with its path', async (t) => {
  const dir = t.testdir({ file: 'x' });
  t.same(await listBundleFolder(join(dir, 'none')), {
    ok: false,
    error: `${join(dir, 'none')}: cannot be listed (ENOENT)`,
  });
  t.same(await listBundleFolder(join(dir, 'file')), {
    ok: false,
    error: `${join(dir, 'file')}: cannot be listed (ENOTDIR)`,
  });
  t.same([...(await list(t.testdir())).domains], [], 'an empty one holds no bundle, and that is no error');
});

/** A sidecar that trusts what lies in the folder `bundles`: a.test and b.test. */
async function folderWorld(t: Test): Promise<{ world: World; put(name: string, text: string): void }> {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  mkdirSync(join(world.dir, 'bundles'));
  const put = (name: string, text: string): void => world.replaceIn('bundles', name, text);
  put('a.test.pem', world.caA.certPem);
  put('b.test.pem', world.caB.certPem);
  const options = { trust: '\n  - { folder: bundles }' };
  world.writeConfig(options);
  await world.run(options);
  return { world, put };
}

const isServed = async (world: World, identity = world.web): Promise<boolean> =>
  (await (await world.client(identity)).ask(GET))[0]?.status === 200;

for (const [name, file] of [
  ['that is new in the folder', 'c.test.pem'],
  ['that has a good version', 'b.test.pem'],
] as const) {
  t.test(`a broken bundle ${name} holds up no policy and no configuration`, async (t) => {
    const { world, put } = await folderWorld(t);
    put(file, 'no PEM');
    const broken = `bundle:${file.slice(0, 6)}`;
    await waitFor(
      () => refusalsOf(world, broken).length > 0,
      5000,
      () => 'a word on the broken bundle',
    );

    const { policyRevision } = await world.snapshot();
    world.replace('policy.yaml', POLICY.replace(/^ {2}- \{ id: public.*\n/m, ''));
    await world.untilSnapshot((snapshot) => snapshot.policyRevision !== policyRevision, 5000);
    t.equal(await isServed(world), false, 'the policy that takes access away is in force');
    world.replace('policy.yaml', POLICY);
    await waitFor(() => isServed(world), 5000);

    // The revocations of this list count once the configuration that names it does.
    world.write('others.yaml', `version: 1\nrevoked:\n  - { id: "${world.web.uri}", reason: "test" }\n`);
    changeConfig(world, (text) => text.replace('revocations: revoked.yaml', 'revocations: others.yaml'));
    await world.untilSnapshot(({ revocations }) => revocations === 1, 5000);
    t.equal(await isServed(world), false, 'the configuration is in force');
    t.equal(await isServed(world, world.bweb), true, 'the last good bundles are');
    t.equal((await sourceOf(world, 'config')).lastError, undefined);
    t.match((await sourceOf(world, broken)).lastError, /PEM|certificate/, 'and it is still said');
  });

  t.test(`a broken bundle ${name} holds up no entry that comes or goes beside the folder`, async (t) => {
    const { world, put } = await folderWorld(t);
    put(file, 'no PEM');
    put('ca.crt', 'a name that says nothing');
    const [broken, folder] = [`bundle:${file.slice(0, 6)}`, `bundles:${join(world.dir, 'bundles')}`];
    await waitFor(() => refusalsOf(world, broken).length > 0 && refusalsOf(world, folder).length > 0, 5000);
    world.write('d.pem', (await mintRoot('d.test')).certPem);
    const entry = '  - { trustDomain: d.test, bundle: { file: d.pem } }\n  - { folder: bundles }';
    changeConfig(world, (text) => text.replace('  - { folder: bundles }', entry));
    const isTrusted = ({ trust }: ReadRecord): boolean =>
      trust.some((of: ReadRecord) => of.trustDomain === 'd.test');
    await world.untilSnapshot(isTrusted, 5000);
    changeConfig(world, (text) => text.replace(entry, '  - { folder: bundles }'));
    await world.untilSnapshot((snapshot) => !isTrusted(snapshot), 5000);
    t.equal(await isServed(world), true);
    t.equal(await isServed(world, world.bweb), true, 'by the last good version');
    t.match((await sourceOf(world, broken)).lastError, /PEM|certificate/);
    t.match((await sourceOf(world, folder)).lastError, /ca\.crt/);
  });
}

t.test('a folder that a new configuration names must be good as a whole', async (t) => {
  const { world } = await folderWorld(t);
  mkdirSync(join(world.dir, 'more'));
  world.replaceIn('more', 'c.test.pem', 'no PEM');
  changeConfig(world, (text) =>
    text.replace('{ folder: bundles }', '{ folder: bundles }\n  - { folder: more }'),
  );
  await waitFor(() => refusalsOf(world, 'config').length > 0, 5000);
  t.match(refusalsOf(world, 'config')[0]?.problem, /bundle:c\.test/);
  t.equal((await world.snapshot()).trust.length, 2);
});
