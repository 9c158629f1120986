import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import type { Report } from '../../../src/audit/report/report-model.js';
import { runAudit } from '../../../src/cli/audit.js';
import { dayOfRecords } from '../../support/day-of-records.js';
import { toldIo } from '../../support/told-io.js';

const LINES = [...dayOfRecords({ requests: 6000 })];
const DAY = LINES.join('');

interface Line {
  readonly event: string;
  readonly time: string;
  readonly seq: number;
  readonly stream: { readonly id: string };
  readonly principal?: {
    readonly id: string;
    readonly kind: string;
    readonly sha256: string;
    readonly keySha256: string;
    readonly owner?: string;
    readonly registered?: boolean;
    readonly authority: string;
  };
  readonly decision: {
    readonly effect: string;
    readonly reason: string;
    readonly rule?: string;
    readonly exception?: string;
    readonly policyRevision: string;
  };
  readonly request: {
    readonly destination: string;
    readonly route: string;
    readonly secrets?: readonly string[];
  };
  readonly response: { readonly outcome: string };
}
const RECORDS = LINES.map((line) => JSON.parse(line) as Line);
const ACCESS = RECORDS.filter(({ event }) => event === 'access');

interface Made {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly report: Report;
}

async function make(
  t: Test,
  files: Readonly<Record<string, string | Buffer>>,
  ...args: string[]
): Promise<Made> {
  const cwd = t.testdir(files as Record<string, string>);
  const io = toldIo(cwd, () => Readable.from([Buffer.from(DAY)]));
  const code = await runAudit(['report', ...args], io);
  const report = (io.out.startsWith('{') ? JSON.parse(io.out) : undefined) as Report;
  return { code, out: io.out, err: io.err, report };
}

const ofDay = (t: Test, ...args: string[]): Promise<Made> =>
  make(t, { 'day.ndjson': DAY }, 'day.ndjson', '--format', 'json', ...args);

/** Counted anew from the parsed lines, by another way than the report's. */
const count = <T>(items: readonly T[], keyOf: (item: T) => string): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1;
  return counts;
};
const idOf = ({ principal }: Line): string => principal?.id ?? '';

t.test('the totals are those of the records', async (t) => {
  const { code, report } = await ofDay(t);
  const allowed = ACCESS.filter(({ decision }) => decision.effect === 'allow');
  t.equal(code, 0);
  t.match(report, { report: 'countersign-access-report', version: 1 });
  t.match(report.totals, {
    requests: 6000,
    allowed: allowed.length,
    refused: 6000 - allowed.length,
    failed: allowed.filter(({ response }) => response.outcome !== 'complete').length,
    refusedConnections: 40,
    identities: new Set(ACCESS.map(idOf)).size,
    destinations: new Set(ACCESS.map(({ request }) => request.destination)).size,
    paths: new Set(allowed.map((line) => `${idOf(line)} ${line.request.destination}`)).size,
  });
  t.equal(report.reading.lines, LINES.length);
  t.equal(report.reading.records, LINES.length);
  t.equal(report.reading.bytes, Buffer.byteLength(DAY));
  t.equal(report.reading.first, RECORDS[0]?.time);
  t.equal(report.reading.isCapped, false);
});

t.test('every path has its counts, its rules and its times', async (t) => {
  const { report } = await ofDay(t);
  const expected = new Map<string, Line[]>();
  for (const line of ACCESS) {
    const key = `${idOf(line)} ${line.request.destination}`;
    expected.set(key, [...(expected.get(key) ?? []), line]);
  }
  t.equal(report.paths.length, expected.size);
  for (const path of report.paths) {
    const lines = expected.get(`${path.identity} ${path.destination}`) ?? [];
    const [allowed, refused] = ['allow', 'deny'].map((effect) =>
      lines.filter(({ decision }) => decision.effect === effect),
    ) as [Line[], Line[]];
    const times = lines.map(({ time }) => time).sort();
    const told = {
      allowed: allowed.length,
      refused: refused.length,
      firstSeen: times[0],
      lastSeen: times.at(-1),
      firstAllowed: allowed.map(({ time }) => time).sort()[0] ?? '',
      rules: count(allowed, ({ decision: { rule = '', exception } }) =>
        exception === undefined ? rule : `exception ${exception}`,
      ),
      reasons: count(refused, ({ decision }) => decision.reason),
    };
    const { identity: _, destination: __, rules, reasons, ...rest } = path;
    const named = (list: readonly { requests: number }[], key: string): Record<string, number> =>
      Object.fromEntries(
        list.map((item) => [(item as unknown as Record<string, string>)[key], item.requests]),
      );
    t.same({ ...rest, rules: named(rules, 'rule'), reasons: named(reasons, 'reason') }, told);
  }
});

t.test('identities, refusals, secrets, authorities and revisions are those of the records', async (t) => {
  const { report } = await ofDay(t);
  t.same(
    Object.fromEntries(report.identities.map(({ id, requests }) => [id, requests])),
    count(ACCESS, idOf),
  );
  const unknown = new Set(ACCESS.filter(({ principal }) => principal?.registered === false).map(idOf));
  t.same(
    new Set(report.identities.filter(({ registered }) => registered === false).map(({ id }) => id)),
    unknown,
  );
  t.ok(unknown.size > 0);
  const denied = ACCESS.filter(({ decision }) => decision.effect === 'deny');
  const reasons = count(denied, ({ decision }) => decision.reason);
  for (const { reason, requests } of report.refusals.byReason)
    t.equal(requests, reasons[reason] ?? 0, reason);
  t.match(
    report.refusals.byReason.find(({ reason }) => reason === 'chain_untrusted'),
    { connections: 40 },
  );
  const secrets = count(
    ACCESS.filter(({ request }) => request.secrets !== undefined),
    (line) => `${idOf(line)} ${line.request.route} ${line.request.secrets?.[0]}`,
  );
  t.same(
    Object.fromEntries(
      report.secrets.map(({ identity, route, kind, requests }) => [`${identity} ${route} ${kind}`, requests]),
    ),
    secrets,
  );
  t.ok(Object.keys(secrets).length > 2);
  const authorities = count(ACCESS, ({ principal }) => principal?.authority ?? '');
  t.same(
    Object.fromEntries(report.authorities.map(({ authority, requests }) => [authority, requests])),
    authorities,
  );
  const policies = count(ACCESS, ({ decision }) => decision.policyRevision);
  t.same(
    Object.fromEntries(report.revisions.policy.map(({ revision, requests }) => [revision, requests])),
    policies,
  );
});

t.test('credentials: how many, how long they live, and keys under several IDs', async (t) => {
  const {
    report: { credentials },
  } = await ofDay(t);
  t.equal(
    credentials.known,
    new Set(
      RECORDS.filter(({ principal }) => principal?.kind === 'workload').map(
        ({ principal }) => principal?.sha256,
      ),
    ).size,
  );
  t.equal(
    credentials.lifetimes.reduce((sum, { credentials: n }) => sum + n, 0),
    credentials.known,
  );
  t.same(
    credentials.lifetimes
      .filter(({ credentials: n }) => n > 0)
      .map(({ upToMs }) => (upToMs ?? 0) / 3_600_000),
    [6, 24 * 90],
  );
  const keys = new Map<string, Set<string>>();
  for (const { principal } of ACCESS)
    keys.set(
      principal?.keySha256 ?? '',
      (keys.get(principal?.keySha256 ?? '') ?? new Set()).add(principal?.id ?? ''),
    );
  const several = [...keys]
    .filter(([, ids]) => ids.size > 1)
    .map(([keySha256, ids]) => ({ keySha256, identities: [...ids].sort() }));
  t.equal(several.length, 1);
  t.same(credentials.keysOfSeveral, several);
  t.match(credentials.shared, [
    { kind: 'addresses', times: 1, detail: /3 addresses of 2 networks at once: 10\.1\.0\.31/ },
  ]);
  t.equal(credentials.nearExpiry.length, 1);
});

t.test('revocations say how long they took to bite', async (t) => {
  const {
    report: { revocations },
  } = await ofDay(t);
  t.same(
    revocations.changes.map(({ tookMs, connections }) => [tookMs, connections]),
    [
      [2, 0],
      [2, 0],
      [31, 3],
    ],
  );
  t.match(revocations.ended, [{ reason: 'svid_revoked', connections: 3, maxMs: 31 }]);
});

t.test('exceptions: those in use, soon over, and unused', async (t) => {
  const {
    report: { exceptions },
  } = await ofDay(t);
  const used = ACCESS.filter(({ decision }) => decision.exception === 'EX-7');
  t.ok(used.length > 0);
  t.match(exceptions, [
    {
      id: 'EX-7',
      owner: 'team-data',
      state: 'soon',
      requests: used.length,
      identities: new Set(used.map(idOf)).size,
    },
    { id: 'EX-9', owner: 'team-mobile', state: 'in force', requests: 0, lastUsed: '' },
  ]);
});

t.test('losses are told, and what no record tells of is found', async (t) => {
  const { report } = await ofDay(t);
  t.match(report.evidence, { undeclared: 0, gaps: [{ why: 'dropped', records: 12 }] });
  t.same(
    report.evidence.streams.map(({ missing }) => missing).sort((a, b) => a - b),
    [0, 0, 12],
  );
  const cut = LINES.filter((_, n) => n < 3000 || n >= 3010).join('');
  const { report: without } = await make(t, { 'day.ndjson': cut }, 'day.ndjson', '--format', 'json');
  t.equal(without.evidence.undeclared, 10);
  t.match(without.findings[0], { id: 'records_missing', severity: 'high', detail: /10 records missing/ });
});

t.test('what needs attention is found, the gravest first', async (t) => {
  const { report } = await ofDay(t);
  t.same(
    report.findings.map(({ id }) => id),
    [
      'records_missing',
      'key_of_several_ids',
      'static_secrets',
      'credential_shared',
      'credential_long_lived',
      'credential_near_expiry',
      'unregistered',
      'unverified',
      'refused_again_and_again',
      'exceptions_soon',
      'sources_refused',
      'not_sealed',
      'exceptions_unused',
      'first_seen',
    ],
  );
});

t.test('nothing needs attention where nothing is wrong', async (t) => {
  const good = LINES.filter(
    (_, n) =>
      RECORDS[n]?.event === 'access' &&
      RECORDS[n].principal?.registered === true &&
      RECORDS[n].decision.effect === 'allow' &&
      RECORDS[n].request.secrets === undefined,
  ).slice(0, 3);
  const one =
    good.slice(0, 1).join('') +
    good[0]?.replace(
      /^(\{"stream":\{[^}]*\}).*/s,
      '$1,"time":"2026-11-21T00:00:00.000Z","event":"audit.seal","seal":{},"jws":""}\n',
    );
  const { report, code } = await make(t, { 'one.ndjson': one }, 'one.ndjson', '--format', 'json');
  t.equal(code, 0);
  t.same(report.findings, []);
  t.equal(report.evidence.seals, 1);
});

t.test('--identity takes an ID or a pattern, and leaves what is nobody’s', async (t) => {
  const pattern = 'spiffe://example.org/ns/payments/**';
  const { report } = await ofDay(t, '--identity', pattern);
  const own = ACCESS.filter((line) => idOf(line).startsWith('spiffe://example.org/ns/payments/'));
  t.equal(report.totals.requests, own.length);
  t.same(Object.fromEntries(report.identities.map(({ id, requests }) => [id, requests])), count(own, idOf));
  t.equal(report.refusals.claims.length, 0, 'a claim is nobody');
  t.equal(report.revocations.changes.length, 3);
  t.ok(report.reading.outsideFilter > 0);
  const id = report.identities[0]?.id ?? '';
  const { report: one } = await ofDay(t, '--identity', id);
  t.same(
    one.identities.map((row) => row.id),
    [id],
  );
});

t.test('--destination counts requests to it alone', async (t) => {
  const { report } = await ofDay(t, '--destination', 'ledger');
  t.equal(report.totals.requests, ACCESS.filter(({ request }) => request.destination === 'ledger').length);
  t.same(
    report.destinations.map(({ name }) => name),
    ['ledger'],
  );
});

t.test('--since and --until take what happened between them', async (t) => {
  const [since, until] = ['2026-11-21T10:00:00Z', '2026-11-21T12:00:00Z'];
  const { report } = await ofDay(t, '--since', since, '--until', until);
  const within = ACCESS.filter(
    ({ time }) => Date.parse(time) >= Date.parse(since) && Date.parse(time) < Date.parse(until),
  );
  t.equal(report.totals.requests, within.length);
  t.equal(
    report.volume.spans.reduce((sum, { allowed, refused }) => sum + allowed + refused, 0),
    within.length,
  );
  t.equal(report.reading.filter.since, '2026-11-21T10:00:00.000Z');
});

t.test('several files, in any order, compressed or on standard input, are one report', async (t) => {
  const [a, b] = [LINES.slice(0, 2500).join(''), LINES.slice(2500).join('')];
  const cwd = t.testdir({ 'b.ndjson': b });
  writeFileSync(join(cwd, 'a.ndjson.gz'), gzipSync(a));
  const io = toldIo(cwd);
  t.equal(await runAudit(['report', '--format', 'json', 'b.ndjson', 'a.ndjson.gz'], io), 0);
  const { report: whole } = await ofDay(t);
  const parts = JSON.parse(io.out) as Report;
  const { report: input } = await make(t, {}, '-', '--format', 'json');
  for (const report of [parts, input]) {
    t.same(report.totals, whole.totals);
    t.same(
      new Set(report.paths.map((path) => JSON.stringify({ ...path, rules: [] }))),
      new Set(whole.paths.map((path) => JSON.stringify({ ...path, rules: [] }))),
    );
    t.same(report.evidence.undeclared, 0);
  }
});

t.test('lines that are no records are counted and named, a torn last line is told apart', async (t) => {
  const text = `${LINES.slice(0, 10).join('')}nonsense\n\n{"event":"access","time":"2026-11-21T00:00:00.000Z"}\n${LINES[10]?.slice(0, 200)}`;
  const { report, code } = await make(t, { 'a.ndjson': text }, 'a.ndjson', '--format', 'json');
  t.equal(code, 0);
  t.equal(report.reading.brokenLines, 2);
  t.same(report.reading.brokenAt, ['a.ndjson:11', 'a.ndjson:13']);
  t.same(report.reading.cutFiles, ['a.ndjson']);
  t.ok(report.findings.some(({ id }) => id === 'broken_lines'));
});

t.test('a correction counts the request once, as it really ended', async (t) => {
  const line =
    LINES.find((_, n) => RECORDS[n]?.event === 'access' && RECORDS[n].response.outcome === 'complete') ?? '';
  const corrected = line
    .replace('"event":"access"', '"event":"access.corrected"')
    .replace('"outcome":"complete"', '"outcome":"client_aborted"');
  const { report } = await make(t, { 'a.ndjson': line + corrected }, 'a.ndjson', '--format', 'json');
  t.match(report.totals, { requests: 1, allowed: 1, failed: 1 });
  t.same(report.destinations[0]?.outcomes, { complete: 0, client_aborted: 1 });
  t.equal(report.evidence.corrected, 1);
});

t.test('an upgrade with a record at its start and one at its end is one request', async (t) => {
  const line =
    LINES.find((_, n) => RECORDS[n]?.event === 'access' && RECORDS[n].decision.effect === 'allow') ?? '';
  const phased = ['start', 'end']
    .map((phase) => line.replace('"decision":', `"phase":"${phase}","decision":`))
    .join('');
  const { report } = await make(t, { 'a.ndjson': phased }, 'a.ndjson', '--format', 'json');
  t.match(report.totals, { requests: 1, allowed: 1 });
});

t.test('with -c the rules and grants that nobody used are told', async (t) => {
  const rules = [
    '{ id: payments-ledger, owner: team-payments, effect: allow, principals: ["spiffe://example.org/ns/payments/sa/*", "spiffe://example.org/ns/treasury/**"], destinations: [ledger, ledger-v1, vault] }', // ledger-v1 is the route of its records
    '{ id: never, owner: team-x, effect: allow, principals: ["spiffe://example.org/**"], destinations: [vault] }',
    '{ id: tried, effect: allow, mode: shadow, principals: ["spiffe://example.org/**"], destinations: [vault] }',
  ];
  const files = {
    'day.ndjson': DAY,
    'c.yaml': `version: 1
identity: { files: { certificate: a.pem, key: b.pem } }
trust: [{ trustDomain: example.org, bundle: { file: c.pem } }]
listeners: [{ name: inbound, address: "127.0.0.1:8443", routes: [{ name: ledger-v1, path: /l/**, upstream: ledger }, { name: r2, path: /v/**, upstream: vault }] }]
upstreams: { ledger: { url: "http://127.0.0.1:1" }, vault: { url: "http://127.0.0.1:2" } }
policy: policy.yaml
`,
    'policy.yaml': `version: 1\ndefault: deny\nrules:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`,
  };
  const { report, code, err } = await make(t, files, 'day.ndjson', '--format', 'json', '-c', 'c.yaml');
  t.equal(code, 0, err);
  t.equal(report.leastPrivilege.isKnown, true);
  t.same(report.leastPrivilege.neverUsed, [{ rule: 'never', owner: 'team-x', effect: 'allow' }]);
  t.match(report.leastPrivilege.tooWide, [
    { rule: 'payments-ledger', destinations: ['vault'], principals: ['spiffe://example.org/ns/treasury/**'] },
  ]);
  const { report: without, out } = await ofDay(t);
  t.equal(without.leastPrivilege.isKnown, false, out.slice(0, 80));
  const broken = await make(t, { 'day.ndjson': DAY, 'c.yaml': 'version: 2\n' }, 'day.ndjson', '-c', 'c.yaml');
  t.equal(broken.code, 78);
  t.match(broken.err, /c\.yaml:1/);
});

t.test('--out writes the report whole, and nothing else is left there', async (t) => {
  const cwd = t.testdir({ 'day.ndjson': DAY });
  const io = toldIo(cwd);
  t.equal(await runAudit(['report', 'day.ndjson', '--format', 'html', '--out', 'r.html'], io), 0);
  t.equal(io.out, '');
  t.same(readdirSync(cwd).sort(), ['day.ndjson', 'r.html']);
  t.match(readFileSync(join(cwd, 'r.html'), 'utf8'), /^<!doctype html>[\s\S]*<\/html>\n$/);
  t.equal(statSync(join(cwd, 'r.html')).mode & 0o077, 0, 'it says who reaches what: for its owner alone');
  const nowhere = toldIo(cwd);
  t.equal(await runAudit(['report', 'day.ndjson', '--out', 'none/r.txt'], nowhere), 78);
  t.match(nowhere.err, /none\/r\.txt: cannot be written \(ENOENT\)/);
});

t.test('--out never puts a file in the place of what is none, such as a pipe or a device', async (t) => {
  const cwd = t.testdir({ 'day.ndjson': DAY });
  const pipe = join(cwd, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const fd = openSync(pipe, 'r+'); // a reader that waits for nobody
  t.teardown(() => closeSync(fd));
  t.equal(await runAudit(['report', 'day.ndjson', '--out', 'pipe'], toldIo(cwd)), 0);
  t.ok(statSync(pipe).isFIFO());
  const begin = Buffer.alloc(13);
  readSync(fd, begin);
  t.equal(begin.toString(), 'Access report');
  const dir = await make(
    t,
    { 'day.ndjson': DAY, there: {} as unknown as string },
    'day.ndjson',
    '--out',
    'there',
  );
  t.equal(dir.code, 78);
  t.match(dir.err, /there: cannot be written \(EISDIR\)/);
});

t.test('wrong usage says what is wrong: exit 64', async (t) => {
  const cases: [string[], RegExp][] = [
    [[], /say which record files/],
    [['a', '--format', 'pdf'], /--format: "pdf" is none of text, json, html/],
    [['a', '--since', 'yesterday'], /--since: /],
    [
      ['a', '--since', '2026-11-22T00:00:00Z', '--until', '2026-11-21T00:00:00Z'],
      /--since must be before --until/,
    ],
    [['a', '--identity', 'web'], /--identity: must begin with spiffe/],
    [['a', '--colour'], /colour/],
    [[''], /name of a file is empty/],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await make(t, {}, ...args);
    t.equal(code, 64);
    t.match(err, message);
  }
});

t.test('a file that cannot be read is told: exit 78; a report of nothing: exit 1', async (t) => {
  const away = await make(t, {}, 'away.ndjson');
  t.equal(away.code, 78);
  t.match(away.err, /away\.ndjson: cannot be read \(ENOENT\)/);
  const nothing = await make(t, { 'a.ndjson': DAY }, 'a.ndjson', '--since', '2030-01-01T00:00:00Z');
  t.equal(nothing.code, 1);
  t.match(nothing.err, /no record counts/);
  t.match(nothing.out, /no record counts/);
});

t.test('the text says the headline, the findings and each section', async (t) => {
  const { out } = await make(t, { 'day.ndjson': DAY }, 'day.ndjson');
  t.match(out, /^Access report\n2026-11-21 00:00:00 to 2026-11-21 23:\d\d:\d\d UTC\n/);
  t.match(out, /WHAT NEEDS ATTENTION\n {2}!! Records are missing/);
  for (const title of [
    'WHO CALLED',
    'PATHS AND DESTINATIONS',
    'RULES AND GRANTS',
    'EXCEPTIONS',
    'REVOCATIONS',
    'EVIDENCE',
  ])
    t.ok(out.includes(`\n${title}\n`), title);
  t.notMatch(out, /[^\n\P{C}]|\u2028/u, 'nothing in it steers a terminal');
});

t.test('a record to which part of another was glued counts all the same', async (t) => {
  const [first = '', ...rest] = LINES;
  const { report } = await make(
    t,
    { glued: `${rest[0]!.slice(0, 200)}${first}${rest.join('')}` },
    'glued',
    '--format',
    'json',
  );
  const { report: whole } = await ofDay(t);
  t.same(report.totals, whole.totals);
  t.same([report.reading.brokenLines, report.reading.brokenAt], [1, ['glued:1']]);
});
