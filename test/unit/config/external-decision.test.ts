import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseDecisionUrl } from '../../../src/config/decision-url.js';
import { loadConfig } from '../../../src/config/load.js';
import { formatProblem } from '../../../src/config/problem.js';
import { shareLimits } from '../../../src/config/share-limits.js';

type Test = { testdir(files: Record<string, string>): string };

const URL_TEXT = 'http://127.0.0.1:8181/v1/data/countersign/decision';

/** What is loaded of a configuration whose last line is `externalDecision: …`, line 15. */
async function load(t: Test, external: string) {
  const folder = t.testdir({});
  mkdirSync(folder, { recursive: true });
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
  - trustDomain: a.test
    bundle: { file: a.pem }
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes: [{ name: orders, path: /**, upstream: u }]
upstreams:
  u: { url: "http://127.0.0.1:8080" }
forward: { headers: { X-User: "{id}" } }
policy: policy.yaml
externalDecision: ${external}
`,
  );
  const { config, problems } = await loadConfig(join(folder, 'countersign.yaml'), {});
  return {
    config,
    problems: problems.map((each) => formatProblem(each).replace(/^.*countersign\.yaml:/, '')),
  };
}

t.test('all that is not said has a default that opens nothing', async (t) => {
  const { config, problems } = await load(t, `{ url: "${URL_TEXT}" }`);
  t.same(problems, []);
  t.same(config?.externalDecision, {
    url: {
      protocol: 'http:',
      host: '127.0.0.1',
      port: 8181,
      authority: '127.0.0.1:8181',
      target: '/v1/data/countersign/decision',
    },
    allowPlaintext: false,
    timeoutMs: 500,
    mayAllow: false,
    headers: [],
    maxConcurrent: 100,
    circuit: { failures: 5, openMs: 5000 },
    cacheEntries: 10_000,
  });
  if (config === undefined) throw new Error('loaded');
  t.equal(shareLimits(config, 3).externalDecision?.maxConcurrent, 34, 'workers share what may be under way');
});

const REFUSED: readonly [external: string, problems: readonly RegExp[]][] = [
  ['{}', [/^15:19 externalDecision.url: is required/]],
  ['{ url: "ftp://h/v1/data/x" }', [/externalDecision.url: must be http:/]],
  [
    '{ url: "http://opa:8181/v1/data/x" }',
    [/^15:\d+ externalDecision.url: anybody between here and opa could answer/],
  ],
  ['{ url: "https://opa/v1/data/x", ca: 1 }', [/externalDecision.ca: must be text/]],
  [`{ url: "${URL_TEXT}", ca: ca.pem }`, [/externalDecision.ca: goes with https:/]],
  [
    `{ url: "${URL_TEXT}", routes: [order] }`,
    [/externalDecision.routes\[0\]: there is no route "order"; did you mean "orders"\?/],
  ],
  [`{ url: "${URL_TEXT}", routes: [] }`, [/externalDecision.routes: must name at least one route/]],
  [`{ url: "${URL_TEXT}", headers: [X-Tenant] }`, [/headers\[0\]: must be a header name in lower case/]],
  [`{ url: "${URL_TEXT}", headers: [x_tenant] }`, [/headers\[0\]: must be a header name in lower case/]],
  [`{ url: "${URL_TEXT}", headers: ["x tenant"] }`, [/headers\[0\]: must be a header name/]],
  [
    `{ url: "${URL_TEXT}", headers: [authorization, cookie] }`,
    [/headers\[0\]: holds credentials/, /headers\[1\]: holds/],
  ],
  [
    `{ url: "${URL_TEXT}", headers: [x-spiffe-id, x-user, host] }`,
    [/headers\[0\]: is written/, /headers\[1\]: is written/, /headers\[2\]: is written/],
  ],
  [`{ url: "${URL_TEXT}", socket: "127.0.0.1:1" }`, [/externalDecision.socket: must be unix:\/path/]],
  [`{ url: "${URL_TEXT}", timeout: 11s }`, [/externalDecision.timeout: must be at most/]],
  [`{ url: "${URL_TEXT}", timeout: 500 }`, [/externalDecision.timeout: add a unit/]],
  [`{ url: "${URL_TEXT}", mayAllow: "yes" }`, [/externalDecision.mayAllow: must be true or false/]],
  [`{ url: "${URL_TEXT}", mode: replace }`, [/unknown key `mode`/]],
  [`{ url: "${URL_TEXT}", circuit: { failures: 0 } }`, [/circuit.failures: must be at least 1/]],
];

t.test('what is wrong is refused with its place and what to do', async (t) => {
  for (const [external, expected] of REFUSED) {
    const { config, problems } = await load(t, external);
    t.equal(config, undefined, external);
    t.equal(problems.length, expected.length, problems.join('\n'));
    for (const [i, problem] of expected.entries()) t.match(problems[i], problem);
  }
});

t.test(
  'plain text to another machine is taken only when it is said, and to a unix socket always',
  async (t) => {
    t.same((await load(t, '{ url: "http://opa:8181/v1/data/x", allowPlaintext: true }')).problems, []);
    t.same(
      (await load(t, '{ url: "http://opa:8181/v1/data/x", socket: "unix:/run/opa.sock" }')).problems,
      [],
    );
    t.same((await load(t, '{ url: "http://localhost:8181/v1/data/x" }')).problems, []);
    t.same((await load(t, '{ url: "http://[::1]:8181/v1/data/x" }')).problems, []);
  },
);

t.test('a URL names one document, in one spelling', async (t) => {
  for (const [text, target] of [
    ['https://opa.example/v1/data/a/b', '/v1/data/a/b'],
    [
      'https://opa.example/opa/v1/data/a?strict-builtin-errors=true',
      '/opa/v1/data/a?strict-builtin-errors=true',
    ],
  ] as const) {
    t.match(parseDecisionUrl(text), { ok: true, value: { host: 'opa.example', port: 443, target } });
  }
  for (const [text, problem] of [
    ['http://h/v1/data', /must name one document/],
    ['http://h/v1/data/', /must name one document/],
    ['http://h/', /must name one document/],
    ['http://h/v0/data/a', /must name one document/],
    ['http://h/v1/batch/data/a', /batch API is not used/],
    ['http://u:p@h/v1/data/a', /user or password/],
    ['http://h/v1/data/a#f', /must be http/],
    ['http://h/v1/data/a b', /must be http/],
    ['http://h:0/v1/data/a', /port 0/],
    ['http://h:99999/v1/data/a', /not a host and port/],
    ['http://0x7f.1/v1/data/a', /unusual form; write 127.0.0.1/],
    [`http://h/v1/data/${'a'.repeat(3000)}`, /longer than/],
  ] as const) {
    const url = parseDecisionUrl(text);
    t.equal(url.ok, false, text);
    t.match(url.ok ? '' : url.error, problem, text);
  }
});
