import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runPolicy } from '../../../src/cli/policy-test.js';
import { readPolicyFile } from '../../../src/config/policy-file.js';
import { formatProblem } from '../../../src/config/problem.js';

const CONFIG = `version: 1
identity: { files: { certificate: a.pem, key: b.pem } }
trust: [{ trustDomain: a.test, bundle: { file: c.pem } }]
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes: [{ name: public, path: /public/**, upstream: u }]
upstreams: { u: { url: "http://127.0.0.1:1" } }
policy: policy.yaml
`;
const POLICY = `version: 1
default: deny
reads: { headers: [x-region] }
rules:
  - { id: reads, effect: allow, principals: ["spiffe://a.test/web"], destinations: [u], methods: [GET] }
  - { id: secret, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/public/secret"] }
  - { id: fresh, effect: allow, principals: ["spiffe://a.test/batch"], destinations: [u], when: 'credential.age < duration("1h")' }
  - { id: region, effect: allow, principals: ["spiffe://a.test/eu"], destinations: [u], when: '"x-region" in request.headers' }
tests:
`;
const EXCEPTION =
  'exceptions:\n  - { id: EX-1, owner: us, reason: migration, expires: 1970-01-02T00:00:00Z, allow: { principals: ["spiffe://a.test/web"], destinations: [u], methods: [PUT] } }\n';
const EXTRA =
  '  - { id: tried, mode: shadow, effect: deny, principals: ["spiffe://a.test/web"], destinations: [u] }\n';

async function run(
  t: { teardown(handler: () => void): void },
  tests: readonly string[],
  { policy = POLICY, config = CONFIG, argv = [] as readonly string[] } = {},
) {
  const cwd = mkdtempSync(join(tmpdir(), 'countersign-policy-test-'));
  t.teardown(() => rmSync(cwd, { recursive: true, force: true }));
  writeFileSync(join(cwd, 'c.yaml'), config);
  const list = tests.length === 0 ? '  []\n' : tests.map((test) => `  - { ${test} }\n`).join('');
  writeFileSync(join(cwd, 'policy.yaml'), policy + list);
  const out: string[] = [];
  const err: string[] = [];
  const io = { stdout: (s: string) => out.push(s), stderr: (s: string) => err.push(s), env: {}, cwd };
  return {
    code: await runPolicy(['test', '-c', 'c.yaml', ...argv], io, 0),
    out: out.join(''),
    err: err.join(''),
  };
}
const web = 'as: "spiffe://a.test/web", request: "GET /public/a"';

t.test('a policy that does what its tests expect passes, a line each', async (t) => {
  const { code, out } = await run(t, [
    `${web}, expect: allow, rule: reads`,
    'as: "spiffe://a.test/web", request: "GET /public/SECRET", expect: deny, rule: secret',
    'as: "spiffe://a.test/web", request: "POST /public/a", expect: deny, rule: default',
    'as: "spiffe://a.test/batch", request: "POST /public/a", expect: allow, credential: { age: 59m }',
    'as: "spiffe://a.test/batch", request: "POST /public/a", expect: deny, at: 2026-01-01T00:00:00Z, credential: { notBefore: 2025-12-31T00:00:00Z }',
    'as: "spiffe://a.test/eu", request: "GET /public/a", expect: allow, headers: { x-region: eu }',
    'as: "spiffe://a.test/eu", request: "GET /public/a", expect: deny, headers: {}',
  ]);
  t.equal(out.match(/^ok /gm)?.length, 7, out);
  t.match(out, /^ok 1 - spiffe:\/\/a\.test\/web GET \/public\/a: allow, reads$/m);
  t.match(out, /^# 7 tests, all as expected$/m);
  t.equal(code, 0);
});

t.test('a test that fails says where it stands, what was expected, what came, and why', async (t) => {
  const { code, out } = await run(
    t,
    [
      'as: "spiffe://a.test/web", request: "DELETE /public/a", expect: allow',
      `${web}, expect: deny`,
      `${web}, expect: allow, rule: fresh`,
      `${web}, expect: allow, exception: EX-1`,
    ],
    { policy: POLICY.replace('tests:\n', `${EXCEPTION}tests:\n`) },
  );
  t.equal(code, 1);
  const lines = out.split('\n');
  t.same(lines.slice(0, 3), [
    'not ok 1 - spiffe://a.test/web DELETE /public/a',
    '    policy.yaml:12:5 expected allow, got deny',
    '    reads: method DELETE is none of GET',
  ]);
  t.match(lines[4], /policy\.yaml:13:5 expected deny, got allow/);
  t.match(lines[5], /reads: matches and decides: allow/);
  t.match(lines[7], /expected rule fresh, got reads/);
  t.match(lines[8], /fresh: principal spiffe:\/\/a\.test\/web is none of spiffe:\/\/a\.test\/batch/);
  t.match(lines[10], /expected exception EX-1, got none/);
  t.match(out, /^# 4 tests, 4 not as expected$/m);
});

t.test('a test whose answer hangs on what it does not tell fails, and says which key tells it', async (t) => {
  const batch = 'as: "spiffe://a.test/batch", request: "GET /public/a"';
  for (const expect of ['allow', 'deny']) {
    const { code, out } = await run(t, [`${batch}, expect: ${expect}`]);
    t.equal(code, 1);
    t.match(out, new RegExp(`expected ${expect}, got undecidable`));
    t.match(
      out,
      /hangs on credential\.notBefore, which is not known; tell it: credential: \{ notBefore: TIME \}/,
    );
  }
  const { out } = await run(t, ['as: "spiffe://a.test/eu", request: "GET /public/a", expect: allow']);
  t.match(out, /hangs on request\.headers\["x-region"\].*headers: \{ x-region: VALUE \}, or headers: \{\}/);
});

t.test(
  'what is refused before policy is a deny that says so, as is a credential out of its dates',
  async (t) => {
    const { code, out } = await run(t, [
      'as: "spiffe://a.test/web", request: "GET /elsewhere", expect: deny',
      'as: "spiffe://a.test/web", request: "GET /elsewhere", expect: deny, rule: default',
      `${web}, expect: deny, at: 2026-01-01T00:00:00Z, credential: { notAfter: 2025-01-01T00:00:00Z }`,
    ]);
    t.equal(code, 1);
    t.match(out, /^ok 1 - .*: deny, route_not_found, before policy$/m);
    t.match(out, /^not ok 2 - /m);
    t.match(out, /expected rule default, got none\n +never reaches policy: no route/);
    t.match(out, /^ok 3 - .*: deny, svid_expired, before policy$/m);
  },
);

t.test('the decision that is tried out can be expected too', async (t) => {
  const policy = POLICY.replace('tests:\n', `${EXTRA}tests:\n`);
  const tests = [`${web}, expect: allow, shadow: deny`, `${web}, expect: allow, shadow: allow`];
  const { code, out } = await run(t, tests, { policy });
  t.equal(code, 1);
  t.match(out, /^ok 1 - .*: allow, reads; in shadow deny$/m);
  t.match(out, /expected in shadow allow, got deny\n +in shadow tried decides/);
  const none = await run(t, [`${web}, expect: allow, shadow: allow`]);
  t.equal(none.code, 1);
  t.match(none.out, /nothing is tried out/);
});

t.test('what only hides what is tried out leaves the answer in force as it is', async (t) => {
  const tried = EXTRA.replace(' }\n', `, when: 'connection.resumed' }\n`);
  const tests = [
    `${web}, expect: allow, rule: reads`,
    `${web}, expect: deny`,
    `${web}, expect: allow, shadow: deny`,
  ];
  const { code, out } = await run(t, tests, { policy: POLICY.replace('tests:\n', `${tried}tests:\n`) });
  t.equal(code, 1);
  t.match(out, /^ok 1 - .*: allow, reads$/m);
  t.match(out, /expected deny, got allow\n +reads: matches and decides: allow/);
  t.match(out, /expected in shadow deny, got nothing that can be told\n +hangs on connection\.resumed/);
});

t.test('the exception that lets a request in can be expected, and is dead at its end', async (t) => {
  const policy = POLICY.replace('tests:\n', `${EXCEPTION}tests:\n`);
  const put = 'as: "spiffe://a.test/web", request: "PUT /public/a"';
  const { code, out } = await run(
    t,
    [
      `${put}, expect: allow, exception: EX-1, rule: EX-1`,
      `${put}, expect: deny, at: 1970-01-02T00:00:00Z`,
      `${put}, expect: allow, at: 1970-01-02T00:00:00Z, exception: EX-1`,
    ],
    { policy },
  );
  t.equal(code, 1);
  t.match(out, /^ok 1 - /m);
  t.match(out, /^ok 2 - /m);
  t.match(
    out,
    /expected allow, got deny; expected exception EX-1, got none\n +EX-1: is dead since 1970-01-02T00:00:00\.000Z/,
  );
  const unknown = await run(t, [`${put}, expect: allow, exception: EX-2`], { policy });
  t.equal(unknown.code, 78);
  t.match(unknown.err, /tests\[0\]\.exception: there is no exception "EX-2"/);
});

t.test('no tests at all is said, and is no failure', async (t) => {
  t.match(await run(t, []), { code: 0, out: /policy\.yaml has no `tests`: nothing was tested/ });
});

t.test('a test that cannot be asked fails: several listeners and none named', async (t) => {
  const config = CONFIG.replace(
    'upstreams:',
    '  - { name: second, address: 127.0.0.1:8444, routes: [{ name: other, path: /**, upstream: u }] }\nupstreams:',
  );
  const { code, out } = await run(t, [`${web}, expect: allow`, `${web}, listener: second, expect: allow`], {
    config,
  });
  t.equal(code, 1);
  t.match(out, /it cannot be asked\n +there are several listeners: inbound, second: say `listener`/);
  t.match(out, /^ok 2 - /m);
});

t.test('the answer is JSON when asked for', async (t) => {
  const { code, out } = await run(t, [`${web}, expect: allow`, `${web}, expect: deny`], { argv: ['--json'] });
  t.equal(code, 1);
  t.match(JSON.parse(out), {
    ok: false,
    tests: [
      { ok: true, at: 'policy.yaml:10:5', request: 'GET /public/a', got: { effect: 'allow', rule: 'reads' } },
      { ok: false, expected: { effect: 'deny' }, wrong: ['expected deny, got allow'] },
    ],
  });
});

t.test('wrong usage is 64, help is 0, and a broken configuration 78', async (t) => {
  t.equal((await run(t, [], { argv: ['more'] })).code, 64);
  t.equal((await run(t, [], { argv: ['--nope'] })).code, 64);
  t.match(await run(t, [], { argv: ['--help'] }), { code: 0, out: /^Usage: countersign policy test/ });
  const broken = await run(t, [`${web}, expect: maybe`]);
  t.equal(broken.code, 78);
  t.match(broken.err, /^policy\.yaml:10:\d+ tests\[0\]\.expect: /m);
});

t.test('a test that says what nobody can mean is a problem of the file', async (t) => {
  const problemsOf = (fields: string): string[] =>
    readPolicyFile(`${POLICY}  - { ${web}, expect: allow, ${fields} }\n`, 'p.yaml').problems.map(
      formatProblem,
    );
  t.match(problemsOf('tls: 1.3'), [/tests\[0\]\.tls: must be "1\.2" or "1\.3", in quotes/]);
  t.match(problemsOf('credential: { age: 1h, notBefore: 2026-01-01T00:00:00Z }'), [
    /say `age` or `notBefore`/,
  ]);
  t.match(problemsOf('credential: { remaining: 1h, notAfter: 2026-01-01T00:00:00Z }'), [
    /say `remaining` or/,
  ]);
  t.match(problemsOf('credential: { kind: jwt }'), [/credential\.kind: must be one of x509, jwt-svid, oidc/]);
  t.match(problemsOf('headers: { authorization: x }'), [/headers/]);
  t.match(problemsOf('colour: red'), [/colour/]);
});
