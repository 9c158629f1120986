import { join } from 'node:path';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { runReplay } from '../../../src/cli/replay.js';
import { MAX_GROUPS } from '../../../src/cli/replay-tally.js';
import { type RecordChanges, recordText } from '../../support/records.js';

const CONFIG = `version: 1
identity: { files: { certificate: a.pem, key: b.pem } }
trust: [{ trustDomain: a.test, bundle: { file: c.pem } }]
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes:
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: ws, host: svc.test, path: /ws, upstream: u, upgrade: [websocket] }
      - { name: files, host: files.test, path: /**, upstream: u }
      - { name: any, path: /any/**, upstream: u }
upstreams: { u: { url: "http://127.0.0.1:1" }, v: { url: "http://127.0.0.1:2" } }
policy: policy.yaml
`;
const POLICY = `version: 1
default: deny
reads: { headers: [x-region], query: [dry_run] }
rules:
  - { id: public, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }
`;
const rule = (text: string): string => POLICY.replace('rules:\n', `rules:\n  - { ${text} }\n`);
const DENY_WEB = rule('id: no-web, effect: deny, principals: ["spiffe://a.test/web"], destinations: [u]');
const NOBODY = POLICY.replace(/ {2}- .*\n/, '').replace('rules:\n', 'rules: []\n');

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  // biome-ignore lint/suspicious/noExplicitAny: JSON for programs is read back as plain JSON
  readonly json: any;
}

interface Setting {
  readonly config?: string;
  readonly policy?: string;
  /** Of the file `audit.ndjson`. */
  readonly records?: string | readonly RecordChanges[];
}

const linesOf = (records: readonly RecordChanges[]): string =>
  records.map((record) => `${recordText(record)}\n`).join('');

async function replay(t: Test, { config, policy, records }: Setting, ...args: string[]): Promise<Ran> {
  const cwd = t.testdir({
    'c.yaml': config ?? CONFIG,
    'policy.yaml': policy ?? POLICY,
    'audit.ndjson': typeof records === 'string' ? records : linesOf(records ?? [{}]),
  });
  let [out, err] = ['', ''];
  const io = {
    stdout: (text: string) => {
      out += text;
    },
    stderr: (text: string) => {
      err += text;
    },
    env: {},
    cwd,
    stdin: () => Readable.from([Buffer.from(linesOf([{}, {}]))]),
  };
  const argv =
    args.includes('--audit') || args.includes('--no-audit') ? args : ['--audit', 'audit.ndjson', ...args];
  const code = await runReplay(
    ['-c', 'c.yaml', ...argv.filter((word) => word !== '--no-audit')],
    io,
    Date.parse('2026-11-22T10:00:00Z'),
  );
  return { code, out, err, json: out.startsWith('{') ? JSON.parse(out) : undefined };
}

t.test('nothing changes under a configuration that gives the same answers: exit 0', async (t) => {
  const { code, out } = await replay(t, { records: [{}, {}] }, '--all');
  t.equal(code, 0);
  t.match(out, /^c\.yaml, policy [0-9a-f]{16}\n\n2 requests judged\n {2}2 as before\n$/);
});

t.test(
  'who was allowed and would be refused is listed by identity and rule, with an example: exit 1',
  async (t) => {
    const records = [
      {},
      { time: '2026-11-21T12:00:00.000Z' },
      { principal: { id: 'spiffe://a.test/batch' } },
    ];
    const { code, out } = await replay(t, { policy: DENY_WEB, records });
    t.equal(code, 1);
    t.equal(
      out.slice(out.indexOf('\n')),
      `

allowed then, refused now: 2 requests
  spiffe://a.test/web to u, 2 requests
      then allow (rule_allowed, rule public, destination u); now deny (policy_denied, rule no-web, destination u)
      such as GET svc.test/public/a at 2026-11-21T10:00:00.000Z; first 2026-11-21T10:00:00.000Z, last 2026-11-21T12:00:00.000Z

3 requests judged
  1 as before
  2 allowed then, refused now
`,
    );
  },
);

t.test('who was refused and would be allowed comes first', async (t) => {
  const denied = { decision: { effect: 'deny', reason: 'no_rule_matched', rule: 'default' } };
  const records = [{}, { ...denied, principal: { id: 'spiffe://a.test/new' } }];
  const { code, json, out } = await replay(t, { policy: DENY_WEB, records }, '--json');
  t.equal(code, 1, out);
  t.same(json.changed, { deny_to_allow: 1, allow_to_deny: 1, same_effect: 0, undecidable: 0 });
  t.match(json, {
    ok: false,
    judged: 2,
    unchanged: 0,
    groups: [
      {
        change: 'deny_to_allow',
        identity: 'spiffe://a.test/new',
        was: { rule: 'default' },
        now: { rule: 'public' },
      },
      {
        change: 'allow_to_deny',
        identity: 'spiffe://a.test/web',
        was: { rule: 'public' },
        now: { rule: 'no-web' },
      },
    ],
  });
});

t.test('another rule or destination for the same answer is counted, and listed with --all', async (t) => {
  const records = [{ decision: { rule: 'old-name' } }, { request: { destination: 'v' } }, {}];
  const quiet = await replay(t, { records });
  t.equal(quiet.code, 0);
  t.match(
    quiet.out,
    / {2}1 as before\n {2}2 the same answer for another reason\n {2}--all lists those with the same answer\n/,
  );
  t.notMatch(quiet.out, 'old-name');
  const all = await replay(t, { records }, '--all');
  t.equal(all.code, 1);
  t.match(
    all.out,
    'then allow (rule_allowed, rule old-name, destination u); now allow (rule_allowed, rule public',
  );
  t.match(
    all.out,
    'then allow (rule_allowed, rule public, destination v); now allow (rule_allowed, rule public, destination u)',
  );
});

t.test('a route or listener that is gone, or takes other requests, is a change too', async (t) => {
  const cases: readonly (readonly [RecordChanges, string, object])[] = [
    [{}, CONFIG.replace('/public/**', '/private/**'), { reason: 'route_not_found' }],
    [
      {},
      CONFIG.replace('name: inbound', 'name: front'),
      { reason: 'route_not_found', detail: 'there is no listener inbound' },
    ],
    [
      { phase: 'start', request: { path: '/ws' } },
      CONFIG.replace(', upgrade: [websocket]', ''),
      { reason: 'upgrade_refused' },
    ],
    [
      { request: { host: 'files.test', path: '/x' }, tls: { serverName: 'any.test' } },
      CONFIG,
      { reason: 'misdirected_request', detail: 'TLS was asked for any.test' },
    ],
    [
      { request: { path: '/public/a%2Fb' } },
      CONFIG,
      { reason: 'path_ambiguous', detail: 'route r1 does not say encodedSlash: allow' },
    ],
  ];
  for (const [record, config, now] of cases) {
    const { code, json } = await replay(t, { config, records: [record] }, '--json');
    t.equal(code, 1);
    t.match(json.groups, [{ change: 'allow_to_deny', now: { effect: 'deny', ...now } }]);
  }
});

t.test('what routes refused is allowed by a configuration that takes it', async (t) => {
  const deny = (reason: string) => ({ effect: 'deny', reason, rule: undefined });
  const cases: readonly (readonly [RecordChanges, string])[] = [
    [{ decision: deny('route_not_found'), request: { path: '/any/a', destination: undefined } }, CONFIG],
    [{ decision: deny('misdirected_request'), request: { path: '/any/a', host: 'other.test' } }, CONFIG],
    [
      { decision: deny('path_ambiguous'), request: { path: '/public/a%2Fb' } },
      CONFIG.replace('/public/**, upstream: u', '$&, encodedSlash: allow'),
    ],
  ];
  for (const [record, config] of cases) {
    const { code, json } = await replay(t, { config, records: [record] }, '--json');
    t.equal(code, 1);
    t.match(json.groups, [{ change: 'deny_to_allow', now: { effect: 'allow', rule: 'public' } }]);
  }
});

t.test('what neither routes nor policy refused is counted by its reason and left alone', async (t) => {
  const refused = (reason: string, request: RecordChanges['request'] = {}): RecordChanges => ({
    decision: { effect: 'deny', reason, rule: undefined },
    request,
  });
  const records = [
    {},
    refused('svid_expired'),
    refused('svid_expired'),
    refused('framing_ambiguous'),
    refused('rate_limited'),
    refused('client_aborted'),
    refused('path_ambiguous', { host: undefined, path: '/a/../b' }),
    refused('path_ambiguous', { path: '/public/a%2Fb' }), // the route does not take it now either
  ];
  const { code, out, json } = await replay(t, { policy: POLICY, records }, '--json', '--all');
  t.equal(code, 0, out);
  t.match(json, { judged: 1, unchanged: 1, requests: 8 });
  t.same(json.leftAlone, {
    svid_expired: 2,
    framing_ambiguous: 1,
    rate_limited: 1,
    client_aborted: 1,
    path_ambiguous: 2,
  });
  const text = await replay(t, { records });
  t.match(
    text.out,
    /^7 requests not decided by routes or policy, left alone: svid_expired 2, path_ambiguous 2, /m,
  );
});

t.test('a condition is judged by the values that the record holds', async (t) => {
  const policy = rule(
    `id: eu-only, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], when: 'request.headers["x-region"] != "eu"'`,
  );
  const region = (value: string | null): RecordChanges => ({ request: { headers: { 'x-region': value } } });
  const records = [region('eu'), region('us')];
  const { code, json, out } = await replay(t, { policy, records }, '--json');
  t.equal(code, 1, out);
  t.match(json, { unchanged: 1, changed: { allow_to_deny: 1 }, groups: [{ now: { rule: 'eu-only' } }] });
});

t.test(
  'what hangs on a value that was not recorded cannot be told: exit 1, or 0 when that is allowed',
  async (t) => {
    const conditions: readonly (readonly [string, RecordChanges, string])[] = [
      [
        `request.headers["x-region"] == "eu"`,
        { request: { headers: { 'x-other': 'a' } } },
        'request.headers["x-region"]',
      ],
      [`request.query["dry_run"] == "1"`, {}, 'request.query["dry_run"]'],
      [`credential.remaining > duration("5m")`, { principal: { notAfter: undefined } }, 'credential'],
      [`connection.resumed`, { tls: { resumed: undefined } }, 'connection'],
    ];
    for (const [when, record, unknown] of conditions) {
      const policy = rule(
        `id: perhaps, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], when: '${when}'`,
      );
      const records = [record];
      const { code, json, err } = await replay(t, { policy, records }, '--json');
      t.equal(code, 1, `${when} ${err}`);
      t.match(json, { ok: false, judged: 1, changed: { undecidable: 1, allow_to_deny: 0 } });
      t.equal(json.groups[0].change, 'undecidable');
      t.ok(json.groups[0].unknown.startsWith(unknown), json.groups[0].unknown);
      t.equal((await replay(t, { policy, records }, '--allow-undecidable')).code, 0);
      const text = await replay(t, { policy, records });
      t.match(text.out, `cannot be told: 1 request\n  spiffe://a.test/web to u, 1 request\n`);
      t.ok(text.out.includes(`; ${json.groups[0].unknown} is not in the record\n`), text.out);
    }
  },
);

t.test(
  'a record that lacks what the question needs cannot be judged, and says what is missing',
  async (t) => {
    const cases: readonly (readonly [RecordChanges, RegExp])[] = [
      [{ request: { truncated: true } }, /^request\.path, which was cut$/],
      [{ request: { listener: undefined } }, /^request\.listener$/],
      [{ request: { method: undefined } }, /^request\.method$/],
      [{ request: { host: undefined } }, /^request\.host$/],
      [{ request: { path: undefined } }, /^request\.path$/],
      [{ principal: { kind: 'none' } }, /^principal\.id$/],
      [{ principal: { id: 'https://a.test/web' } }, /^principal\.id$/],
    ];
    for (const [record, unknown] of cases) {
      const { code, json } = await replay(t, { records: [record] }, '--json');
      t.equal(code, 1);
      t.match(json.groups, [{ change: 'undecidable', unknown }]);
    }
  },
);

t.test('a rule that is only tried out changes nothing, and makes nothing undecidable', async (t) => {
  const policy = rule(
    `id: tried, mode: shadow, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], when: 'request.headers["x-region"] == "eu"'`,
  );
  const { code, json } = await replay(t, { policy }, '--json');
  t.equal(code, 0);
  t.match(json, { judged: 1, unchanged: 1 });
});

t.test('each request is judged at its own time, or at the one that is said', async (t) => {
  const policy = rule(
    `id: until-noon, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], when: 'now >= timestamp("2026-11-21T12:00:00Z")'`,
  );
  const records = [{}, { time: '2026-11-21T13:00:00.000Z' }];
  const own = await replay(t, { policy, records }, '--json');
  t.match(own.json, { unchanged: 1, changed: { allow_to_deny: 1 } });
  const now = await replay(t, { policy, records }, '--json', '--now');
  t.match(now.json, { at: '2026-11-22T10:00:00.000Z', changed: { allow_to_deny: 2 } });
  const at = await replay(t, { policy, records }, '--at', '2026-11-21T11:00:00Z');
  t.equal(at.code, 0);
  t.match(at.out, /, as if asked at 2026-11-21T11:00:00\.000Z$/m);
});

t.test('an exception that the new configuration does not name is said to be gone', async (t) => {
  const records = [{ decision: { reason: 'exception_allowed', rule: 'EX-7', exception: 'EX-7' } }];
  const { code, out } = await replay(t, { policy: NOBODY, records });
  t.equal(code, 1);
  t.match(out, 'exception EX-7 is not in the new configuration');
  const { json } = await replay(t, { policy: NOBODY, records }, '--json');
  t.match(json.groups, [{ was: { exception: 'EX-7' }, now: { rule: 'default' }, exceptionGone: true }]);
});

t.test('where an external engine has the last word, what it said then stands', async (t) => {
  const config = `${CONFIG}externalDecision: { url: "http://127.0.0.1:8181/v1/data/x", routes: [r1] }\n`;
  const mayAllow = config.replace('routes: [r1]', 'mayAllow: true');
  const said = (result: string): object => ({ external: { result, durationMs: 1 } });
  const allowed = { decision: { ...said('allow') } };
  const denied = { decision: { effect: 'deny', reason: 'external_denied', ...said('deny') } };
  const away = { decision: { effect: 'deny', reason: 'external_unavailable', ...said('unavailable') } };
  const alone = {
    decision: { effect: 'allow', reason: 'external_allowed', rule: '(external)', ...said('allow') },
  };
  const cases: readonly (readonly [string, string, RecordChanges, object])[] = [
    [config, POLICY, allowed, { unchanged: 1 }],
    [config, POLICY, denied, { unchanged: 1 }],
    [config, POLICY, away, { leftAlone: { external_unavailable: 1 } }],
    [config, DENY_WEB, allowed, { changed: { allow_to_deny: 1 } }],
    [config, POLICY, {}, { groups: [{ unknown: 'the answer of the external engine' }] }],
    [config, POLICY, { request: { path: '/any/a' } }, { unchanged: 1 }],
    [CONFIG, POLICY, allowed, { unchanged: 1 }],
    [CONFIG, POLICY, denied, { groups: [{ change: 'deny_to_allow', now: { rule: 'public' } }] }],
    [CONFIG, POLICY, away, { changed: { deny_to_allow: 1 } }],
    [CONFIG, NOBODY, alone, { groups: [{ change: 'allow_to_deny', now: { reason: 'no_rule_matched' } }] }],
    [mayAllow, NOBODY, alone, { unchanged: 1 }],
    [mayAllow, NOBODY, denied, { changed: { deny_to_allow: 0, allow_to_deny: 0, undecidable: 0 } }],
    [mayAllow, DENY_WEB, alone, { groups: [{ change: 'allow_to_deny', now: { rule: 'no-web' } }] }],
  ];
  for (const [given, policy, record, expected] of cases) {
    const { json, err } = await replay(t, { config: given, policy, records: [record] }, '--json');
    t.match(json, { requests: 1, ...expected }, err);
  }
});

t.test('only requests of the period count', async (t) => {
  const records = ['09', '10', '11'].map((hour) => ({ time: `2026-11-21T${hour}:00:00.000Z` }));
  const period = ['--since', '2026-11-21T10:00:00Z', '--until', '2026-11-21T11:00:00Z'];
  const { code, json } = await replay(t, { policy: DENY_WEB, records }, '--json', ...period);
  t.equal(code, 1);
  t.match(json, { judged: 1, outsidePeriod: 2, changed: { allow_to_deny: 1 } });
});

t.test('an upgraded connection with its two records is one request', async (t) => {
  const ws = { request: { path: '/ws' } };
  const { code, json } = await replay(
    t,
    {
      records: [
        { ...ws, phase: 'start' },
        { ...ws, phase: 'end' },
      ],
    },
    '--json',
  );
  t.equal(code, 0);
  t.match(json, { judged: 1, otherRecords: 1 });
});

t.test('other records are no requests, blank lines are nothing', async (t) => {
  const records = `${recordText({ event: 'handshake' })}\n\n \r\n${recordText({})}\r\n${recordText({ event: 'policy.changed' })}\n`;
  const { code, json } = await replay(t, { records }, '--json');
  t.equal(code, 0);
  t.match(json, { lines: 5, judged: 1, otherRecords: 2, brokenLines: 0 });
});

t.test(
  'a line that is no record could be anybody: it is counted, named, and exit 0 is not said of it',
  async (t) => {
    const broken = [
      '{"event":"access"',
      'hello',
      recordText({ decision: { effect: 'maybe' } }),
      'x'.repeat(1024 * 1024 + 1),
    ];
    const records = `${recordText({})}\n${broken.join('\n')}\n${recordText({})}\n`;
    const { code, out } = await replay(t, { records });
    t.equal(code, 1);
    t.match(out, /^2 requests judged\n {2}2 as before$/m);
    t.match(
      out,
      /^4 lines could be anybody's request, being no record: audit\.ndjson:2, audit\.ndjson:3, audit\.ndjson:4, audit\.ndjson:5$/m,
    );
    t.equal((await replay(t, { records }, '--allow-undecidable')).code, 0);
  },
);

t.test('a last line that is cut is said, and left out', async (t) => {
  const records = `${recordText({})}\n${recordText({}).slice(0, 100)}`;
  const { code, out, json } = await replay(t, { records });
  t.equal(code, 0);
  t.match(out, /^audit\.ndjson ends in the middle of a line, which was left out$/m);
  t.equal(json, undefined);
  const whole = await replay(t, { records: `${recordText({})}\n${recordText({})}` }, '--json');
  t.match(whole.json, { judged: 2, cutFiles: [] }, 'a whole record without its line end counts');
});

t.test('that there was nothing to judge says nothing: exit 1', async (t) => {
  for (const [records, ...args] of [
    [''],
    [`${recordText({ event: 'handshake' })}\n`],
    [`${recordText({})}\n`, '--since', '2999-01-01T00:00:00Z'],
  ] as const) {
    const { code, out } = await replay(t, { records }, ...args);
    t.equal(code, 1);
    t.match(out, /^no request was there to be judged, which says nothing$/m);
    t.equal((await replay(t, { records }, ...args, '--allow-undecidable')).code, 0);
  }
});

t.test('several files, as a shell lists them, and standard input are read together, each once', async (t) => {
  const files = ['--audit', 'audit.ndjson', './audit.ndjson', '-', '-'];
  const { code, json } = await replay(t, { records: [{}] }, '--json', ...files);
  t.equal(code, 0);
  t.equal(json.judged, 3);
  const twice = await replay(t, { records: [{}] }, '--json', '--audit', 'audit.ndjson', '--audit', '-');
  t.equal(twice.json.judged, 3);
});

t.test('groups are bounded, and what is beyond is counted', async (t) => {
  const records = Array.from({ length: MAX_GROUPS + 20 }, (_, i) => ({
    principal: { id: `spiffe://a.test/w${i}` },
  }));
  const { code, json } = await replay(t, { policy: NOBODY, records }, '--json');
  t.equal(code, 1);
  t.equal(json.groups.length, MAX_GROUPS);
  t.match(json, {
    changed: { allow_to_deny: MAX_GROUPS + 20 },
    ungrouped: { allow_to_deny: 20, undecidable: 0 },
  });
  const { out } = await replay(t, { policy: NOBODY, records });
  t.match(out, /^ {2}and 970 requests in further groups$/m);
});

t.test('what a record holds cannot steer a terminal', async (t) => {
  const records = [{ decision: { rule: '\u001b[2Jx' }, principal: { id: '\u0007' } }];
  const { out } = await replay(t, { policy: NOBODY, records });
  t.match(out, '\\u001b[2Jx');
  t.notMatch(out, /[^\n -~]/);
});

t.test('wrong usage is 64, a broken configuration or an unreadable file 78', async (t) => {
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [['--no-audit'], 64, /say where the records are/],
    [['--no-audit', 'audit.ndjson'], 64, /say where the records are/],
    [['--audit', ''], 64, /the name of a file is empty/],
    [['--since', 'yesterday'], 64, /--since: "yesterday" is not a time/],
    [
      ['--since', '2026-11-21T10:00:00Z', '--until', '2026-11-21T10:00:00Z'],
      64,
      /--since must be before --until/,
    ],
    [['--now', '--at', '2026-11-21T10:00:00Z'], 64, /say --now or --at, not both/],
    [['--no-such-option'], 64, /See: countersign replay --help/],
    [['--audit', 'none.ndjson'], 78, /none\.ndjson: cannot be read \(ENOENT\)/],
  ];
  for (const [args, code, said] of cases) {
    const ran = await replay(t, {}, ...args);
    t.equal(ran.code, code, args.join(' '));
    t.match(ran.err, said);
    t.equal(ran.out, '');
  }
  const broken = await replay(t, { policy: 'version: 1\ndefault: allow\nrules: []\n' });
  t.equal(broken.code, 78);
  t.match(broken.err, /^policy\.yaml:2:10 default: /m);
});

t.test('on a terminal it says how far it is, and takes it away again', async (t) => {
  const cwd = t.testdir({ 'c.yaml': CONFIG, 'policy.yaml': POLICY, 'audit.ndjson': `${recordText({})}\n` });
  for (const isTerminal of [true, false]) {
    let err = '';
    const stderr = (text: string): void => {
      err += text;
    };
    const io = { stdout: () => undefined, stderr, env: {}, cwd, isTerminal };
    t.equal(await runReplay(['-c', 'c.yaml', '--audit', join(cwd, 'audit.ndjson')], io), 0);
    t.equal(err, isTerminal ? '\r\u001b[K0 lines read, 100%\r\u001b[K' : '');
  }
});

t.test('a path that was redacted is judged as nothing, and counted apart', async (t) => {
  const records = [
    {},
    { request: { path: '/public/{id}', redacted: true } },
    { request: { path: '/**', redacted: true } },
    { request: { path: '/public/a' } },
  ];
  const { code, json } = await replay(t, { policy: DENY_WEB, records }, '--json');
  t.equal(code, 1);
  t.match(json, { judged: 4, redacted: 2, changed: { undecidable: 2, allow_to_deny: 2 } });
  const [group] = json.groups.filter(({ change }: { change: string }) => change === 'undecidable');
  t.match(group, { unknown: 'request.path, which was redacted', requests: 2 });
  const text = await replay(t, { policy: DENY_WEB, records });
  t.match(text.out, / {2}of them 2 because their path was redacted \(audit\.pathTemplates\)/);
  t.notMatch((await replay(t, { records: [{}] })).out, /redacted/);
});
