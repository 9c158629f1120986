import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runPki } from '../../../src/cli/pki.js';
import { parseCrl } from '../../../src/identity/crl.js';
import { parseOwnSvid } from '../../../src/identity/own-svid.js';
import { parseSpiffeId, parseTrustDomain } from '../../../src/identity/spiffe-id.js';
import { bindCrls, parseTrustBundle, type TrustBundle } from '../../../src/identity/trust-bundle.js';
import { createSignatureCheck, verifyX509Svid } from '../../../src/identity/x509-svid.js';
import { mintRoot } from '../../support/pki.js';

const HOUR_MS = 3_600_000;

t.test('a default SVID looks like production', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  const certificate = new X509Certificate(svid.certDer);
  t.equal(certificate.ca, false);
  t.same(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.equal(certificate.subjectAltName, 'URI:spiffe://a.test/web');
  t.match(svid.serial, /^[4-7][0-9a-f]{31}$/, 'positive and 16 bytes');
  t.equal(svid.notAfter.getTime() - svid.notBefore.getTime() <= HOUR_MS + 11_000, true);
  t.ok(certificate.verify(new X509Certificate(root.certDer).publicKey));
  t.not((await root.issue('spiffe://a.test/web')).serial, svid.serial);
});

t.test('an intermediate puts itself into the chains of its leaves, a root does not', async (t) => {
  const root = await mintRoot('a.test');
  const below = await (await root.intermediate()).intermediate({ subject: 'CN=deeper' });
  t.equal((await root.issue('spiffe://a.test/web')).chainDer.length, 1);
  const svid = await below.issue('spiffe://a.test/web');
  t.equal(svid.chainDer.length, 3);
  t.equal(svid.chainPem.match(/BEGIN CERTIFICATE/g)?.length, 3);
});

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function pki(cwd: string, ...argv: string[]): Promise<Run> {
  let out = '';
  let err = '';
  const code = await runPki(argv, {
    stdout: (text) => {
      out += text;
    },
    stderr: (text) => {
      err += text;
    },
    cwd,
  });
  return { code, out, err };
}

const temporary = (t: Tap): string => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-pki-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
};
type Tap = { teardown(action: () => void): void };

function bundleIn(file: string): TrustBundle {
  const domain = parseTrustDomain('a.test');
  if (!domain.ok) throw new Error(domain.error);
  const bundle = parseTrustBundle(domain.value, readFileSync(file));
  if (!bundle.ok) throw new Error(bundle.error);
  return bundle.value;
}

function verdict(folder: string, name: string, bundle: TrustBundle): string {
  const own = parseOwnSvid(
    readFileSync(join(folder, `${name}.pem`)),
    readFileSync(join(folder, `${name}-key.pem`)),
  );
  if (!own.ok) return own.error.message;
  const verified = verifyX509Svid(own.value.chain, new Map([['a.test', bundle]]), Date.now(), {
    clockSkewMs: 0,
    checkSignature: createSignatureCheck(),
  });
  return verified.ok ? verified.value.id.uri : verified.error.reason;
}

t.test('the verbs make a CA whose SVIDs verify, with keys for the owner only', async (t) => {
  const folder = temporary(t);
  t.equal((await pki(folder, 'init', '--dir', 'pki', '--trust-domain', 'a.test')).code, 0);
  const pkiFolder = join(folder, 'pki');
  const issued = await pki(
    folder,
    'issue',
    '--dir',
    'pki',
    '--id',
    'spiffe://a.test/ns/prod/sa/web',
    '--dns',
    'web.a.test',
  );
  t.equal(issued.code, 0, issued.err);
  const bundle = bundleIn(join(pkiFolder, 'bundle.pem'));
  t.equal(verdict(pkiFolder, 'web', bundle), 'spiffe://a.test/ns/prod/sa/web');
  for (const name of ['root-key.pem', 'web-key.pem'])
    t.equal(statSync(join(pkiFolder, name)).mode & 0o777, 0o600, `${name} is for its owner`);
  t.equal((await pki(folder, 'intermediate', '--dir', 'pki')).code, 0);
  t.equal(
    (
      await pki(
        folder,
        'issue',
        '--dir',
        'pki',
        '--id',
        'spiffe://a.test/api',
        '--out',
        'sidecar',
        '--ttl',
        '5m',
      )
    ).code,
    0,
  );
  t.equal(verdict(pkiFolder, 'sidecar', bundle), 'spiffe://a.test/api');
  t.equal(
    readFileSync(join(pkiFolder, 'sidecar.pem'), 'utf8').match(/BEGIN/g)?.length,
    2,
    'leaf and intermediate',
  );
  t.notOk(
    readdirSync(pkiFolder).some((name) => name.startsWith('.')),
    'no half-written file is left',
  );
});

t.test('a revocation list grows, binds to its authority and keeps what it revoked', async (t) => {
  const folder = temporary(t);
  await pki(folder, 'init', '--dir', '.', '--trust-domain', 'a.test');
  for (const name of ['web', 'api'])
    await pki(folder, 'issue', '--dir', '.', '--id', `spiffe://a.test/${name}`);
  t.equal((await pki(folder, 'crl', '--dir', '.', '--revoke', 'web.pem')).code, 0);
  t.equal((await pki(folder, 'crl', '--dir', '.', '--revoke', '00:AB:CD', '--ttl', '2h')).code, 0);
  const crl = parseCrl(readFileSync(join(folder, 'root.crl')));
  if (!crl.ok) throw new Error(crl.error);
  t.equal(crl.value.number, 2n);
  t.equal(crl.value.size, 2);
  t.ok(crl.value.has('abcd'));
  t.ok(crl.value.has(new X509Certificate(readFileSync(join(folder, 'web.pem'))).serialNumber.toLowerCase()));
  t.ok(bindCrls(bundleIn(join(folder, 'bundle.pem')), [crl.value]).ok);
  const other = await mintRoot('b.test');
  writeFileSync(join(folder, 'other.pem'), (await other.issue('spiffe://b.test/x')).certPem);
  const foreign = await pki(folder, 'crl', '--dir', '.', '--revoke', 'other.pem');
  t.equal(foreign.code, 1);
  t.match(foreign.err, /was not issued by/);
});

t.test('the bundle comes as PEM and as a SPIFFE document of the same authorities', async (t) => {
  const folder = temporary(t);
  await pki(folder, 'init', '--dir', '.', '--trust-domain', 'a.test');
  await pki(folder, 'intermediate', '--dir', '.');
  const spiffe = await pki(folder, 'bundle', '--dir', '.', '--format', 'spiffe', '--with-intermediate');
  writeFileSync(join(folder, 'bundle.json'), spiffe.out);
  await pki(folder, 'bundle', '--dir', '.', '--with-intermediate', '--out', 'both.pem');
  const [json, text] = [bundleIn(join(folder, 'bundle.json')), bundleIn(join(folder, 'both.pem'))];
  t.equal(json.authorities.length, 2);
  t.equal(json.revision, text.revision);
});

t.test('show says what a file holds and never a key', async (t) => {
  const folder = temporary(t);
  await pki(folder, 'init', '--dir', '.', '--trust-domain', 'a.test');
  await pki(folder, 'issue', '--dir', '.', '--id', 'spiffe://a.test/web');
  await pki(folder, 'crl', '--dir', '.', '--revoke', '05');
  const shown = await pki(folder, 'show', 'web.pem', 'web-key.pem', 'root.crl');
  t.equal(shown.code, 0);
  t.match(shown.out, /spiffe:\/\/a\.test\/web/);
  t.match(shown.out, /private key \(line 1\)/);
  t.match(shown.out, /revoked +1/);
  const key = readFileSync(join(folder, 'web-key.pem'), 'utf8').split('\n')[1] ?? '';
  t.ok(key.length > 20 && !shown.out.includes(key));
});

t.test('wrong usage is 64, what cannot be done is 1, and both say why', async (t) => {
  const folder = temporary(t);
  const cases: [number, RegExp, string[]][] = [
    [0, /^$/, ['--help']],
    [0, /^$/, ['issue', '--help']],
    [64, /a verb is missing/, []],
    [64, /unknown verb "mint"/, ['mint']],
    [64, /--trust-domain is missing/, ['init', '--dir', '.']],
    [64, /capital letters/, ['init', '--dir', '.', '--trust-domain', 'A.test']],
    [64, /Unknown option/, ['init', '--dir', '.', '--trust-domain', 'a.test', '--colour']],
    [64, /--ttl/, ['init', '--dir', '.', '--trust-domain', 'a.test', '--ttl', 'soon']],
    [1, /run pki init first/, ['issue', '--dir', '.', '--id', 'spiffe://a.test/web']],
    [0, /^$/, ['init', '--dir', '.', '--trust-domain', 'a.test']],
    [1, /is there already/, ['init', '--dir', '.', '--trust-domain', 'a.test']],
    [64, /a workload has a path/, ['issue', '--dir', '.', '--id', 'spiffe://a.test']],
    [64, /the path has a dot segment/, ['issue', '--dir', '.', '--id', 'spiffe://a.test/../x']],
    [64, /a name without a folder/, ['issue', '--dir', '.', '--id', 'spiffe://a.test/x', '--out', '../x']],
    [64, /the CA's own files/, ['issue', '--dir', '.', '--id', 'spiffe://a.test/root']],
    [64, /--format/, ['bundle', '--dir', '.', '--format', 'der']],
    [64, /--issuer/, ['crl', '--dir', '.', '--issuer', 'leaf']],
    [1, /holds no intermediate/, ['crl', '--dir', '.', '--issuer', 'intermediate']],
    [1, /neither a serial in hex nor a file/, ['crl', '--dir', '.', '--revoke', 'nobody.pem']],
    [64, /show needs a file/, ['show']],
    [1, /does not exist/, ['show', 'nothing.pem']],
  ];
  for (const [code, message, argv] of cases) {
    const run = await pki(folder, ...argv);
    t.equal(run.code, code, argv.join(' '));
    t.match(run.err, message, argv.join(' '));
  }
  t.match((await pki(folder, '--help')).out, /never use it in production/);
});

t.test('a key that is missing or a folder that cannot be written is said plainly', async (t) => {
  const folder = temporary(t);
  await pki(folder, 'init', '--dir', '.', '--trust-domain', 'a.test');
  rmSync(join(folder, 'root-key.pem'));
  const run = await pki(folder, 'issue', '--dir', '.', '--id', 'spiffe://a.test/web');
  t.equal(run.code, 1);
  t.match(run.err, /root-key\.pem is missing/);
  writeFileSync(join(folder, 'file'), '');
  const blocked = await pki(folder, 'init', '--dir', 'file/pki', '--trust-domain', 'a.test');
  t.equal(blocked.code, 1);
  t.match(blocked.err, /cannot be (read|written) \(ENOTDIR\)/);
});

t.test('a workload of another domain can be minted, and the CA says so', async (t) => {
  const folder = temporary(t);
  await pki(folder, 'init', '--dir', '.', '--trust-domain', 'a.test');
  const run = await pki(folder, 'issue', '--dir', '.', '--id', 'spiffe://b.test/web');
  t.match(run.out, /this CA is of a\.test/);
  t.ok(parseSpiffeId('spiffe://b.test/web').ok);
});
