// biome-ignore-all lint/suspicious/noTemplateCurlyInString: messages about ${NAME} are part of what is tested
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import t from 'tap';
import { loadAll, loadConfig } from '../../../src/config/load.js';
import { readPolicyFile } from '../../../src/config/policy-file.js';
import { formatProblem, type Problem } from '../../../src/config/problem.js';
import { parseRevocations } from '../../../src/config/revocations.js';

const FOLDER = 'test/fixtures/broken';
const NOW_MS = Date.UTC(2026, 10, 22);

/** File -> the problems it must show, each `line:column path: beginning of the message`, all of them and in this order. */
const expected: readonly [file: string, problems: readonly string[]][] = [
  [
    'config-address-bare-port.yaml',
    ['9:14 listeners[0].address: says no address; write 0.0.0.0:8443 for all of them or'],
  ],
  [
    'config-address-ipv6-bare.yaml',
    ['9:14 listeners[0].address: "::1:8443": an IPv6 address stands in brackets, [::1]:8443'],
  ],
  [
    'config-address-no-port.yaml',
    ['9:14 listeners[0].address: "127.0.0.1" has no port; write 127.0.0.1:8443'],
  ],
  ['config-address-number.yaml', ['9:14 listeners[0].address: must be text, not 8443']],
  ['config-address-port-range.yaml', ['9:14 listeners[0].address: "84430" is not a port from 0 to 65535']],
  ['config-address-taken.yaml', ['15:19 admin.address: 127.0.0.1:8443 is taken already by listener inbound']],
  ['config-admin-remote.yaml', ['15:19 admin.address: 0.0.0.0:9901 can be reached by other machines; say']],
  [
    'config-anchor-and-alias.yaml',
    [
      '6:16 trust[0].bundle: anchors are not allowed; write the value out',
      '9:12 listeners[0].extra: aliases are not allowed; write the value out',
    ],
  ],
  [
    'config-crl-required-but-none.yaml',
    ['7:28 trust[0].revocation.require: leaf needs `crls`: without one, every workload of a.test is'],
  ],
  ['config-duplicate-key.yaml', ['15:1 this key is here twice']],
  ['config-duplicate-upstream.yaml', ['14:3 this key is here twice']],
  ['config-duration-beyond-timer.yaml', ['15:26 deadlines.tunnelIdle: must be at most 24d']],
  ['config-duration-quoted-without-unit.yaml', ['15:20 deadlines.head: "10" has no unit; write 10s or 10ms']],
  [
    'config-duration-unknown-unit.yaml',
    ['16:9 deadlines.idle: "min" is not a unit of time; use ms, s, m, h or d'],
  ],
  ['config-duration-without-unit.yaml', ['15:20 deadlines.head: add a unit, such as 10s']],
  [
    'config-emergency-not-its-own.yaml',
    ['16:23 emergencyRevocations: must be a file of its own: this one is written by people'],
  ],
  [
    'config-flag-beyond-max.yaml',
    ['5:21 identity.flagSvidLifetime: must be shorter than `maxSvidLifetime`, which refuses'],
  ],
  ['config-duration-zero.yaml', ['15:25 deadlines.handshake: must be more than 0']],
  ['config-empty-value.yaml', ['14:1 policy: has no value']],
  ['config-empty.yaml', ['1:1 has no value']],
  ['config-env-elsewhere.yaml', ['11:28 listeners[0].routes[0].path: "{" cannot stand in a canonical path']],
  ['config-env-in-name.yaml', ['15:21 audit.onFailure: must be one of deny, allow, not "${MODE}"']],
  [
    'config-env-in-template.yaml',
    ['15:31 forward.headers.X-User: ${…} is read in file names and addresses only'],
  ],
  ['config-env-malformed.yaml', ['6:21 trust[0].bundle.file: "${BUNDLE" is not ${NAME}']],
  ['config-env-unset.yaml', ['3:40 identity.files.key: environment variable SVID_KEY_FILE is not set']],
  [
    'config-forward-framing-header.yaml',
    ['15:39 forward.headers.Content-Length: is written by the proxy itself or by HTTP'],
  ],
  [
    'config-forward-same-header-twice.yaml',
    ['15:47 forward.headers.X_USER: is the same header as X-User for many servers'],
  ],
  [
    'config-forward-unknown-field.yaml',
    ['15:31 forward.headers.X-User: unknown field {ID}; there are id, trustDomain, path,'],
  ],
  [
    'config-gateway-foreign.yaml',
    ['15:40 trustedPeers.gateways[0].spiffeId: trust domain c.test is not configured under `trust`'],
  ],
  [
    'config-bundle-endpoint.yaml',
    [
      "7:32 trust[1].bundle.endpoint.url: the URL's scheme is http, and must be https",
      '9:25 trust[2].bundle.endpoint: https_spiffe needs the `spiffeId` of the endpoint',
      '11:25 trust[3].bundle.endpoint.profile: is required',
      '13:87 trust[4].bundle.endpoint.spiffeId: is not checked by https_web; it goes with https_spiffe',
      '15:46 trust[5].bundle.workloadApi: a bundle comes from one place',
      '17:13 trust[6].bundle: must say where the bundle comes from',
    ],
  ],
  [
    'config-bundle-endpoint-domains.yaml',
    [
      '7:25 trust[1].bundle.endpoint: an https_spiffe endpoint in b.test itself needs a `bootstrap` bundle',
      '9:90 trust[2].bundle.endpoint.spiffeId: trust domain x.test is not configured under `trust`',
      '11:84 trust[3].bundle.endpoint.store: is the store of trust[2] already',
    ],
  ],
  [
    'config-trust-folder.yaml',
    [
      '7:38 trust[1].trustDomain: does not go with `folder`, whose files say it',
      '8:5 trust[2]: needs a `trustDomain`, or a `folder` of bundles',
    ],
  ],
  [
    'config-workload-api.yaml',
    [
      '4:16 identity.workloadApi: our own SVID comes from one place: `files` or `workloadApi`, not both',
      '4:26 identity.workloadApi.socket: "unix://run/a.sock" has an authority, which a unix socket has not',
      '4:53 identity.workloadApi.hint: goes by `id` already',
    ],
  ],
  ['config-workload-api-nowhere.yaml', ['3:16 identity.workloadApi: no Workload API socket is named']],
  [
    'config-gateway-pattern.yaml',
    ['15:40 trustedPeers.gateways[0].spiffeId: the path has the character "*"'],
  ],
  ['config-header-count-beyond-node.yaml', ['15:24 limits.headerCount: must be at most 1000']],
  [
    'config-audit-synced-stdout.yaml',
    ['15:22 audit.durability: synced needs a regular file as `file`: standard output is no disk'],
  ],
  [
    'config-outbound-without-server-id.yaml',
    ['12:43 listeners[0].routes[0].upstream: "billing" needs a `spiffeId`: what goes out shows our SVID,'],
  ],
  ['config-tcp-with-path.yaml', ['12:28 listeners[0].routes[0].path: a tcp listener carries no requests']],
  ['config-server-id-without-tls.yaml', ['13:54 upstreams.billing.spiffeId: needs https:// or tls://']],
  [
    'config-workers-zero.yaml',
    [
      '15:10 workers: must be `auto` (one for each CPU that the cgroup grants) or a whole number from 1 to 256',
    ],
  ],
  [
    'config-limits-beyond-workers.yaml',
    [
      '15:55 limits.requestsPerPrincipal.burst: 3 cannot be shared by 4 workers: write at least 4',
      '15:84 limits.concurrentPerPrincipal: 1 cannot be shared by 4 workers: write at least 4',
    ],
  ],
  ['config-list.yaml', ['1:1 must be a mapping, not a list']],
  ['config-listener-name-twice.yaml', ['12:11 listeners[1].name: "inbound" is also listeners[0]']],
  ['config-no-trust.yaml', ['4:8 trust: must name at least one trust domain']],
  ['config-not-utf8.yaml', ['13:4 is not UTF-8 text']],
  ['config-policy-file-missing.yaml', ['14:9 policy: no-such-policy.yaml: there is no such file']],
  ['config-proto-key.yaml', ['15:1 `__proto__` cannot be a key']],
  [
    'config-rate-quoted-without-unit.yaml',
    [
      '15:41 limits.requestsPerPrincipal.rate: "500" has no unit; write 500/s or 500/m',
      '15:55 limits.requestsPerPrincipal.burst: must be at least 1',
    ],
  ],
  [
    'config-rate-unknown-unit.yaml',
    ['15:41 limits.requestsPerPrincipal.rate: "day" is not what a rate is counted by; use s, m or h'],
  ],
  ['config-rate-without-burst.yaml', ['15:33 limits.requestsPerPrincipal.burst: is required']],
  ['config-rate-without-unit.yaml', ['15:41 limits.requestsPerPrincipal.rate: add a unit, such as 500/s']],
  ['config-rate-zero.yaml', ['15:41 limits.requestsPerPrincipal.rate: must be from 1/s to 100000/s']],
  [
    'config-route-host-port.yaml',
    ['11:28 listeners[0].routes[0].host: must be without a port: the port is not part of the match'],
  ],
  [
    'config-route-host-wildcard.yaml',
    ['11:28 listeners[0].routes[0].host: must be one exact host; leave it out to take any host'],
  ],
  [
    'config-route-name-twice.yaml',
    ['12:17 listeners[0].routes[1].name: "all" is also listeners[0].routes[0]'],
  ],
  [
    'config-route-named-like-other-upstream.yaml',
    ['11:17 listeners[0].routes[0].name: "ledger" is also an upstream, but this route leads to'],
  ],
  [
    'config-route-path-partial-wildcard.yaml',
    ['11:28 listeners[0].routes[0].path: "ap*": a wildcard stands for whole segments (* one, ** any'],
  ],
  [
    'config-route-path-regex.yaml',
    ['11:28 listeners[0].routes[0].path: "^" cannot stand in a canonical path'],
  ],
  [
    'config-route-same-match.yaml',
    ['12:30 listeners[0].routes[1].path: route "all" has the same host and path'],
  ],
  [
    'config-route-two-braces.yaml',
    ['11:9 listeners[0].routes[0]: a key must be text; quote it', '11:31 Unexpected scalar token'],
  ],
  ['config-second-document.yaml', ['15:1 a second document begins here; one file holds one document']],
  [
    'config-several-at-once.yaml',
    [
      '1:1 policy: is required',
      '5:18 trust[0].trustDomain: the trust domain has the character "/"',
      '9:14 listeners[0].address: "nowhere" has no port; write nowhere:8443',
      '14:1 polcy: unknown key `polcy`; did you mean `policy`?',
    ],
  ],
  [
    'config-size-decimal-unit.yaml',
    ['15:22 limits.bodyBytes: "MB" is not a unit of size; use B, KiB, MiB or GiB'],
  ],
  ['config-size-without-unit.yaml', ['15:24 limits.headerBytes: add a unit, such as 32KiB']],
  ['config-tab.yaml', ['5:1 a tab cannot indent YAML; use spaces']],
  ['config-tag.yaml', ['14:18 policy: tags are not allowed']],
  ['config-trust-domain-as-id.yaml', ['5:18 trust[0].trustDomain: the trust domain holds a port or scheme']],
  ['config-trust-domain-capitals.yaml', ['5:18 trust[0].trustDomain: the trust domain has capital letters']],
  ['config-trust-domain-twice.yaml', ['7:18 trust[1].trustDomain: a.test is configured already in trust[0]']],
  ['config-unclosed-flow.yaml', ['4:1 Flow map in block collection must be sufficiently indented']],
  [
    'config-unknown-key.yaml',
    ['1:1 policy: is required', '14:1 polcy: unknown key `polcy`; did you mean `policy`?'],
  ],
  [
    'config-unknown-nested-key.yaml',
    [
      '3:10 identity.files.certificate: is required',
      '3:12 identity.files.certifcate: unknown key `certifcate`; did you mean `certificate`?',
    ],
  ],
  [
    'config-upstream-bad-name.yaml',
    ['13:3 upstreams.bil ling: the name must be 1 to 64 letters, digits, `.`, `_` or `-`,'],
  ],
  [
    'config-upstream-scheme.yaml',
    [
      '13:19 upstreams.billing.url: "ftp://127.0.0.1:8080" must begin with http://, https://, tcp://, tls:// or',
    ],
  ],
  [
    'config-upstream-path.yaml',
    ['13:19 upstreams.billing.url: must end after host and port: paths are forwarded as they'],
  ],
  [
    'config-upstream-unknown.yaml',
    ['11:43 listeners[0].routes[0].upstream: there is no upstream "biling"; did you mean "billing"?'],
  ],
  ['config-version-missing.yaml', ['1:1 version: is required']],
  ['config-version-two.yaml', ['1:10 version: must be 1, not 2']],
  ['policy-default-allow.yaml', ['2:10 default: must be deny: what no rule allows is refused']],
  ['policy-default-missing.yaml', ['1:1 default: must be deny: what no rule allows is refused']],
  ['policy-effect-typo.yaml', ['5:13 rules[0].effect: must be one of allow, deny, not "alow"']],
  [
    'policy-empty-methods.yaml',
    ['8:14 rules[0].methods: must not be empty: leave it out for any, or drop the rule'],
  ],
  [
    'policy-exceptions.yaml',
    [
      '6:5 exceptions[0].owner: is required',
      '6:5 exceptions[0].reason: is required',
      '6:5 exceptions[0].allow: is required',
      '6:5 exceptions[0].expires: is required',
      '12:76 exceptions[1].allow.effect: unknown key `effect`',
      '11:14 exceptions[1].expires: must be later than `starts`',
      '13:92 exceptions[2].allow.principals: must name at least one principal',
      '13:110 exceptions[2].allow.destinations: must name at least one upstream or route',
      '13:5 exceptions[2].expires: is required',
      '13:41 exceptions[2].expire: unknown key `expire`; did you mean `expires`?',
    ],
  ],
  [
    'policy-exceptions-ids.yaml',
    [
      '6:11 exceptions[0].id: "open" is also the id of rules[0]',
      '7:11 exceptions[1].id: `default` is the name of the rule that denies everything else',
      '9:11 exceptions[3].id: "EX-1" is also the id of exceptions[2]',
      '9:155 exceptions[3].allow.when: request has no field nothing; it has',
    ],
  ],
  ['policy-id-default.yaml', ['4:9 rules[0].id: `default` is the name of the rule that denies everything']],
  ['policy-id-twice.yaml', ['10:11 rules[1].id: "open" is also the id of rules[0]']],
  [
    'policy-reads.yaml',
    [
      '4:13 reads.headers[0]: is written in lower case: x-region',
      '4:23 reads.headers[1]: never crosses as the client sent it, so nothing may be decided by it',
      '4:36 reads.headers[2]: looks like a credential, and what conditions read is recorded',
      '4:47 reads.headers[3]: is not a header name',
      '4:59 reads.headers[4]: is written with letters, digits and -: servers take others for it',
      '5:11 reads.query[0]: must be letters, digits, and - . _ ~',
    ],
  ],
  [
    'policy-merge-key.yaml',
    [
      '10:5 rules[1].id: is required',
      '10:5 rules[1].effect: is required',
      '10:5 rules[1].principals: is required',
      '10:5 rules[1].destinations: is required',
      '10:5 rules[1].<<: unknown key `<<`',
    ],
  ],
  ['policy-method-lower-case.yaml', ['8:20 rules[0].methods[1]: must be a method in capitals, such as GET']],
  ['policy-no-principals.yaml', ['6:17 rules[0].principals: must name at least one principal']],
  [
    'policy-partial-wildcard.yaml',
    ['6:18 rules[0].principals[0]: "we*": a wildcard stands for whole segments (* one, ** any'],
  ],
  [
    'policy-path-dots.yaml',
    ['9:13 rules[0].paths[0]: a ".." segment never reaches policy: such paths are refused'],
  ],
  [
    'policy-path-encoded-dot.yaml',
    ['9:13 rules[0].paths[0]: %2e must be written ".": requests that encode it are refused'],
  ],
  ['policy-path-relative.yaml', ['9:13 rules[0].paths[0]: must begin with /']],
  ['policy-principal-as-text.yaml', ['6:17 rules[0].principals: must be a list, not "spiffe://a.test/web"']],
  ['policy-principals-missing.yaml', ['4:5 rules[0].principals: is required']],
  ['policy-test-request.yaml', ['11:41 tests[0].request: must be a method, one space and a URL']],
  ['policy-test-unknown-rule.yaml', ['11:81 tests[0].rule: there is no rule or exception "opne"']],
  ['policy-unknown-key.yaml', ['8:5 rules[0].method: unknown key `method`; did you mean `methods`?']],
  [
    'policy-wildcard-trust-domain.yaml',
    ['6:18 rules[0].principals[0]: a wildcard may not stand in the trust domain'],
  ],
  ['revoked-date-impossible.yaml', ['3:47 revoked[0].at: "2026-02-30T10:00:00Z" is not a time, such as']],
  ['revoked-date-without-zone.yaml', ['3:47 revoked[0].at: "2026-11-21T10:00:00" is not a time, such as']],
  ['revoked-id-pattern.yaml', ['3:11 revoked[0].id: the path has the character "*"']],
  ['revoked-no-reason.yaml', ['3:5 revoked[0].reason: is required']],
  ['revoked-nothing-named.yaml', ['3:5 revoked[0]: must say what is revoked: one of id, idPrefix, serial,']],
  ['revoked-prefix-trailing-slash.yaml', ['3:17 revoked[0].idPrefix: the path ends with a slash']],
  ['revoked-serial-number.yaml', ['3:15 revoked[0].serial: must be quoted, or YAML reads it as a number']],
  ['revoked-serial-without-issuer.yaml', ['3:15 revoked[0].serial: needs the `issuer`']],
  ['revoked-short-fingerprint.yaml', ['3:15 revoked[0].sha256: must be 64 hexadecimal digits']],
  [
    'revoked-two-named.yaml',
    ['3:38 revoked[0].sha256: must name one thing, not id and sha256: write an entry for'],
  ],
  [
    'revoked-unknown-key.yaml',
    ['3:43 revoked[0].issuedbefore: unknown key `issuedbefore`; did you mean `issuedBefore`?'],
  ],
  ['revoked-author-empty.yaml', ['3:51 revoked[0].author: must not be empty']],
  ['revoked-until-before-at.yaml', ['3:76 revoked[0].until: must be later than `at`']],
  [
    'trust-bad-crl.yaml',
    [
      '6:21 trust[0].bundle.file: bundle-text.pem: the bundle holds no certificate',
      '7:26 trust[0].revocation.crls[0]: bundle-text.pem: the file holds no revocation list',
    ],
  ],
  [
    'trust-cut-json.yaml',
    ['6:21 trust[0].bundle.file: bundle-cut.json: the bundle is not sound JSON: malformed'],
  ],
  [
    'trust-cut-pem.yaml',
    ['6:21 trust[0].bundle.file: bundle-cut.pem: the CERTIFICATE block of line 1 has no end'],
  ],
  ['trust-empty-pem.yaml', ['6:21 trust[0].bundle.file: bundle-empty.pem: the bundle is empty']],
  [
    'trust-garbage-pem.yaml',
    ['6:21 trust[0].bundle.file: bundle-garbage.pem: line 1: the certificate cannot be read:'],
  ],
  ['trust-missing.yaml', ['6:21 trust[0].bundle.file: no-such-bundle.pem: there is no such file']],
  ['trust-no-keys-json.yaml', ['6:21 trust[0].bundle.file: bundle-no-keys.json: holds no authority']],
  ['trust-text-pem.yaml', ['6:21 trust[0].bundle.file: bundle-text.pem: the bundle holds no certificate']],
];

async function problemsOf(file: string): Promise<readonly Problem[]> {
  const path = `${FOLDER}/${file}`;
  if (file.startsWith('policy-')) return readPolicyFile(readFileSync(path), path).problems;
  if (file.startsWith('revoked-')) return parseRevocations(readFileSync(path), path).problems;
  if (file.startsWith('trust-')) {
    // Those files name no certificate that exists: here only trust is looked at.
    const { problems } = await loadAll(path, {}, NOW_MS);
    return problems.filter((problem) => problem.path.startsWith('trust'));
  }
  return (await loadConfig(path, {})).problems;
}

t.test('every broken file is refused with all its problems, each at its line and column', async (t) => {
  t.ok(expected.length >= 90);
  for (const [file, wanted] of expected) {
    const problems = await problemsOf(file);
    t.equal(problems.length, wanted.length, `${file}: ${problems.map(formatProblem).join(' | ')}`);
    for (const [i, start] of wanted.entries()) {
      const problem = problems[i];
      const text =
        problem === undefined ? '' : formatProblem(problem).replaceAll(/\/?\S*\/fixtures\/broken\//g, '');
      t.ok(text.startsWith(`${file}:${start}`), `${text} is ${file}:${start}`);
    }
  }
});

t.test('a broken configuration gives neither configuration nor policy', async (t) => {
  const { config, policy } = await loadConfig(`${FOLDER}/config-unknown-key.yaml`, {});
  t.equal(config, undefined);
  t.equal(policy, undefined);
});

t.test('an alias bomb is refused at its first anchor, without being unfolded', async (t) => {
  const { problems } = await loadConfig(`${FOLDER}/config-alias-bomb.yaml`, {});
  t.match(problems[0], { line: 1, column: 7, message: /^anchors are not allowed/ });
  t.ok(problems.length <= 200);
});

t.test('problems of the configuration and of its policy come together', async (t) => {
  const { problems } = await loadConfig(`${FOLDER}/config-policy-broken-too.yaml`, {});
  t.match(
    problems.map((problem) => [basename(problem.file), problem.line, problem.path]),
    [
      ['config-policy-broken-too.yaml', 1, 'version'],
      ['policy-default-allow.yaml', 2, 'default'],
    ],
  );
});

t.test('a file that is not there is one problem', async (t) => {
  const { problems } = await loadConfig(`${FOLDER}/no-such-file.yaml`, {});
  t.equal(problems.length, 1);
  t.match(problems[0]?.message, /there is no such file/);
});

t.test('nesting without end is a problem, not a crash', async (t) => {
  const { problems, input } = readPolicyFile('['.repeat(200_000), 'deep.yaml');
  t.equal(input, undefined);
  t.equal(problems.length, 1);
});
