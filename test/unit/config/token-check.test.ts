import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../../src/config/load.js';
import { formatProblem } from '../../../src/config/problem.js';

type Test = { testdir(files: Record<string, string>): string };

interface Parts {
  readonly identity?: string;
  readonly tokens?: readonly string[];
  /** Keys of the one route. */
  readonly route?: string;
  /** Keys of the one listener. */
  readonly listener?: string;
  readonly upstream?: string;
  /** Whole lines at the end. */
  readonly more?: string;
}

const CI =
  '{ name: ci, issuer: "https://ci.example", audience: api, jwks: { file: jwks.json }, principal: "ci:{sub}" }';
const SERVER = 'serverCertificate: { certificate: c.pem, key: k.pem }';
const RULE = '{ id: r, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }';
const DELEGATE = '{ spiffeId: "spiffe://a.test/gw", by: assertion, audience: us, jwks: { file: gw.json } }';

async function load(t: Test, parts: Parts) {
  const folder = t.testdir({});
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'policy.yaml'), `version: 1\ndefault: deny\nrules:\n  - ${RULE}\n`);
  const tokens = (parts.tokens ?? []).map((token) => `  - ${token}\n`).join('');
  writeFileSync(
    join(folder, 'countersign.yaml'),
    `version: 1
identity: ${parts.identity ?? '{ files: { certificate: own.pem, key: own-key.pem } }'}
trust:
  - { trustDomain: a.test, bundle: { file: a.pem } }
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    ${parts.listener ?? SERVER}
    routes:
      - { name: orders, ${parts.route ?? 'path: /**'}, upstream: u }
upstreams:
  u: { url: "${parts.upstream ?? 'http://127.0.0.1:8080'}" }
policy: policy.yaml
${tokens === '' ? '' : `tokens:\n${tokens}`}${parts.more ?? ''}
`,
  );
  const { problems, warnings } = await loadConfig(join(folder, 'countersign.yaml'), {});
  const told = (all: typeof problems) => all.map((each) => formatProblem(each).replace(/^.*\.yaml:/, ''));
  return { problems: told(problems), warnings: told(warnings) };
}

const TOKEN_ROUTE = 'path: /**, accept: token';

t.test('tokens, their route, an assertion, a delegate and an injected credential go together', async (t) => {
  const { problems, warnings } = await load(t, {
    tokens: [
      CI,
      '{ name: ci-2, issuer: "https://ci.example", audience: other, jwks: { discovery: true }, principal: "ci:{+sub}" }',
      '{ name: svids, kind: jwt-svid, audience: api, trustDomains: [a.test] }',
      '{ name: gha, provider: github-actions, audience: api }',
      '{ name: k8s, provider: kubernetes, issuer: "https://k8s.example", audience: api }',
    ],
    route:
      'path: /**, accept: either, tokens: [ci, svids], delegation: require, assertion: { audience: u }, injectCredential: { header: x-api-key, file: s.txt }',
    more: `forward: { assertion: { key: a.jwk } }\ntrustedPeers: { delegates: [${DELEGATE}] }`,
  });
  t.same(problems, []);
  t.same(warnings, []);
});

const REFUSED: readonly [name: string, parts: Parts, problems: readonly RegExp[]][] = [
  [
    'an entry twice',
    { tokens: [CI, CI], route: TOKEN_ROUTE },
    [/^16:13 tokens\[1\]\.name: "ci" is also tokens\[0\]/],
  ],
  [
    'a namespace of two issuers',
    {
      tokens: [CI, CI.replace('name: ci', 'name: b').replace('ci.example', 'b.example')],
      route: TOKEN_ROUTE,
    },
    [/tokens\[1\]\.principal: ci: is the namespace of tokens\[0\], another issuer: each could name/],
  ],
  [
    'discovery at what is no URL',
    {
      tokens: [
        '{ name: ci, issuer: kubernetes/serviceaccount, audience: a, jwks: { discovery: true }, principal: "ci:{sub}" }',
      ],
      route: TOKEN_ROUTE,
    },
    [/tokens\[0\]\.jwks: the issuer kubernetes\/serviceaccount is no https:\/\/ URL/],
  ],
  [
    'the keys of a provider, at what is no URL',
    {
      tokens: ['{ name: k, provider: kubernetes, issuer: "http://k8s.example", audience: a }'],
      route: TOKEN_ROUTE,
    },
    [/tokens\[0\](\.jwks)?: the issuer http:\/\/k8s.example is no https:\/\/ URL/],
  ],
  [
    'an agent that is not there',
    { tokens: ['{ name: s, kind: jwt-svid, audience: a, validate: workloadApi }'], route: TOKEN_ROUTE },
    [/tokens\[0\]\.validate: workloadApi needs the Workload API/],
  ],
  [
    'a trust domain that is not configured',
    {
      tokens: ['{ name: s, kind: jwt-svid, audience: a, trustDomains: [a.test, b.test] }'],
      route: TOKEN_ROUTE,
    },
    [/tokens\[0\]\.trustDomains\[1\]: trust domain b.test is not configured/],
  ],
  [
    'a token asked for that none can be',
    { route: TOKEN_ROUTE },
    [/routes\[0\]\.accept: token needs `tokens`: none is configured/],
  ],
  [
    'an entry that is not there',
    { tokens: [CI], route: 'path: /**, accept: mtls+token, tokens: [cj]' },
    [/routes\[0\]\.tokens: there is no entry "cj" under `tokens`; did you mean "ci"\?/],
  ],
  [
    'words of tokens where none is taken',
    { route: 'path: /**, tokens: [ci], forwardToken: true' },
    [
      /routes\[0\]\.tokens: goes with `accept: token`/,
      /routes\[0\]\.forwardToken: goes with `accept: token`/,
    ],
  ],
  [
    'a listener without requests',
    {
      tokens: [CI],
      listener: 'protocol: tcp',
      upstream: 'tcp://127.0.0.1:5432',
      route: 'accept: token, delegation: accept',
    },
    [
      /\.accept: a tcp listener carries no requests, so no tokens/,
      /\.delegation: a tcp listener carries no requests/,
    ],
  ],
  [
    'what goes out',
    {
      tokens: [CI],
      listener: 'direction: outbound',
      upstream: 'https://far:8443", spiffeId: "spiffe://a.test/far',
      route: 'path: /**, accept: either, delegation: require',
    },
    [/\.accept: what goes out shows our own SVID/, /\.delegation: outbound only `accept`/],
  ],
  [
    'delegation that nobody could speak of',
    { route: 'path: /**, delegation: require' },
    [/\.delegation: require needs `trustedPeers.delegates`, or tokens/],
  ],
  [
    'a delegate twice, and one of nowhere',
    {
      more: `trustedPeers: { delegates: [${DELEGATE}, { spiffeId: "spiffe://a.test/gw", by: xfcc }, { spiffeId: "spiffe://b.test/gw", by: xfcc }] }`,
    },
    [
      /delegates\[1\]\.spiffeId: spiffe:\/\/a.test\/gw is delegates\[0\] already: one peer, one way/,
      /delegates\[2\]\.spiffeId: trust domain b.test is not configured/,
    ],
  ],
  [
    'discovery of the keys of a SPIFFE ID',
    { more: `trustedPeers: { delegates: [${DELEGATE.replace('file: gw.json', 'discovery: true')}] }` },
    [/delegates\[0\]\.jwks: the issuer spiffe:\/\/a.test\/gw is no https:\/\/ URL/],
  ],
];

for (const [name, parts, expected] of REFUSED) {
  t.test(`refused: ${name}`, async (t) => {
    const { problems } = await load(t, parts);
    for (const problem of expected)
      t.ok(
        problems.some((each) => problem.test(each)),
        `${problem} among ${problems.join(' | ')}`,
      );
    t.equal(problems.length, expected.length, problems.join(' | '));
  });
}

const WARNED: readonly [name: string, parts: Parts, warning: RegExp][] = [
  [
    'a token that goes on in plaintext',
    { tokens: [CI], route: `${TOKEN_ROUTE}, forwardToken: true`, upstream: 'http://10.0.0.1:8080' },
    /routes\[0\]\.forwardToken: the token goes to 10.0.0.1:8080 in plaintext/,
  ],
  [
    'a certificate that clients without SPIFFE cannot verify',
    { tokens: [CI], route: TOKEN_ROUTE, listener: 'http2: true' },
    /listeners\[0\]: clients with a token alone see our SVID.*add a `serverCertificate`/,
  ],
  ['tokens that no route takes', { tokens: [CI] }, /tokens: no route takes tokens/],
];

for (const [name, parts, warning] of WARNED) {
  t.test(`warned of: ${name}`, async (t) => {
    const { problems, warnings } = await load(t, parts);
    t.same(problems, []);
    t.equal(warnings.length, 1, warnings.join(' | '));
    t.match(warnings[0], warning);
  });
}

t.test('a token to the service on this machine, or by TLS, is nothing to warn of', async (t) => {
  for (const upstream of ['http://127.0.0.1:8080', 'https://far:8443'])
    t.same(
      (await load(t, { tokens: [CI], route: `${TOKEN_ROUTE}, forwardToken: true`, upstream })).warnings,
      [],
    );
});
