import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import t from 'tap';

/** Which folder may import from which. Anything that is not listed is an arrow that nobody agreed to. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  reasons: [],
  'http2-lifetime': [],
  'end-watch': [],
  identity: ['reasons'],
  policy: ['identity', 'reasons'],
  message: ['identity', 'reasons'],
  audit: ['reasons', 'identity/signing-key'],
  config: ['identity', 'policy', 'message', 'reasons', 'audit/seal-key'],
  snapshot: ['identity', 'policy', 'message', 'config'],
  sources: ['identity', 'policy', 'message', 'config', 'snapshot', 'reasons', 'audit/seal-key'],
  tls: ['snapshot', 'listener/ports'],
  listener: [
    'identity',
    'policy',
    'message',
    'audit',
    'config',
    'snapshot',
    'reasons',
    'http2-lifetime',
    'end-watch',
  ],
  upstream: [
    'identity',
    'message',
    'config',
    'policy',
    'reasons',
    'listener/ports',
    'http2-lifetime',
    'end-watch',
  ],
  external: ['config', 'policy', 'reasons', 'listener/ports'],
  telemetry: ['audit', 'snapshot', 'reasons', 'listener/ports'],
  admin: ['config'],
  dev: ['identity'],
  'app/app': ['*'],
  'app/app-face': ['listener/ports', 'workers'],
  'app/supervisor': ['*'],
  'app/operator-desk': [
    'admin/ports',
    'external',
    'identity/signing-key',
    'listener',
    'sources',
    'telemetry',
    'workers',
    'app/dependents',
    'app/exception-watch',
    'app/grants',
    'app/own-svid',
    'app/revocations',
    'app/seals',
    'app/signal-view',
    'app/upstream-view',
    'app/view',
    'upstream',
  ],
  'app/upstream-view': ['upstream'],
  'app/view': [
    'identity',
    'listener',
    'snapshot',
    'workers',
    'app/dependents',
    'app/seals',
    'app/signal-view',
    'app/upstream-view',
  ],
  'app/seals': ['audit', 'identity/signing-key', 'telemetry'],
  'app/seal-key-watch': ['audit', 'listener/ports', 'sources'],
  'app/ended-streams': ['audit', 'listener/ports', 'telemetry'],
  'app/signal-view': ['audit', 'listener'],
  'app/endpoints': ['admin', 'config'],
  'app/dependents': ['listener'],
  'app/change-desk': ['audit', 'listener', 'policy', 'snapshot', 'sources', 'telemetry', 'app/changes'],
  'app/changes': [
    'identity',
    'policy',
    'audit',
    'listener',
    'snapshot',
    'app/dependents',
    'app/exception-watch',
    'app/revocations',
  ],
  'app/exception-watch': ['audit', 'config', 'policy'],
  'app/grants': ['config', 'policy', 'sources', 'admin/ports'],
  'app/worker-orders': ['admin/ports', 'workers', 'app/grants'],
  'app/records': [
    'audit',
    'config',
    'listener/ports',
    'telemetry',
    'app/ended-streams',
    'app/record-export',
    'app/seals',
  ],
  'app/record-export': ['audit', 'config', 'listener/ports', 'telemetry'],
  'app/server-trust': ['listener', 'policy', 'reasons', 'snapshot', 'upstream/connector'],
  'app/own-svid': ['identity', 'reasons', 'snapshot', 'listener/ports'],
  'app/revocations': ['identity', 'config', 'snapshot', 'sources', 'admin/ports'],
  workers: [],
  cli: ['*'],
  main: ['cli'],
};

/** Third-party packages, and where each may be used. */
const packages: Readonly<Record<string, readonly string[]>> = {
  '@peculiar/x509': ['dev'],
  'reflect-metadata': ['dev'],
  '@peculiar/asn1-schema': ['dev'],
  '@peculiar/asn1-x509': ['dev'],
  '@marcbachmann/cel-js': ['policy'],
  jose: ['identity', 'audit'],
  pino: ['telemetry'],
  'prom-client': ['telemetry'],
  yaml: ['config'],
  zod: ['config'],
  '@grpc/grpc-js': ['sources', 'dev'],
  '@grpc/proto-loader': ['sources', 'dev'],
  '@opentelemetry/otlp-transformer': ['telemetry'],
  '@opentelemetry/resources': ['telemetry'],
};

const pure = new Set(['reasons', 'identity', 'policy', 'message', 'audit', 'config']);
/** The files of a pure folder that touch the world: they read files and folders, one in a thread of its own, one in slices. */
const impureFiles = new Set(
  ['load.ts', 'config-data.ts', 'load-off-thread.ts', 'bundle-folder.ts'].map((name) =>
    join('src', 'config', name),
  ),
);
/** Node modules that a pure folder may use: none of them does I/O. */
const pureBuiltins = new Set([
  'node:crypto',
  'node:path',
  'node:net',
  'node:util',
  'node:buffer',
  'node:zlib',
]);
const impureWords =
  /\b(Date\.now|new Date\(\)|Math\.random|setTimeout|setInterval|setImmediate|process\.(env|hrtime|nextTick)|randomBytes|performance\.now)\b/;

interface Import {
  readonly file: string;
  readonly folder: string;
  readonly to: string;
}

const sourceFiles = (folder: string): string[] =>
  readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? sourceFiles(path) : path.endsWith('.ts') ? [path] : [];
  });

const files = sourceFiles('src');
const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
/** Of `app`, which knows every folder, each file has its own arrows: only two of them are to know them all. */
const folderOf = (file: string): string => {
  const path = relative('src', file).replace(/\.ts$/, '');
  return path.startsWith('app/') ? path : path.split('/')[0]!;
};

const imports: Import[] = files.flatMap((file) => {
  const text = withoutComments(readFileSync(file, 'utf8'));
  const found = text.matchAll(
    /^(?:import|export)\b[^;']*\bfrom '([^']+)'|^import '([^']+)'|\bimport\(\s*'([^']+)'/gm,
  );
  return [...found].map(([, from, bare, lazy]) => ({
    file,
    folder: folderOf(file),
    to: from ?? bare ?? lazy ?? '',
  }));
});

t.test('there is something to look at', async (t) => {
  t.ok(files.length > 50);
  t.ok(imports.length > 100);
});

t.test('folders import only along the agreed arrows', async (t) => {
  for (const { file, folder, to } of imports) {
    if (!to.startsWith('.')) continue;
    const target = relative('src', resolve(dirname(file), to)).replace(/\.js$/, '');
    const [targetFolder] = target.split('/');
    if (targetFolder === folder) continue;
    const allowed = arrows[folder];
    const fine = allowed?.includes('*') || allowed?.includes(targetFolder!) || allowed?.includes(target);
    t.ok(fine, `${file} imports ${target}`);
  }
});

t.test('third-party packages stay where they belong', async (t) => {
  for (const { file, folder, to } of imports) {
    if (to.startsWith('.') || to.startsWith('node:')) continue;
    const name = to.startsWith('@') ? to.split('/').slice(0, 2).join('/') : to.split('/')[0]!;
    t.ok(packages[name]?.includes(folder), `${file} uses ${name}`);
  }
});

t.test('pure folders do no I/O, read no clock and draw no lots', async (t) => {
  for (const { file, folder, to } of imports) {
    if (!pure.has(folder) || !to.startsWith('node:')) continue;
    t.ok(pureBuiltins.has(to) || impureFiles.has(file), `${file} uses ${to}`);
  }
  for (const file of files) {
    if (!pure.has(folderOf(file)) || impureFiles.has(file)) continue;
    const word = impureWords.exec(withoutComments(readFileSync(file, 'utf8')));
    t.equal(word, null, `${file} uses ${word?.[0]}`);
  }
});

t.test('only authorize makes a permit, and only the listener asks for one', async (t) => {
  for (const file of files) {
    const text = withoutComments(readFileSync(file, 'utf8'));
    if (file !== join('src', 'policy', 'permit.ts'))
      t.notMatch(text, /permitBrand/, `${file} forges a permit`);
    t.notMatch(text, /as (unknown as )?Permit\b/, `${file} casts to a permit`);
  }
});
