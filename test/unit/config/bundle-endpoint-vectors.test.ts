import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../../src/config/load.js';
import { allows, readVectors } from '../identity/vectors.js';

interface EndpointInput {
  readonly url?: string;
  readonly profile?: string;
  readonly trustDomain?: string;
  readonly endpointSpiffeId?: string;
  readonly redirect?: unknown;
  readonly serverId?: unknown;
  readonly role?: string;
}

const BASE = `version: 1
identity: { files: { certificate: own.pem, key: own-key.pem } }
listeners: [{ name: inbound, address: 127.0.0.1:0, routes: [{ name: all, path: /**, upstream: u }] }]
upstreams: { u: { url: "http://127.0.0.1:9" } }
policy: policy.yaml
`;

/** What the configuration says of an endpoint so written: its problems, or the endpoint that comes of it. */
async function judge(t: Test, { trustDomain, url, profile, endpointSpiffeId }: EndpointInput) {
  const dir = t.testdir({ 'policy.yaml': 'version: 1\ndefault: deny\nrules: []\n' });
  const endpoint = { url, profile, spiffeId: endpointSpiffeId, bootstrap: 'boot.pem' };
  const other = { trustDomain: 'b.test', bundle: { file: 'b.pem' } };
  const trust = JSON.stringify([{ trustDomain, bundle: { endpoint } }, other]); // JSON is YAML, and leaves out what is undefined
  writeFileSync(join(dir, 'countersign.yaml'), `${BASE}trust: ${trust}\n`);
  const { config, problems } = await loadConfig(join(dir, 'countersign.yaml'), {});
  return {
    bundle: config?.trust[0]?.bundle,
    problem: problems.map(({ path, message }) => `${path}: ${message}`).join('; '),
  };
}

const REASONS: Readonly<Record<string, RegExp>> = {
  userinfo: /^trust\[0\]\.bundle\.endpoint\.url: .*userinfo/,
  'profile-missing': /^trust\[0\]\.bundle\.endpoint\.profile: is required$/,
  profile: /^trust\[0\]\.bundle\.endpoint\.profile: must be one of https_web, https_spiffe/,
};

t.test('every vector of a written endpoint is judged as it asks, and refused for its reason', async (t) => {
  let judged = 0;
  for (const { id, input, expect, why } of readVectors<EndpointInput>('bundle-endpoint')) {
    // A role of server is not ours: bundles are consumed, not served. The others need servers: bundle-endpoint.test.ts
    if (input.role !== undefined || input.redirect !== undefined || input.serverId !== undefined) continue;
    judged++;
    const { bundle, problem } = await judge(t, { trustDomain: 'a.test', ...input });
    t.ok(allows(expect, bundle === undefined ? 'reject' : 'accept'), `${id}: ${why} (${problem})`);
    if (expect.outcome === 'reject') t.match(problem, REASONS[String(expect.reason)] ?? 'no such reason', id);
    else t.match(bundle, { kind: 'endpoint', profile: { kind: input.profile } }, id);
  }
  t.equal(judged, 7);
});

t.test('url, profile and trust domain are all needed, and none stands in for another', async (t) => {
  const whole = {
    trustDomain: 'a.test',
    url: 'https://a.test/b',
    profile: 'https_spiffe',
    endpointSpiffeId: 'spiffe://b.test/server',
  };
  const at = 'trust[0].bundle.endpoint';
  const expected: [object, string | RegExp][] = [
    [{}, ''],
    [{ profile: 'https_web', endpointSpiffeId: undefined }, ''],
    [{ trustDomain: undefined }, /^trust\[0\]: needs a `trustDomain`/],
    [{ trustDomain: 'A.test' }, 'trust[0].trustDomain: the trust domain has capital letters'],
    [{ url: undefined }, `${at}.url: is required`],
    [{ url: 'http://a.test/b' }, `${at}.url: the URL's scheme is http, and must be https`],
    [{ profile: undefined }, `${at}.profile: is required`],
    [{ profile: 'https' }, `${at}.profile: must be one of https_web, https_spiffe, not "https"`],
    [{ profile: 'HTTPS_WEB' }, `${at}.profile: must be one of https_web, https_spiffe, not "HTTPS_WEB"`],
    [{ profile: 'https_web' }, `${at}.spiffeId: is not checked by https_web; it goes with https_spiffe`],
    [{ endpointSpiffeId: undefined }, `${at}: https_spiffe needs the \`spiffeId\` of the endpoint`],
    [{ endpointSpiffeId: 'https://b.test/x' }, /\.spiffeId: .*the scheme is not spiffe/],
    [{ endpointSpiffeId: 'spiffe://b.test' }, /\.spiffeId: names a trust domain, not a workload/],
  ];
  for (const [changes, why] of expected) {
    const { bundle, problem } = await judge(t, { ...whole, ...changes });
    if (typeof why === 'string') t.equal(problem, why, JSON.stringify(changes));
    else t.match(problem, why, JSON.stringify(changes));
    t.equal(bundle !== undefined, why === '', 'a problem is a refusal');
  }
});
