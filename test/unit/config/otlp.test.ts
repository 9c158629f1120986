import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../../src/config/load.js';
import { formatProblem } from '../../../src/config/problem.js';

type Test = { teardown(handler: () => void): void };

/** What is loaded of a configuration whose last line is `audit: …`, line 13. */
async function load(t: Test, audit: string, env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'cs-')); // short: a socket's path has room for a hundred bytes
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(
    join(folder, 'policy.yaml'),
    'version: 1\ndefault: deny\nrules:\n  - { id: r, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }\n',
  );
  writeFileSync(
    join(folder, 'countersign.yaml'),
    `version: 1
identity:
  files: { certificate: own.pem, key: own-key.pem }
trust:
  - { trustDomain: a.test, bundle: { file: a.pem } }
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes: [{ name: orders, path: /**, upstream: u }]
upstreams:
  u: { url: "http://127.0.0.1:8080" }
policy: policy.yaml
audit: ${audit}
`,
  );
  const { config, problems } = await loadConfig(join(folder, 'countersign.yaml'), env);
  return {
    folder,
    audit: config?.audit,
    problems: problems.map((each) => formatProblem(each).replace(/^.*countersign\.yaml:/, '')),
  };
}

const LOCAL = 'url: "http://127.0.0.1:4318/v1/logs"';

t.test('a copy goes where it is said to, with the variables and files that are named put in', async (t) => {
  const { audit, folder, problems } = await load(
    t,
    `{ otlp: { url: "https://otel.example:4318/v1/logs", ca: ca.pem, headers: { authorization: "Bearer \${TOKEN}", x-org: { file: "\${WHERE}/org" } } } }`,
    { TOKEN: 's3cret', WHERE: 'keys' },
  );
  t.same(problems, []);
  t.same(audit?.otlp, {
    url: {
      protocol: 'https:',
      host: 'otel.example',
      port: 4318,
      authority: 'otel.example:4318',
      target: '/v1/logs',
    },
    headers: [
      { name: 'authorization', value: 'Bearer s3cret' },
      { name: 'x-org', file: join(folder, 'keys/org') },
    ],
    caFile: join(folder, 'ca.pem'),
    allowPlaintext: false,
    timeoutMs: 10_000,
    retryForMs: 3_600_000,
    queueBytes: 32 * 1024 ** 2,
    serviceName: 'countersign',
  });
});

t.test('records cross no network in plain text unless that is said', async (t) => {
  const { problems } = await load(t, '{ otlp: { url: "http://otel.example:4318/v1/logs" } }');
  t.same(problems, [
    '13:23 audit.otlp.url: anybody between here and otel.example could read or change records in plain text; use https://, or say `allowPlaintext: true` if that is meant',
  ]);
  const allowed = '{ otlp: { url: "http://otel.example:4318/v1/logs", allowPlaintext: true } }';
  t.same((await load(t, allowed)).problems, []);
});

t.test('each mistake is told with its place, and no credential with it', async (t) => {
  const cases: [string, RegExp][] = [
    [
      'url: "http://127.0.0.1:4318"',
      /audit\.otlp\.url: must be http:\/\/host:4318\/v1\/logs or the same with https/,
    ],
    ['url: "http://127.0.0.1:4318/"', /audit\.otlp\.url: has no path; collectors take records at \/v1\/logs/],
    ['url: "https://me:s3cret@otel.example/v1/logs"', /audit\.otlp\.url: must not hold a user or password/],
    ['url: "grpc://127.0.0.1:4317"', /audit\.otlp\.url: must be http/],
    [`${LOCAL}, ca: ca.pem`, /audit\.otlp\.ca: goes with https:\/\/ only/],
    [`${LOCAL}, headers: { "x y": s3cret }`, /headers\.x y: is not a header name/],
    [`${LOCAL}, headers: { Content-Length: "3" }`, /headers\.Content-Length: is written by the proxy/],
    [`${LOCAL}, headers: { a: s3cret, A: s3cret }`, /headers\.A: stands there twice, in another spelling/],
    [`${LOCAL}, headers: { a: "\${TOKEN}" }`, /headers\.a: has a value that a header field cannot hold/],
    [`${LOCAL}, headers: { a: "\${NONE}" }`, /headers\.a: environment variable NONE is not set/],
    [`${LOCAL}, headers: { a: 12345 }`, /headers\.a: must be text, or \{ file: FILE \}$/],
    [`${LOCAL}, timeout: 5m`, /audit\.otlp\.timeout: must be at most/],
    [`${LOCAL}, queue: 10B`, /audit\.otlp\.queue: must be from/],
    [`${LOCAL}, retryfor: 5m`, /unknown key `retryfor`; did you mean `retryFor`\?/],
  ];
  for (const [otlp, wanted] of cases) {
    const { problems } = await load(t, `{ otlp: { ${otlp} } }`, { TOKEN: 's3cret\nx: y' });
    t.equal(problems.length, 1, otlp);
    t.match(problems[0], wanted, otlp);
    t.notMatch(problems[0], /s3cret|12345/, otlp);
  }
});

t.test(
  'a socket is a place of records, from the environment too, and nothing that can be synced',
  async (t) => {
    const { audit, folder } = await load(t, '{ file: "unix:run/collector.sock" }');
    t.equal(audit?.file, `unix:${folder}/run/collector.sock`);
    const named = await load(t, `{ file: "\${PLACE}", durability: written }`, { PLACE: 'unix:/run/c.sock' });
    t.same([named.audit?.file, named.problems], ['unix:/run/c.sock', []]);
    const synced = await load(t, '{ file: "unix:/run/c.sock", durability: synced }');
    t.match(synced.problems, [
      /audit\.durability: synced needs a regular file as `file`: a socket is no disk/,
    ]);
    const long = await load(t, `{ file: "unix:/${'x'.repeat(200)}" }`);
    t.match(long.problems, [/audit\.file: .* is longer than the 107 bytes/]);
    t.match((await load(t, '{ file: "unix:" }')).problems, [/audit\.file: has no path after unix:/]);
  },
);
