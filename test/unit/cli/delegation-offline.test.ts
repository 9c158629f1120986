import t, { type Test } from 'tap';
import { runAuditQuery } from '../../../src/cli/audit-query.js';
import { runExplain } from '../../../src/cli/explain.js';
import { runPolicy } from '../../../src/cli/policy-test.js';
import { runReplay } from '../../../src/cli/replay.js';
import { recordText } from '../../support/records.js';
import { reportOf } from '../../support/report-of.js';

const CONFIG = `version: 1
identity: { files: { certificate: a.pem, key: b.pem } }
trust: [{ trustDomain: a.test, bundle: { file: c.pem } }]
tokens: [{ name: ci, issuer: "https://ci.test", audience: svc, jwks: { file: jwks.json }, principal: "ci:{sub}" }]
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes:
      - { name: plain, host: plain.test, path: /**, upstream: u }
      - { name: either, host: either.test, path: /**, upstream: u, accept: either, delegation: accept }
      - { name: token, host: token.test, path: /**, upstream: u, accept: token, tokens: [ci] }
      - { name: both, host: both.test, path: /**, upstream: u, accept: mtls+token, delegation: require }
upstreams: { u: { url: "http://127.0.0.1:1" } }
policy: policy.yaml
`;
const POLICY = `version: 1
default: deny
reads: { claims: [ref] }
rules:
  - { id: own, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }
  - { id: portal-for-octo, effect: allow, principals: ["spiffe://a.test/portal"], behalfOf: ["ci:octo/*"], destinations: [u] }
  - { id: ci, effect: allow, principals: ["ci:octo/*"], destinations: [u], when: 'credential.claims["ref"] == "main"' }
`;
const PORTAL = 'spiffe://a.test/portal';

type Run = (argv: readonly string[], io: Parameters<typeof runExplain>[1], nowMs?: number) => Promise<number>;

async function run(t: Test, verb: Run, files: Readonly<Record<string, string>>, ...argv: string[]) {
  const cwd = t.testdir({ 'c.yaml': CONFIG, 'policy.yaml': POLICY, ...files });
  let [out, err] = ['', ''];
  const stdout = (text: string): void => {
    out += text;
  };
  const stderr = (text: string): void => {
    err += text;
  };
  return { code: await verb(argv, { stdout, stderr, env: {}, cwd }, 0), out: () => out, err: () => err };
}

async function explain(t: Test, as: string, host: string, ...more: string[]) {
  const url = `https://${host}.test/a`;
  const { code, out, err } = await run(
    t,
    runExplain,
    {},
    '-c',
    'c.yaml',
    '--as',
    as,
    '--method',
    'GET',
    '--url',
    url,
    ...more,
  );
  return { code, first: out().split('\n')[0] ?? '', out: out(), err: err() };
}

t.test('explain judges the pair, and says whom the call is for', async (t) => {
  const allowed = await explain(t, PORTAL, 'either', '--behalf-of', 'ci:octo/app');
  t.match(allowed.first, /^allow: rule_allowed, rule portal-for-octo,/);
  t.match(allowed.out, /^spiffe:\/\/a\.test\/portal on behalf of ci:octo\/app GET /m);
  const other = await explain(t, PORTAL, 'either', '--behalf-of', 'ci:evil/app');
  t.equal(other.code, 1);
  t.match(other.first, /^deny: no_rule_matched/);
  t.match(
    other.out,
    /own +allow +allows only what the caller asks for itself, and this is on behalf of ci:evil\/app/,
  );
});

t.test('explain does as a route that does not look at who is behind a call, and says so', async (t) => {
  const asked = await explain(t, PORTAL, 'plain', '--behalf-of', 'ci:evil/app');
  t.match(asked.first, /^allow: rule_allowed, rule own,/);
  t.match(asked.err, /--behalf-of ci:evil\/app: route plain does not look at what says so/);
  const itself = await explain(t, PORTAL, 'either', '--behalf-of', PORTAL);
  t.match(itself.err, /that is the caller itself: judged as the caller's own/);
});

t.test(
  'explain refuses what never reaches policy: a token where none is taken, nobody behind where one is demanded',
  async (t) => {
    t.match((await explain(t, 'ci:octo/app', 'plain')).first, /^deny: certificate_missing/);
    t.match((await explain(t, PORTAL, 'token')).first, /^deny: token_missing/);
    t.match((await explain(t, PORTAL, 'both')).first, /^deny: delegation_missing/);
    const deep = ['--behalf-of', 'ci:octo/app', '--through', 'ci:octo/b', '--through', 'ci:octo/c'];
    t.match((await explain(t, PORTAL, 'either', ...deep)).first, /^deny: delegation_too_deep/);
  },
);

t.test('explain takes claims, and says how to tell one that it does not know', async (t) => {
  t.match(
    (await explain(t, 'ci:octo/app', 'token', '--claim', 'ref=main')).first,
    /^allow: rule_allowed, rule ci,/,
  );
  t.match((await explain(t, 'ci:octo/app', 'token', '--claim', 'ref')).first, /^deny: no_rule_matched/);
  const unknown = await explain(t, 'ci:octo/app', 'token');
  t.match(unknown.first, /^undecidable: hangs on credential\.claims\["ref"\].*--claim ref=VALUE/);
});

t.test('wrong words on whose behalf are wrong usage', async (t) => {
  t.equal((await explain(t, PORTAL, 'either', '--by', 'token')).code, 64);
  t.equal((await explain(t, PORTAL, 'either', '--behalf-of', 'spiffe://a.test')).code, 64);
  t.equal((await explain(t, PORTAL, 'either', '--behalf-of', 'ci:octo/app', '--by', 'hearsay')).code, 64);
  t.equal((await explain(t, PORTAL, 'either', '--kind', 'jwt')).code, 64);
});

const tests = (...lines: string[]): Readonly<Record<string, string>> => ({
  'policy.yaml': `${POLICY}tests:\n${lines.map((line) => `  - { ${line} }\n`).join('')}`,
});

t.test('tests of a policy say on whose behalf, and what the token claims', async (t) => {
  const { code, out } = await run(
    t,
    runPolicy,
    tests(
      `as: "${PORTAL}", behalfOf: "ci:octo/app", request: "GET https://either.test/a", expect: allow, rule: portal-for-octo`,
      `as: "${PORTAL}", behalfOf: "ci:evil/app", by: xfcc, through: [], request: "GET https://either.test/a", expect: deny`,
      'as: "ci:octo/app", request: "GET https://token.test/a", claims: { ref: main }, expect: allow, rule: ci',
      'as: "ci:octo/app", request: "GET https://token.test/a", claims: {}, expect: deny',
      'as: "ci:octo/app", request: "GET https://plain.test/a", claims: { ref: main }, expect: deny',
    ),
    'test',
    '-c',
    'c.yaml',
  );
  t.equal(code, 0, out());
  t.match(out(), /^ok 1 - spiffe:\/\/a\.test\/portal on behalf of ci:octo\/app GET/m);
});

t.test('a test that says what says so and not for whom is a problem of the file', async (t) => {
  const file = tests(`as: "${PORTAL}", by: token, request: "GET https://either.test/a", expect: deny`);
  const { code, err } = await run(t, runPolicy, file, 'test', '-c', 'c.yaml');
  t.equal(code, 78);
  t.match(err(), /tests\[0\]\.by: goes with `behalfOf`/);
});

const BEHALF = { id: 'ci:octo/app', trustDomain: 'ci:', by: 'assertion', actors: [PORTAL] };
const TOKEN = {
  entry: 'ci',
  issuer: 'https://ci.test',
  jti: 'j-1',
  sha256: 'ef'.repeat(32),
  notAfter: '2026-11-21T11:00:00.000Z',
};

/** An access record with parts that only tokens and delegations have. */
function record(
  changes: Parameters<typeof recordText>[0],
  parts: Readonly<Record<string, unknown>> = {},
): string {
  return JSON.stringify({ ...(JSON.parse(recordText(changes)) as object), ...parts });
}
const delegated = record(
  {
    principal: { id: PORTAL },
    request: { host: 'either.test', path: '/a', route: 'either' },
    tls: { serverName: 'either.test' },
    decision: { rule: 'portal-for-octo' },
  },
  { behalfOf: BEHALF },
);
const byToken = JSON.stringify({
  ...(JSON.parse(
    record(
      {
        request: { host: 'token.test', path: '/a', route: 'token', claims: { ref: 'main' } },
        tls: { serverName: 'token.test' },
        decision: { rule: 'ci' },
      },
      { token: TOKEN },
    ),
  ) as object),
  principal: {
    id: 'ci:octo/app',
    kind: 'token',
    credential: 'oidc',
    trustDomain: 'ci:',
    issuer: 'https://ci.test',
    notBefore: '2026-11-21T09:00:00.000Z',
    notAfter: '2026-11-21T11:00:00.000Z',
  },
});

t.test('replay judges the pair, and callers that came with a token', async (t) => {
  const replay = async (policy: string, config = CONFIG) => {
    const files = { 'audit.ndjson': `${delegated}\n${byToken}\n`, 'policy.yaml': policy, 'c.yaml': config };
    const { out } = await run(
      t,
      runReplay,
      files,
      '-c',
      'c.yaml',
      '--audit',
      'audit.ndjson',
      '--json',
      '--all',
    );
    return JSON.parse(out()) as {
      readonly judged: number;
      readonly unchanged: number;
      readonly groups: readonly object[];
    };
  };
  t.match(await replay(POLICY), { judged: 2, unchanged: 2 });
  const narrower = await replay(POLICY.replace('behalfOf: ["ci:octo/*"]', 'behalfOf: ["ci:evil/*"]'));
  t.match(narrower.groups, [{ now: { effect: 'deny', reason: 'no_rule_matched' } }]);
  const noToken = await replay(POLICY, CONFIG.replace('accept: token, tokens: [ci]', 'accept: mtls'));
  t.match(noToken.groups, [{ now: { effect: 'deny', reason: 'certificate_missing' } }]);
  const demanding = await replay(
    POLICY,
    CONFIG.replace('accept: either, delegation: accept', 'accept: mtls+token'),
  );
  t.match(demanding.groups, [{ unknown: 'its token' }]);
});

t.test('query finds by whom a call was for, and counts by it', async (t) => {
  const files = { 'audit.ndjson': `${delegated}\n${byToken}\n${recordText()}\n` };
  const found = await run(t, runAuditQuery, files, '--behalf-of', 'ci:octo/*', 'audit.ndjson');
  t.equal(found.code, 0);
  t.match(found.out(), /portal for ci:octo\/app/);
  t.equal(found.out().trim().split('\n').length, 2, 'a heading, and one record');
  const caller = await run(
    t,
    runAuditQuery,
    files,
    '--identity',
    'ci:**',
    '--by',
    'identity,token',
    '--format',
    'ndjson',
    'audit.ndjson',
  );
  t.match(JSON.parse(caller.out()), { identity: 'ci:octo/app', token: 'ci', records: 1 });
  const none = await run(t, runAuditQuery, files, '--behalf-of', 'ci:evil/*', 'audit.ndjson');
  t.equal(none.code, 1);
});

t.test(
  'the report says who acted for whom, which tokens came, and what is put in for services',
  async (t) => {
    const injecting = record(
      { request: { route: 'plain' } },
      { upstream: { target: 'x', injected: 'x-api-key' } },
    );
    const refused = record(
      {
        principal: { id: PORTAL },
        decision: { effect: 'deny', reason: 'delegation_denied', rule: 'registry' },
      },
      { behalfOf: { ...BEHALF, actors: ['ci:octo/b', PORTAL] } },
    );
    const report = reportOf([delegated, refused, byToken, injecting]);
    t.match(report.delegations, [
      { caller: PORTAL, subject: 'ci:octo/app', by: 'assertion', requests: 2, refused: 1, depth: 2 },
    ]);
    t.match(report.tokens, [
      { entry: 'ci', issuer: 'https://ci.test', identities: 1, requests: 1, bound: 0 },
    ]);
    t.match(report.injected, [{ route: 'plain', header: 'x-api-key', requests: 1 }]);
    t.same(report.identities.find(({ id }) => id === 'ci:octo/app')?.kinds, ['oidc']);
    t.ok(report.findings.some(({ id }) => id === 'injected_secrets'));
  },
);
