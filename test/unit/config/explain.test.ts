import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { runExplain } from '../../../src/cli/explain.js';
import { mintRoot } from '../../support/pki.js';

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

const TOLD = `version: 1
default: deny
reads: { headers: [x-region], query: [dry_run] }
rules:
  - { id: web, effect: allow, principals: ["spiffe://a.test/web"], destinations: [u], paths: ["/public/web/**"], when: 'credential.remaining > duration("5m") && connection.tlsVersion == "TLSv1.3"' }
  - { id: region, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/public/region"], when: 'request.headers["x-region"] == "eu"' }
  - { id: again, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/public/region"], when: 'connection.resumed' }
  - { id: dry, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/public/dry"], when: 'request.query["dry_run"] == "1"' }
  - { id: tried, mode: shadow, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/public/dry"] }
`;

function toldWorld(t: { teardown(handler: () => void): void }): string {
  const cwd = world(t);
  writeFileSync(join(cwd, 'policy.yaml'), TOLD);
  return cwd;
}
const web = (path: string): string[] => ask('spiffe://a.test/web', 'GET', `https://svc.test${path}`);

t.test(
  'what is not told is unknown: the answer is undecidable, and names the option that tells it',
  async (t) => {
    const cwd = toldWorld(t);
    const first = await run(cwd, ...web('/public/web/a'));
    t.equal(first.code, 1);
    t.match(
      first.out,
      /^undecidable: hangs on credential\.notAfter, which is not known; tell it with --not-after TIME/,
    );
    const second = await run(cwd, ...web('/public/web/a'), '--not-after', '1970-01-01T01:00:00Z');
    t.match(second.out, /^undecidable: hangs on connection\.tlsVersion, .*--tls 1\.3$/m);
    const third = await run(
      cwd,
      ...web('/public/web/a'),
      '--not-after',
      '1970-01-01T01:00:00Z',
      '--tls',
      '1.3',
    );
    t.equal(third.code, 0);
    t.match(third.out, /^allow: rule_allowed, rule web/);
    t.match(third.out, /^ +credential\.remaining = 1h$/m);
    const json = await run(cwd, ...web('/public/web/a'), '--json');
    t.match(JSON.parse(json.out), {
      effect: 'undecidable',
      unknown: 'credential.notAfter',
      tell: /--not-after/,
    });
  },
);

t.test('a fact that cannot change the answer need not be told', async (t) => {
  const cwd = toldWorld(t);
  const denied = await run(cwd, ...web('/public/web/a'), '--not-after', '1970-01-01T00:01:00Z');
  t.match(denied.out, /^deny: no_rule_matched/, 'too short a time, whatever the version');
  const whatever = await run(cwd, ...web('/public/region'), '--header', 'x-region=us');
  t.equal(whatever.code, 1);
  t.match(whatever.out, /^deny: whatever connection\.resumed is, which is not known/);
});

t.test('headers and query are told as a listener reads them', async (t) => {
  const cwd = toldWorld(t);
  const fresh = [...web('/public/region'), '--no-resumed'];
  t.equal((await run(cwd, ...fresh, '--header', 'X-Region= eu ')).code, 0);
  t.match((await run(cwd, ...fresh)).out, /^undecidable: .*--header x-region=VALUE/);
  const absent = await run(cwd, ...fresh, '--header', 'x-region');
  t.match(absent.out, /^deny: no_rule_matched/);
  t.match(absent.out, /region .*its condition cannot be evaluated: .*absent/);
  const twice = await run(cwd, ...fresh, '--header', 'x-region=eu', '--header', 'x-region=us');
  t.match(twice.out, /request\.headers\["x-region"\] = "eu, us"/);
  t.equal((await run(cwd, ...web('/public/dry?dry_run=1'))).code, 0);
  t.equal((await run(cwd, ...web('/public/dry'))).code, 1);
  t.match((await run(cwd, ...web('/public/dry?dry_run=1&dry_run=1'))).out, /there more than once/);
  const other = await run(cwd, ...web('/public/dry?dry_run=1'), '--header', 'x-other=1');
  t.match(other.err, /--header x-other: no condition reads it/);
});

t.test('the decision of what is tried out stands beside the one in force', async (t) => {
  const { code, out } = await run(toldWorld(t), ...web('/public/dry?dry_run=1'));
  t.equal(code, 0);
  t.match(out, /^allow: rule_allowed, rule dry/);
  t.match(out, /^ \+ tried +deny +in shadow: would match$/m);
  t.match(out, /^tried out: deny: policy_denied, rule tried/m);
});

t.test('the rules of a policy file that is tried out are explained too', async (t) => {
  const cwd = world(t, `${CONFIG}shadowPolicy: next.yaml\n`);
  writeFileSync(
    join(cwd, 'next.yaml'),
    'version: 1\ndefault: deny\nrules:\n  - { id: next, effect: allow, principals: ["spiffe://a.test/batch"], destinations: [u] }\n',
  );
  const { code, out } = await run(cwd, ...web('/public/a'));
  t.equal(code, 0);
  t.match(out, /^tried out: deny: no_rule_matched, rule default/m);
  t.match(out, /^ - next +allow +principal spiffe:\/\/a\.test\/web is none of spiffe:\/\/a\.test\/batch$/m);
  const json = JSON.parse((await run(cwd, ...web('/public/a'), '--json')).out);
  t.match(json, {
    effect: 'allow',
    shadow: { effect: 'deny', rules: [{ rule: 'next', mismatch: 'principal' }] },
  });
});

t.test('the registry has its word: who owns the caller, or that nobody does', async (t) => {
  const cwd = world(t, `${CONFIG}registry: registry.yaml\n`);
  const registry = (unregistered: string): void =>
    writeFileSync(
      join(cwd, 'registry.yaml'),
      `version: 1\nunregistered: ${unregistered}\nidentities:\n  - { id: "spiffe://a.test/web", owner: team-web, environment: prod }\n`,
    );
  registry('deny');
  t.match(
    (await run(cwd, ...web('/public/a'))).out,
    /^registry: owner team-web, environment prod, by spiffe:\/\/a\.test\/web$/m,
  );
  const stranger = ask('spiffe://a.test/stranger', 'GET', 'https://svc.test/public/a');
  const denied = await run(cwd, ...stranger);
  t.equal(denied.code, 1);
  t.match(denied.out, /^deny: identity_unregistered, rule registry/);
  t.match(denied.out, /^=> registry .*the registry does not know the caller/m);
  registry('flag');
  t.match((await run(cwd, ...stranger)).out, /^registry: not registered \(unregistered: flag\)$/m);
  t.match(JSON.parse((await run(cwd, ...stranger, '--json')).out), {
    registry: { registered: false, unregistered: 'flag' },
  });
});

t.test('exceptions of the policy and grants beside it are explained, in force or not', async (t) => {
  const cwd = world(t, `${CONFIG}exceptions: { file: grants.yaml }\n`);
  const allow = 'allow: { principals: ["spiffe://a.test/batch"], destinations: [u], methods: [PUT] }';
  const exception = (id: string, more: string): string =>
    `  - { id: ${id}, owner: us, reason: migration, ${more}, ${allow} }\n`;
  const dead = exception('EX-1', 'expires: 1970-01-01T00:00:00Z');
  writeFileSync(join(cwd, 'policy.yaml'), `${POLICY}exceptions:\n${dead}`);
  const grants = [
    exception('GR-1', 'expires: 1970-01-01T02:00:00Z, by: alice'),
    exception('GR-2', 'starts: 1970-01-01T01:00:00Z, expires: 1970-01-01T02:00:00Z, by: alice'),
    exception('web-reads', 'expires: 1970-01-01T02:00:00Z, by: mallory'),
  ];
  writeFileSync(join(cwd, 'grants.yaml'), `version: 1\nexceptions:\n${grants.join('')}`);
  const { code, out } = await run(cwd, ...ask('spiffe://a.test/batch', 'PUT', 'https://svc.test/public/a'));
  t.equal(code, 0);
  t.match(out, /^allow: exception_allowed, rule GR-1/);
  t.match(out, /^=> GR-1 +allow +exception: matches and decides: allow, until 1970-01-01T02:00:00\.000Z$/m);
  t.match(out, /^ - GR-2 +allow +exception: starts at 1970-01-01T01:00:00\.000Z$/m);
  t.match(out, /^ - EX-1 +allow +exception: is dead since 1970-01-01T00:00:00\.000Z$/m);
  t.equal(out.match(/ web-reads /g)?.length, 1, 'a grant by the name of a rule is not in force');
  writeFileSync(join(cwd, 'grants.yaml'), 'version: 2\n');
  const broken = await run(cwd, ...ask('spiffe://a.test/batch', 'PUT', 'https://svc.test/public/a'));
  t.equal(broken.code, 78);
  t.match(broken.err, /^grants\.yaml:1:10 version/m);
});

t.test(
  'a certificate tells who asks, its dates and its issuer, and is refused as the listener would',
  async (t) => {
    const cwd = toldWorld(t);
    const root = await mintRoot('a.test');
    const own = await root.issue('spiffe://a.test/web');
    writeFileSync(join(cwd, 'web.pem'), own.chainPem);
    const asked = [
      '--credential',
      'web.pem',
      '--method',
      'GET',
      '--url',
      'https://svc.test/public/web/a',
      '--tls',
      '1.3',
    ];
    const now = new Date().toISOString().replace(/\.\d+/, '');
    t.match(await run(cwd, ...asked, '--at', now), { code: 0, out: /^allow: rule_allowed, rule web/ });
    t.match(await run(cwd, ...asked, '--at', '1999-01-01T00:00:00Z'), {
      code: 1,
      out: /^deny: svid_not_yet_valid/,
    });
    t.match(await run(cwd, ...asked, '--at', '2199-01-01T00:00:00Z'), {
      code: 1,
      out: /^deny: svid_expired/,
    });
    t.match(await run(cwd, ...asked, '--as', 'spiffe://a.test/other'), {
      code: 1,
      out: /^deny: svid_id_invalid/,
    });
    t.match((await run(cwd, ...asked.with(1, 'gone.pem'))).err, /--credential gone\.pem: ENOENT/);
  },
);

t.test(
  'of ten thousand rules the deciding, the matching and the nearest are shown, and all when asked for',
  async (t) => {
    const cwd = world(t);
    const rules = Array.from(
      { length: 10_000 },
      (_, i) =>
        `  - { id: r${i}, effect: allow, principals: ["spiffe://a.test/w${i}"], destinations: [u], methods: [GET], paths: ["/public/${i}"] }`,
    );
    writeFileSync(join(cwd, 'policy.yaml'), `version: 1\ndefault: deny\nrules:\n${rules.join('\n')}\n`);
    const asked = ask('spiffe://a.test/w9998', 'GET', 'https://svc.test/public/a');
    const brief = await run(cwd, ...asked);
    t.ok(brief.out.split('\n').length < 40);
    const lines = brief.out.split('\n').filter((line) => /^( -|=>)/.test(line));
    t.match(lines[0], /^=> default/);
    t.match(lines[1], /^ - r9998 +allow +path \/public\/a is none of/, 'the nearest first');
    t.match(brief.out, /^ … 9975 more, none of which matches; --all shows them$/m);
    t.equal((await run(cwd, ...asked, '--all')).out.match(/^ - r/gm)?.length, 10_000);
    t.equal(JSON.parse((await run(cwd, ...asked, '--json')).out).rules.length, 10_000);
  },
);

t.test('wrong values of options are wrong usage, and say what is right', async (t) => {
  const cwd = toldWorld(t);
  for (const [option, value, says] of [
    ['--tls', '1.1', /must be 1\.2 or 1\.3/],
    ['--not-after', 'soon', /--not-after: .* is not a time/],
    ['--header', 'authorization=x', /--header authorization: /],
    ['--header', 'x-region: eu', /--header x-region: eu: is not a header name; write NAME=VALUE\n/],
    ['--header', 'x-spiffe-id=x', /--header x-spiffe-id: never crosses/],
    ['--as', 'spiffe://a.test', /names a trust domain, not a workload/],
  ] as const) {
    const { code, err } = await run(cwd, ...web('/public/web/a'), option, value);
    t.equal(code, 64, `${option} ${value}`);
    t.match(err, says);
  }
});

t.test('of an outbound listener, it is our own SVID that asks unless somebody else is named', async (t) => {
  const outbound = CONFIG.replace('name: inbound', 'name: inbound\n    direction: outbound').replace(
    '{ url: "http://127.0.0.1:1" }',
    '{ url: "https://127.0.0.1:1", spiffeId: spiffe://a.test/x }',
  );

  const cwd = world(t, outbound);
  const own = await (await mintRoot('a.test')).issue('spiffe://a.test/web');
  writeFileSync(join(cwd, 'a.pem'), own.chainPem);
  const request = [
    '--method',
    'GET',
    '--url',
    'http://svc.test/public/a',
    '--at',
    own.notBefore.toISOString(),
  ];
  t.match(await run(cwd, ...request), { code: 0, out: /^allow: rule_allowed, rule web-reads/ });
  t.match(await run(cwd, '--as', 'spiffe://a.test/other', ...request), { code: 1 });
});

t.test('of an inbound listener somebody has to be named', async (t) => {
  const answer = await run(world(t), '--method', 'GET', '--url', 'https://svc.test/public/a');
  t.match(answer, { code: 64, err: /say who asks: --as/ });
});
