import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runCheck } from '../../../src/cli/check.js';
import { loadConfigOffThread } from '../../../src/config/load-off-thread.js';
import { mintRoot } from '../../support/pki.js';

const CONFIG = `version: 1
identity: { files: { certificate: own.pem, key: own-key.pem } }
trust: [{ trustDomain: a.test, bundle: { file: bundle.pem } }]
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes: [{ name: public, path: /public/**, upstream: u }]
upstreams: { u: { url: "http://127.0.0.1:1" } }
policy: policy.yaml
`;
const HEAD = 'version: 1\ndefault: deny\nrules:\n';
const reads =
  '  - { id: reads, effect: allow, principals: ["spiffe://a.test/web"], destinations: [u], methods: [GET] }\n';

async function world(t: { teardown(handler: () => void): void }, policy: string, config = CONFIG) {
  const cwd = mkdtempSync(join(tmpdir(), 'countersign-lint-'));
  t.teardown(() => rmSync(cwd, { recursive: true, force: true }));
  const root = await mintRoot('a.test');
  const own = await root.issue('spiffe://a.test/sidecar');
  const files = { 'bundle.pem': root.certPem, 'own.pem': own.chainPem, 'own-key.pem': own.keyPem };
  for (const [name, text] of Object.entries({ ...files, 'c.yaml': config, 'policy.yaml': policy }))
    writeFileSync(join(cwd, name), text);
  return cwd;
}

async function check(cwd: string) {
  const out: string[] = [];
  const err: string[] = [];
  const io = { stdout: (s: string) => out.push(s), stderr: (s: string) => err.push(s), env: {}, cwd };
  return { code: await runCheck(['-c', 'c.yaml'], io), out: out.join(''), err: err.join('') };
}

t.test(
  'check warns of rules that do nothing and of tests that fail, with line and column, and passes',
  async (t) => {
    const closed = reads.replace('id: reads, effect: allow', 'id: closed, effect: deny');
    const lost = reads.replace('id: reads', 'id: lost').replace('methods: [GET]', 'paths: [/private]');
    const tests = 'tests:\n  - { as: "spiffe://a.test/web", request: "GET /public/a", expect: allow }\n';
    const cwd = await world(t, HEAD + reads + closed + lost + tests);
    const { code, out, err } = await check(cwd);
    t.equal(code, 0);
    t.equal(out, 'c.yaml: good, 3 warnings\n');
    t.same(err.trim().split('\n'), [
      'policy.yaml:4:5 rules[0]: warning: never allows anything: `closed` (rules[1]) denies all of it',
      'policy.yaml:6:5 rules[2]: warning: can never match: paths: no route to u has such a path',
      'policy.yaml:8:5 tests[0]: warning: the test fails: expected allow, got deny (closed: matches and decides: deny)',
    ]);
  },
);

t.test('check lints the policy that is tried out as well', async (t) => {
  const cwd = await world(t, HEAD + reads, `${CONFIG}shadowPolicy: next.yaml\n`);
  writeFileSync(join(cwd, 'next.yaml'), HEAD + reads + reads.replace('id: reads', 'id: again'));
  const { err } = await check(cwd);
  t.equal(
    err,
    'next.yaml:5:5 rules[1]: warning: adds nothing: `reads` (rules[0]) allows all that it allows\n',
  );
});

t.test('a proxy that reloads does not lint: that is for people, and takes its time', async (t) => {
  const cwd = await world(t, HEAD + reads + reads.replace('id: reads', 'id: again'));
  const { warnings, policy } = await loadConfigOffThread(join(cwd, 'c.yaml'), {});
  t.ok(policy);
  t.same(warnings, []);
});

t.test('check of ten thousand rules takes seconds, and shows a hundred of its warnings', async (t) => {
  const rules = Array.from({ length: 10_000 }, (_, i) =>
    reads.replace('id: reads', `id: r${i}`).replace('a.test/web', `a.test/web/${i % 5000}`),
  );
  const cwd = await world(t, HEAD + rules.join(''));
  const started = performance.now();
  const { code, out, err } = await check(cwd);
  const tookMs = performance.now() - started;
  t.comment(`${tookMs.toFixed(0)} ms`);
  t.equal(code, 0);
  t.equal(out, 'c.yaml: good, 100 warnings\n');
  t.match(err, /^policy\.yaml:5004:5 rules\[5000\]: warning: adds nothing: `r0` \(rules\[0\]\)/);
  t.match(err, /further warnings are not shown/);
  t.ok(tookMs < 10_000, `${tookMs.toFixed(0)} ms`);
});
