import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadAll } from '../../../src/config/load.js';
import { newSealKey } from '../../support/seal-key.js';

const POLICY = `version: 1
default: deny
rules: [{ id: r, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }]
`;

interface Parts {
  readonly forward?: string;
  readonly route?: string;
  readonly listener?: string;
  readonly upstream?: string;
  readonly key?: string;
  readonly mode?: number;
}

/** Messages at their path, of problems and warnings that are about what is added for services. */
async function messages(t: Test, { forward = '{}', route, listener = '', upstream, key, mode }: Parts) {
  const dir = t.testdir({
    'policy.yaml': POLICY,
    'assert.jwk': key ?? (await newSealKey()).text,
    'secret.txt': 'secret\n',
    'countersign.yaml': `version: 1
identity: { files: { certificate: own.pem, key: own-key.pem } }
trust: [{ trustDomain: a.test, bundle: { file: a.pem } }]
listeners:
  - { name: in, address: 127.0.0.1:8443, ${listener} routes: [{ name: r, ${route ?? 'path: /**'}, upstream: u }] }
upstreams: { u: { url: "${upstream ?? 'http://127.0.0.1:8080'}" } }
policy: policy.yaml
forward: ${forward}
`,
  });
  chmodSync(join(dir, 'assert.jwk'), mode ?? 0o600);
  chmodSync(join(dir, 'secret.txt'), 0o600);
  const { problems, warnings } = await loadAll(join(dir, 'countersign.yaml'), {}, Date.now());
  const ours = /assertion|injectCredential/;
  return [...problems, ...warnings]
    .filter(({ path }) => ours.test(path))
    .map(({ path, message }) => `${path}: ${message.replaceAll(`${dir}/`, '')}`);
}

const inject = (header: string): string =>
  `path: /**, injectCredential: { header: ${header}, file: secret.txt }`;
const ROUTE = 'listeners[0].routes[0]';

t.test('what could be neither signed nor put in is a problem, at the place where it is said', async (t) => {
  const signed = 'key: assert.jwk, audience: billing';
  const cases: readonly (readonly [Parts, string])[] = [
    [
      { route: 'path: /**, assertion: { audience: a }' },
      `${ROUTE}.assertion: needs \`forward.assertion\`: the key that signs`,
    ],
    [
      { route: 'path: /**, assertion: false', listener: 'direction: outbound,' },
      `${ROUTE}.assertion: goes with \`direction: inbound\`: the other side verifies who calls by itself`,
    ],
    [
      { forward: '{ assertion: { key: nowhere.jwk, audience: a } }' },
      'forward.assertion.key: nowhere.jwk: there is no such file',
    ],
    [
      { forward: `{ assertion: { ${signed} } }`, key: '{"kty":"RSA"}' },
      'forward.assertion.key: assert.jwk: is neither an Ed25519 nor a P-256 (ES256) key',
    ],
    [
      { forward: `{ assertion: { ${signed}, jwksFile: assert.jwk } }` },
      'forward.assertion.jwksFile: must not be the file of the private key: it is written',
    ],
    [
      { forward: `{ assertion: { ${signed}, jwksFile: policy.yaml } }` },
      'forward.assertion.jwksFile: must be a file of its own: it is written, and this one is read',
    ],
    [
      { forward: `{ assertion: { ${signed}, jwksFile: own-key.pem } }` },
      'forward.assertion.jwksFile: must be a file of its own: it is written, and this one is read',
    ],
    [
      { route: inject('x-spiffe-id') },
      `${ROUTE}.injectCredential: x-spiffe-id is written by the proxy itself or by HTTP`,
    ],
    [
      { route: inject('sec-websocket-key') },
      `${ROUTE}.injectCredential: sec-websocket-key is written by the proxy itself or by HTTP`,
    ],
    [
      {
        route: 'injectCredential: { header: x-api-key, file: secret.txt }',
        listener: 'protocol: tcp,',
        upstream: 'tcp://127.0.0.1:1',
      },
      `${ROUTE}.injectCredential: a tcp listener carries no requests`,
    ],
    [
      { route: 'assertion: { audience: a }', listener: 'protocol: tcp,', upstream: 'tcp://127.0.0.1:1' },
      `${ROUTE}.assertion: a tcp listener carries no requests`,
    ],
    [
      { route: inject('x-user'), forward: '{ headers: { X_User: "{id}" } }' },
      `${ROUTE}.injectCredential: x-user is set by forward.headers already`,
    ],
  ];
  for (const [parts, message] of cases) t.same(await messages(t, parts), [message]);
});

t.test('what is allowed and rarely meant is a warning', async (t) => {
  const cases: readonly (readonly [Parts, readonly string[]])[] = [
    [
      { forward: '{ assertion: { key: assert.jwk } }' },
      ['forward.assertion: without `audience` here or in a route, no service gets one'],
    ],
    [
      { forward: '{ assertion: { key: assert.jwk, audience: a } }', mode: 0o644 },
      [
        'forward.assertion.key: assert.jwk: every user of this machine can read it and sign what it likes; chmod 600 it',
      ],
    ],
    [
      { route: inject('x-api-key'), upstream: 'http://10.0.0.1:80' },
      [`${ROUTE}.injectCredential: the secret goes to "u" in the clear: anybody on the way can read it`],
    ],
    [{ route: inject('x-api-key') }, []],
    [{ forward: '{ assertion: { key: assert.jwk, audience: a } }' }, []],
  ];
  for (const [parts, expected] of cases) t.same(await messages(t, parts), expected);
});
