import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runExplain } from '../../../src/cli/explain.js';

const CONFIG = `version: 1
identity: { files: { certificate: a.pem, key: b.pem } }
trust: [{ trustDomain: a.test, bundle: { file: c.pem } }]
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes:
      - { name: public, host: svc.test, path: /public/**, upstream: u }
      - { name: files, host: svc.test, path: /files/**, upstream: u, encodedSlash: allow }
upstreams: { u: { url: "http://127.0.0.1:1" } }
policy: policy.yaml
`;
const POLICY = `version: 1
default: deny
rules:
  - { id: web-reads, owner: us, effect: allow, principals: ["spiffe://a.test/web"], destinations: [u], methods: [GET], paths: ["/public/**", "/files/*"] }
  - { id: no-secrets, effect: deny, principals: ["spiffe://a.test/**"], destinations: [public], paths: ["/public/secret/**"] }
`;

function world(t: { teardown(handler: () => void): void }, config = CONFIG): string {
  const directory = mkdtempSync(join(tmpdir(), 'countersign-explain-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  writeFileSync(join(directory, 'c.yaml'), config);
  writeFileSync(join(directory, 'policy.yaml'), POLICY);
  return directory;
}

async function run(cwd: string, ...argv: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const io = { stdout: (s: string) => out.push(s), stderr: (s: string) => err.push(s), env: {}, cwd };
  return { code: await runExplain(['-c', 'c.yaml', ...argv], io, 0), out: out.join(''), err: err.join('') };
}
const ask = (id: string, method: string, url: string): string[] => [
  '--as',
  id,
  '--method',
  method,
  '--url',
  url,
];

t.test(
  'explain answers 0 for allow and 1 for deny, names the deciding rule and says why not of the others',
  async (t) => {
    const cwd = world(t);
    const allowed = await run(cwd, ...ask('spiffe://a.test/web', 'GET', 'https://svc.test/public/a?x=1'));
    t.equal(allowed.code, 0);
    t.match(allowed.out, /^allow: rule_allowed, rule web-reads, policy [0-9a-f]{16}$/m);
    t.match(allowed.out, /^=> web-reads .*decides/m);
    t.match(allowed.out, /^ - no-secrets .*path \/public\/a is none of \/public\/secret\/\*\*$/m);
    const denied = await run(cwd, ...ask('spiffe://a.test/web', 'GET', 'https://svc.test/public/SECRET/k'));
    t.equal(denied.code, 1);
    t.match(denied.out, /^deny: policy_denied, rule no-secrets/m);
    t.match(denied.out, /^ \+ web-reads .*deny wins/m);
    const nobody = await run(cwd, ...ask('spiffe://a.test/other', 'GET', 'https://svc.test/public/a'));
    t.equal(nobody.code, 1);
    t.match(nobody.out, /^deny: no_rule_matched, rule default/m);
    t.match(nobody.out, /principal spiffe:\/\/a\.test\/other is none of/);
    t.match(
      (await run(cwd, ...ask('spiffe://a.test/web', 'POST', 'https://svc.test/public/a'))).out,
      /method POST is none of GET/,
    );
  },
);

t.test('explain refuses what the listener refuses before policy, with the same reason', async (t) => {
  const cwd = world(t);
  for (const [method, url, reason] of [
    ['GET', 'https://svc.test/elsewhere', 'route_not_found'],
    ['GET', 'https://other.test/public/a', 'route_not_found'],
    ['GET', '/public/a', 'route_not_found'],
    ['GET', 'https://svc.test/public/%2e%2e/admin', 'path_ambiguous'],
    ['GET', 'https://svc.test/public/a%2Fb', 'path_ambiguous'],
    ['TRACE', 'https://svc.test/public/a', 'method_not_allowed'],
    ['get', 'https://svc.test/public/a', 'method_not_allowed'],
  ] as const) {
    const result = await run(cwd, ...ask('spiffe://a.test/web', method, url), '--json');
    t.equal(result.code, 1, url);
    t.match(JSON.parse(result.out), { effect: 'deny', reason }, `${method} ${url}`);
  }
});

t.test('explain shows that both readings of an encoded slash must be allowed', async (t) => {
  const result = await run(
    world(t),
    ...ask('spiffe://a.test/web', 'GET', 'https://svc.test/files/a%2Fb'),
    '--json',
  );
  t.equal(result.code, 1);
  t.match(JSON.parse(result.out), {
    reason: 'no_rule_matched',
    rule: 'default',
    rules: [
      { rule: 'web-reads', matched: false, mismatch: 'decoded_path', text: /no rule allows \/files\/a\/b/ },
      {},
    ],
  });
});

t.test('wrong usage is 64 and a broken configuration 78', async (t) => {
  const cwd = world(t);
  t.equal((await run(cwd)).code, 64);
  t.equal((await run(cwd, ...ask('spiffe://A.test/web', 'GET', 'https://svc.test/'))).code, 64);
  t.equal((await run(cwd, ...ask('spiffe://a.test/web', 'GET', 'svc.test/'))).code, 64);
  t.equal(
    (await run(cwd, ...ask('spiffe://a.test/web', 'GET', 'https://svc.test/'), '--listener', 'nope')).code,
    64,
  );
  t.equal(
    (await run(cwd, ...ask('spiffe://a.test/web', 'GET', 'https://svc.test/'), '--at', 'today')).code,
    64,
  );
  const broken = await run(
    world(t, CONFIG.replace('version: 1', 'version: 9')),
    ...ask('spiffe://a.test/web', 'GET', 'https://svc.test/'),
  );
  t.equal(broken.code, 78);
  t.match(broken.err, /^c\.yaml:1:10 version: must be 1, not 9$/m);
});
