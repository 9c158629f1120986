import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { listBundleFolder } from '../../src/config/bundle-folder.js';
import { parseTrustDomain } from '../../src/identity/spiffe-id.js';
import { parseTrustBundle } from '../../src/identity/trust-bundle.js';
import { bundleDocument, subjectsOf } from '../support/bundle-server.js';
import { bundlePem, mintRoot } from '../support/pki.js';

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
