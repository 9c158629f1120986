import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runCheck } from '../../../src/cli/check.js';
import { formatJsonSchema, jsonSchemas } from '../../../src/config/json-schema.js';
import { loadAll, loadConfig } from '../../../src/config/load.js';
import { loadConfigOffThread } from '../../../src/config/load-off-thread.js';
import { readPolicyFile } from '../../../src/config/policy-file.js';
import { formatProblem } from '../../../src/config/problem.js';
import { parseRevocations } from '../../../src/config/revocations.js';
import { compilePolicy } from '../../../src/policy/policy.js';
import { type Authority, mintRoot } from '../../support/pki.js';

/** Those whose files can be made here; the others name places that only their platform has. */
const LOCAL = ['minimal.yaml', 'full.yaml', 'two-domains.yaml', 'federation.yaml'];
const EXAMPLES = readdirSync('config').filter(
  (name) => name.endsWith('.yaml') && !/policy|revoked|registry/.test(name),
);
const SIDECAR = 'spiffe://example.org/ns/prod/sa/sidecar';

interface World {
  readonly directory: string;
  readonly root: Authority;
}

/** A copy of config/ with the pki/ folder that its files name. */
async function mintWorld(t: { teardown(handler: () => void): void }): Promise<World> {
  const directory = mkdtempSync(join(tmpdir(), 'countersign-examples-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  cpSync('config', directory, { recursive: true });
  mkdirSync(join(directory, 'pki'));
  const root = await mintRoot('example.org');
  const partner = await mintRoot('partner.example');
  const own = await root.issue(SIDECAR);
  put(directory, 'bundle.pem', root.certPem);
  put(directory, 'partner-bundle.pem', partner.certPem);
  put(directory, 'supplier-bundle.pem', (await mintRoot('supplier.example')).certPem);
  put(directory, 'sidecar.pem', own.chainPem);
  put(directory, 'sidecar-key.pem', own.keyPem);
  const notAfter = new Date(Date.now() + 30 * 86_400_000);
  const web = await root.issue(SIDECAR, { otherSans: ['DNS:billing.example.com'], notAfter });
  put(directory, 'billing-server.pem', web.chainPem);
  put(directory, 'billing-server-key.pem', web.keyPem);
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = { ...publicKey.export({ format: 'jwk' }), kid: 'ci-1', alg: 'ES256', use: 'sig' };
  put(directory, 'ci-jwks.json', JSON.stringify({ keys: [key] }));
  return { directory, root };
}

const put = (directory: string, name: string, text: string): void =>
  writeFileSync(join(directory, 'pki', name), text);
const check = async (directory: string, name = 'minimal.yaml') =>
  (await loadAll(join(directory, name), {}, Date.now())).problems.map(formatProblem);

t.test('the published JSON Schemas are the ones that the code checks by', async (t) => {
  const schemas = jsonSchemas();
  t.same(
    Object.keys(schemas).sort(),
    readdirSync('config')
      .filter((name) => name.endsWith('.schema.json'))
      .sort(),
  );
  for (const [name, schema] of Object.entries(schemas)) {
    t.equal(readFileSync(join('config', name), 'utf8'), formatJsonSchema(schema), name);
  }
});

t.test('every example loads without a problem or warning, also in a thread of its own', async (t) => {
  t.ok(EXAMPLES.length >= 6);
  for (const name of EXAMPLES) {
    const { config, policy, problems, warnings } = await loadConfig(join('config', name), {});
    t.same([problems, warnings], [[], []], name);
    const other = await loadConfigOffThread(join('config', name), {});
    t.same(other.config, config, name);
    t.equal(other.policy?.revision, policy?.revision, name);
  }
  t.equal(parseRevocations(readFileSync('config/revoked.yaml'), 'revoked.yaml').list?.entries.length, 5);
});

t.test('full.yaml shows every key, and minimal.yaml gets the same defaults', async (t) => {
  const full = (await loadConfig('config/full.yaml', {})).config;
  const minimal = (await loadConfig('config/minimal.yaml', {})).config;
  for (const key of ['limits', 'deadlines', 'drain', 'audit'] as const)
    t.same(minimal?.[key], full?.[key], key);
  t.match(minimal, {
    limits: {
      connections: 10_000,
      headerBytes: 16_384,
      headerCount: 100,
      bodyBytes: Number.POSITIVE_INFINITY,
    },
    deadlines: {
      handshakeMs: 10_000,
      headMs: 10_000,
      bodyMs: 60_000,
      idleMs: 75_000,
      connectionAgeMs: 3_600_000,
      accessEndMs: 10_000,
    },
    drain: { delayMs: 5000, deadlineMs: 20_000 },
    forward: { xfcc: 'sanitize_set', spiffeId: true, clientCert: false, headers: [] },
    audit: { file: '-', durability: 'buffered', onFailure: 'deny' },
    identityOptions: { clockSkewMs: 0 },
    trustedPeers: { gateways: [] },
  });
  t.equal(minimal?.admin, undefined, 'no default opens a port');
  t.equal(minimal?.health, undefined, 'no default opens a port');
  t.same(minimal?.listeners[0]?.routes[0]?.upgrade, [], 'no upgrade unless named');
  t.equal(minimal?.listeners[0]?.routes[0]?.encodedSlash, false);
  t.match(full?.upstreams.get('billing'), { timeouts: { connectMs: 2000, responseMs: 30_000 } });
  t.match(minimal?.upstreams.get('billing'), { timeouts: { connectMs: 5000, responseMs: 60_000 } });
  const text = readFileSync('config/full.yaml', 'utf8');
  for (const key of builtKeys(jsonSchemas()['countersign.schema.json']))
    t.match(text, new RegExp(`\\b${key}:`), key);
});

t.test('check passes on every example with a PKI in place', async (t) => {
  const { directory } = await mintWorld(t);
  for (const name of LOCAL) t.same(await check(directory, name), [], name);
});

t.test('check says which own file is wrong and why, at the key that names it', async (t) => {
  const { directory, root } = await mintWorld(t);
  const own = await root.issue(SIDECAR);
  const cases: readonly [what: string, files: Record<string, string>, problem: RegExp][] = [
    [
      'a key of another certificate',
      { 'sidecar-key.pem': own.keyPem },
      /:6:\d+ identity\.files\.key: .*not the key of the certificate/,
    ],
    ['no key at all', { 'sidecar-key.pem': 'x' }, /identity\.files\.key: .*not a private key/],
    [
      'an expired certificate',
      await pair(root, { notBefore: new Date(Date.now() - 7.2e6), notAfter: new Date(Date.now() - 3.6e6) }),
      /identity\.files\.certificate: .*svid_expired/,
    ],
    [
      'a foreign authority',
      await pair(await mintRoot('example.org'), {}),
      /identity\.files\.certificate: .*chain_/,
    ],
    [
      'a domain that is not configured',
      await pair(await mintRoot('other.test'), {}, 'spiffe://other.test/x'),
      /other\.test, which is not configured/,
    ],
    ['a CA as own certificate', { 'sidecar.pem': root.certPem }, /identity\.files\.certificate: .*svid_/],
    [
      'a key in the certificate file',
      { 'sidecar.pem': own.chainPem + own.keyPem },
      /line \d+: .*PRIVATE KEY/,
    ],
    [
      'a certificate cut short',
      { 'sidecar.pem': own.chainPem.slice(0, 200) },
      /identity\.files\.certificate: .*no end/,
    ],
    ['an empty certificate file', { 'sidecar.pem': '' }, /identity\.files\.certificate: .*no certificate/],
  ];
  const good = await pair(root, {});
  for (const [what, files, problem] of cases) {
    for (const [name, text] of Object.entries({ ...good, ...files })) put(directory, name, text);
    const problems = await check(directory);
    t.equal(problems.length, 1, `${what}: ${problems.join(' | ')}`);
    t.match(problems[0], problem, what);
  }
});

t.test('check refuses an own credential that is revoked, by either kind of list', async (t) => {
  const { directory, root } = await mintWorld(t);
  const own = await root.issue(SIDECAR);
  put(directory, 'sidecar.pem', own.chainPem);
  put(directory, 'sidecar-key.pem', own.keyPem);
  put(directory, 'ca.crl', (await root.crl({ revoked: [own.serial] })).pem);
  const text = readFileSync(join(directory, 'minimal.yaml'), 'utf8');
  const withCrl = text.replace(
    '{ file: pki/bundle.pem }',
    '{ file: pki/bundle.pem }\n    revocation: { crls: [pki/ca.crl] }',
  );
  writeFileSync(join(directory, 'crl.yaml'), withCrl);
  t.match(await check(directory, 'crl.yaml'), [/svid_revoked/]);
  const past = { thisUpdate: new Date(Date.now() - 7.2e6), nextUpdate: new Date(Date.now() - 3.6e6) };
  put(directory, 'ca.crl', (await root.crl({ revoked: [], ...past })).pem);
  const { warnings } = await loadAll(join(directory, 'crl.yaml'), {}, Date.now());
  t.match(warnings.map(formatProblem), [/crls\[0\]: .*has expired, not the certificate/]);
  const foreign = await (await mintRoot('example.org')).crl({ revoked: [] });
  put(directory, 'ca.crl', foreign.pem);
  t.match(await check(directory, 'crl.yaml'), [/trust\[0\]\.revocation\.crls\[0\]/]);
  writeFileSync(
    join(directory, 'list.yaml'),
    `version: 1\nrevoked:\n  - { id: "${SIDECAR}", reason: leaked }\n`,
  );
  writeFileSync(join(directory, 'listed.yaml'), `${text}revocations: list.yaml\n`);
  t.match(await check(directory, 'listed.yaml'), [/svid_revoked \(leaked\)/]);
});

t.test(
  'the check verb answers 0 or 78, problems on stderr as file:line:col, and JSON when asked',
  async (t) => {
    const { directory } = await mintWorld(t);
    const run = async (...argv: string[]) => {
      const out: string[] = [];
      const err: string[] = [];
      const io = {
        stdout: (s: string) => out.push(s),
        stderr: (s: string) => err.push(s),
        env: {},
        cwd: directory,
      };
      return { code: await runCheck(argv, io), out: out.join(''), err: err.join('') };
    };
    t.match(await run('-c', 'full.yaml'), { code: 0, out: 'full.yaml: good\n', err: '' });
    writeFileSync(join(directory, 'broken.yaml'), 'version: 3\n');
    const broken = await run('-c', 'broken.yaml');
    t.equal(broken.code, 78);
    t.match(broken.err, /^broken\.yaml:1:10 version: must be 1, not 3$/m);
    t.match(broken.err, /^broken\.yaml: 6 problems$/m);
    const json = await run('-c', 'broken.yaml', '--json');
    t.equal(json.code, 78);
    t.match(JSON.parse(json.out), { ok: false, problems: [{ line: 1, path: 'identity' }] });
    t.equal((await run()).code, 64);
    t.equal((await run('-c')).code, 64);
    t.equal((await run('--nope')).code, 64);
    t.match(await run('--help'), { code: 0, out: /^Usage/ });
  },
);

t.test('a policy keeps its revision through comments, spacing and style', async (t) => {
  const text = readFileSync('config/policy.yaml', 'utf8');
  const revisionOf = (text: string): string =>
    compilePolicy(readPolicyFile(text, 'policy.yaml').input ?? { rules: [] }).revision;
  const before = revisionOf(text);
  const same = `# other\n${text.replace('[GET, HEAD]', '\n      - HEAD\n      - "GET"')}\n\n`;
  t.equal(revisionOf(same), before);
  const { tests } = readPolicyFile(text, 'policy.yaml');
  t.same(tests.map((test) => [test.place.line, test.method, test.expect, test.rule])[0], [
    27,
    'GET',
    'allow',
    'web-reads-invoices',
  ]);
  t.not(revisionOf(text.replace('[GET, HEAD]', '[GET]')), before);
});

t.test(
  'a rule that names what is not configured is a problem: a deny that leads nowhere protects nothing',
  async (t) => {
    const { directory } = await mintWorld(t);
    const text = readFileSync('config/policy.yaml', 'utf8')
      .replace('destinations: [billing]', 'destinations: [billing, biling]')
      .replace('spiffe://example.org/ns/prod/sa/batch', 'spiffe://examples.org/batch');
    writeFileSync(join(directory, 'policy.yaml'), text);
    t.match(await check(directory), [
      /policy\.yaml:10:\d+ rules\[0\]\.destinations\[1\]: there is no upstream or route "biling"; did you mean "billing"\?/,
      /policy\.yaml:16:\d+ rules\[1\]\.principals\[0\]: trust domain examples\.org is not configured/,
    ]);
  },
);

t.test('ten thousand rules are read within seconds', async (t) => {
  const rules = Array.from(
    { length: 10_000 },
    (_, i) =>
      `  - id: rule-${i}\n    owner: team\n    effect: allow\n    principals: ["spiffe://a.test/ns/n${i}/sa/*"]\n    destinations: [billing]\n    methods: [GET, HEAD]\n    paths: ["/svc-${i}/**"]\n`,
  );
  const start = performance.now();
  const { input: read, problems } = readPolicyFile(
    `version: 1\ndefault: deny\nrules:\n${rules.join('')}`,
    'big.yaml',
  );
  const policy = compilePolicy(read ?? { rules: [] });
  const took = performance.now() - start;
  t.same(problems, []);
  t.equal(policy.rules.length, 10_000);
  t.ok(took < 15_000, `${took.toFixed(0)} ms`);
});

async function pair(root: Authority, options: Parameters<Authority['issue']>[1], uri = SIDECAR) {
  const svid = await root.issue(uri, options);
  return { 'sidecar.pem': svid.chainPem, 'sidecar-key.pem': svid.keyPem };
}

interface SchemaNode {
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly additionalProperties?: SchemaNode | boolean;
  readonly anyOf?: readonly SchemaNode[];
}

function builtKeys(schema: unknown): Set<string> {
  const keys = new Set<string>();
  const visit = (node: SchemaNode | boolean | undefined): void => {
    if (typeof node !== 'object') return;
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      keys.add(key);
      visit(child);
    }
    visit(node.items);
    for (const one of node.anyOf ?? []) visit(one);
    visit(node.additionalProperties);
  };
  visit(schema as SchemaNode);
  return keys;
}
