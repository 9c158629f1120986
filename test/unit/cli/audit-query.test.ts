import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { runAudit } from '../../../src/cli/audit.js';
import { type RecordChanges, recordText } from '../../support/records.js';

const ISO = (minute: number): string => `2026-11-21T10:${String(minute).padStart(2, '0')}:00.000Z`;
const DENIED = { effect: 'deny', reason: 'no_rule_matched', rule: 'default' };
const WEB = 'spiffe://a.test/ns/prod/sa/web';
const BATCH = 'spiffe://a.test/ns/prod/sa/batch';

/** A few requests of two workloads, one of them by an exception, one refused, one only claimed. */
const RECORDS: readonly RecordChanges[] = [
  { id: 'r0', principal: { id: WEB }, time: ISO(0) },
  {
    id: 'r1',
    principal: { id: BATCH },
    time: ISO(1),
    request: { destination: 'ledger', route: 'r2' },
    token: { entry: 'ci', jti: 'j-1', sha256: 'ab'.repeat(32) },
  },
  { id: 'r2', principal: { id: WEB }, time: ISO(2), decision: DENIED, token: { entry: 'ci', jti: 'j-2' } },
  {
    id: 'r3',
    principal: { id: BATCH },
    time: ISO(3),
    decision: { reason: 'exception_allowed', rule: 'EX-7', exception: 'EX-7' },
  },
  {
    id: 'r4',
    principal: { id: WEB, kind: 'none' },
    time: ISO(4),
    decision: { effect: 'deny', reason: 'chain_untrusted', rule: undefined },
  },
  { id: 'r5', principal: { id: WEB }, time: ISO(5), phase: 'start', request: { listener: 'other' } },
  { id: 'r5', principal: { id: WEB }, time: ISO(6), phase: 'end', request: { listener: 'other' } },
];
const LIFECYCLE = JSON.stringify({
  stream: { id: 'vm', boot: '0123456789abcdef', worker: 0 },
  seq: 9,
  time: ISO(7),
  event: 'exception.expired',
  exception: { id: 'EX-7', owner: 'team-batch', expires: ISO(7) },
});
const LINES = [...RECORDS.map((record) => recordText(record)), LIFECYCLE];
const TEXT = `${LINES.join('\n')}\n`;

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

interface Place {
  readonly files?: Readonly<Record<string, string | Buffer>>;
  readonly stdin?: Buffer;
  readonly columns?: number;
}

async function query(t: Test, args: readonly string[], place: Place = {}): Promise<Ran> {
  const { files = { 'audit.ndjson': TEXT }, stdin, columns } = place;
  const cwd = t.testdir(files as Record<string, string>);
  const ran = { code: 0, out: '', err: '' };
  const io = {
    stdout: (text: string) => {
      ran.out += text;
    },
    stderr: (text: string) => {
      ran.err += text;
    },
    env: {},
    cwd,
    columns,
    stdin: () => Readable.from(stdin === undefined ? [] : [stdin]),
  };
  const named = args.some((arg) => arg.includes('ndjson.') || arg.endsWith('.ndjson') || arg === '-');
  ran.code = await runAudit(['query', ...args, ...(named ? [] : ['audit.ndjson'])], io);
  return ran;
}

/** Which of the lines above came out. */
const found = ({ out }: Ran): number[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => LINES.indexOf(line));

const ndjson = async (t: Test, ...args: string[]): Promise<number[]> =>
  found(await query(t, [...args, '--format', 'ndjson']));

t.test('each option finds the records that it names, and no other', async (t) => {
  const cases: readonly (readonly [args: readonly string[], lines: readonly number[]])[] = [
    [[], [0, 1, 2, 3, 4, 5, 6, 7]],
    [
      ['--identity', WEB],
      [0, 2, 4, 5, 6],
    ],
    [
      ['--identity', 'spiffe://a.test/ns/*/sa/batch'],
      [1, 3],
    ],
    [
      ['--identity', 'spiffe://a.test/**'],
      [0, 1, 2, 3, 4, 5, 6],
    ],
    [['--identity', 'spiffe://b.test/**'], []],
    [
      ['--identity', WEB, '--identity', BATCH],
      [0, 1, 2, 3, 4, 5, 6],
    ],
    [['--destination', 'ledger'], [1]],
    [['--destination', 'r2'], [1]],
    [['--destination', 'ledge'], []],
    [
      ['--rule', 'public'],
      [0, 1, 5, 6],
    ],
    [
      ['--exception', 'EX-7'],
      [3, 7],
    ],
    [['--exception', 'EX-7', '--event', 'access'], [3]],
    [
      ['--effect', 'deny'],
      [2, 4],
    ],
    [
      ['--effect', 'allow', '--identity', WEB],
      [0, 5, 6],
    ],
    [['--reason', 'chain_untrusted'], [4]],
    [['--event', 'exception.*'], [7]],
    [['--event', 'exception'], []],
    [
      ['--listener', 'other'],
      [5, 6],
    ],
    [
      ['--id', 'r3', '--id', 'r5'],
      [3, 5, 6],
    ],
    [['--token', 'j-1'], [1]],
    [
      ['--token', 'ab'.repeat(32), '--token', 'j-2'],
      [1, 2],
    ],
    [['--token', 'ci'], []],
    [
      ['--since', ISO(3)],
      [3, 4, 5, 6, 7],
    ],
    [
      ['--until', ISO(3)],
      [0, 1, 2],
    ],
    [['--since', ISO(1), '--until', ISO(2)], [1]],
    [
      ['--limit', '2'],
      [0, 1],
    ],
    [
      ['--identity', WEB, '--limit', '2'],
      [0, 2],
    ],
  ];
  for (const [args, lines] of cases) t.same(await ndjson(t, ...args), lines, args.join(' '));
});

t.test('the exit code says whether something was found', async (t) => {
  t.equal((await query(t, ['--effect', 'deny'])).code, 0);
  const { code, out, err } = await query(t, ['--rule', 'nobody']);
  t.same([code, out, err], [1, '', '']);
  t.equal((await query(t, ['--rule', 'nobody', '--by', 'identity'])).code, 1);
});

t.test('wrong usage says what is wrong: exit 64', async (t) => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['--identity', 'web'], /--identity web: must begin with spiffe:\/\//],
    [['--identity', 'spiffe://*/web'], /a wildcard may not stand in the trust domain/],
    [['--effect', 'maybe'], /--effect is allow or deny/],
    [['--format', 'csv'], /--format is table or ndjson/],
    [['--limit', '0'], /--limit is a number from 1/],
    [['--by', 'identity,colour'], /--by: there is no "colour"; there are identity, owner/],
    [['--since', 'yesterday'], /--since: "yesterday" is not a time/],
    [['--since', ISO(3), '--until', ISO(3)], /--since must be before --until/],
    [['--surprise'], /--surprise/],
  ];
  for (const [args, message] of cases) {
    const { code, out, err } = await query(t, args);
    t.same([code, out], [64, ''], args.join(' '));
    t.match(err, message);
  }
  const io = { stdout: () => undefined, stderr: () => undefined, env: {} };
  t.equal(await runAudit(['query'], io), 64, 'no file');
  t.equal(await runAudit(['quarry'], io), 64, 'no such verb');
});

t.test('records come out byte for byte, whatever they hold, from plain files, gzip and a pipe', async (t) => {
  const odd = Buffer.concat([
    Buffer.from(recordText({ request: { path: '/ä/\u2028', query: { q: '\ud800' } } })),
    Buffer.from(' \r'),
  ]);
  const broken = Buffer.from(recordText({ request: { path: '/X' } }));
  broken[broken.indexOf('/X') + 1] = 0xff; // no UTF-8
  const bytes = Buffer.concat([odd, Buffer.from('\n'), broken, Buffer.from('\n')]);
  const out: Buffer[] = [];
  for (const place of [
    { files: { 'a.ndjson': bytes }, args: ['a.ndjson'] },
    { files: { 'a.ndjson.gz': gzipSync(bytes) }, args: ['a.ndjson.gz'] },
    { files: {}, args: ['-'] },
  ]) {
    const cwd = t.testdir(place.files as unknown as Record<string, string>);
    const io = {
      stdout: () => t.fail('bytes are not text'),
      stdoutBytes: async (piece: Uint8Array) => {
        out.push(Buffer.from(piece));
      },
      stderr: (text: string) => t.fail(text),
      env: {},
      cwd,
      stdin: () => Readable.from([bytes.subarray(0, 100), bytes.subarray(100)]),
    };
    t.equal(await runAudit(['query', '--format', 'ndjson', ...place.args], io), 0);
    t.ok(Buffer.concat(out.splice(0)).equals(bytes), place.args.join());
  }
});

t.test('nothing more is read while what was found waits for its reader', async (t) => {
  const lines = Array.from({ length: 3000 }, (_, i) => recordText({ id: `r${i}` }));
  const cwd = t.testdir({ 'a.ndjson': `${lines.join('\n')}\n` });
  let waiting = 0;
  let most = 0;
  let text = '';
  const io = {
    stdout: () => undefined,
    stdoutBytes: async (piece: Uint8Array) => {
      most = Math.max(most, ++waiting);
      text += Buffer.from(piece).toString();
      await new Promise((resolve) => setImmediate(resolve));
      waiting--;
    },
    stderr: () => undefined,
    env: {},
    cwd,
  };
  t.equal(await runAudit(['query', '--format', 'ndjson', 'a.ndjson'], io), 0);
  t.equal(most, 1);
  t.equal(text, `${lines.join('\n')}\n`, 'in their order');
});

t.test('a table shows who, where to, what, the answer and what decided', async (t) => {
  const { out } = await query(t, []);
  const [head = '', ...rows] = out.trimEnd().split('\n');
  t.match(head, /^TIME +IDENTITY +DESTINATION +WHAT +STATUS +DECISION +ID$/);
  t.match(
    rows[0],
    /T10:00:00\.000Z {2}spiffe:\/\/a\.test\/ns\/prod\/sa\/web +u +GET \/public\/a +200 {2}allow public +r0$/,
  );
  t.match(rows[2], /deny no_rule_matched default +r2$/);
  t.match(rows[3], /allow exception EX-7 +r3$/);
  t.match(rows[4], /claimed:spiffe:\/\/a\.test\/ns\/prod\/sa\/web .*deny chain_untrusted +r4$/);
  t.match(rows[5], /GET \/public\/a \(start\)/);
  t.match(rows[7], /exception\.expired +EX-7$/);
});

t.test('a table fits the terminal: names keep the end that tells them apart', async (t) => {
  for (const columns of [80, 100, 132]) {
    const { out } = await query(t, [], { columns });
    const lines = out.trimEnd().split('\n');
    t.ok(
      lines.every((line) => line.length <= columns),
      `${columns}: ${Math.max(...lines.map((l) => l.length))}`,
    );
    t.match(lines[1], /sa\/web /);
  }
});

t.test('what a client wrote cannot steer the terminal', async (t) => {
  const path = '/\u001b[2J\u202e\u009b31m';
  const { out } = await query(t, ['a.ndjson'], {
    files: { 'a.ndjson': `${recordText({ request: { path } })}\n` },
  });
  t.match(out, /\/\\u001b\[2J\\u202e\\u009b31m/);
  t.match(out, /^[ -~\n]*$/);
});

t.test(
  '--by counts requests once each, the most first, claims apart from who they claim to be',
  async (t) => {
    const { out } = await query(t, ['--by', 'identity,effect', '--format', 'ndjson']);
    const groups = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    t.same(groups, [
      { identity: WEB, effect: 'allow', records: 2, refused: 0, firstSeen: ISO(0), lastSeen: ISO(5) },
      { identity: BATCH, effect: 'allow', records: 2, refused: 0, firstSeen: ISO(1), lastSeen: ISO(3) },
      { identity: WEB, effect: 'deny', records: 1, refused: 1, firstSeen: ISO(2), lastSeen: ISO(2) },
      {
        identity: `claimed:${WEB}`,
        effect: 'deny',
        records: 1,
        refused: 1,
        firstSeen: ISO(4),
        lastSeen: ISO(4),
      },
      { identity: null, effect: null, records: 1, refused: 0, firstSeen: ISO(7), lastSeen: ISO(7) },
    ]);
    const table = await query(t, ['--by', 'destination,hour', '--limit', '1']);
    t.match(table.out, /^DESTINATION +HOUR +RECORDS +REFUSED +FIRST +LAST\nu +2026-11-21T10 +5 +2 /);
    t.equal(table.err, '2 records are in further groups that are not shown\n');
  },
);

t.test('lines that are no records are said, and so is a file that ends within one', async (t) => {
  const files = { 'a.ndjson': `not json\n${LINES[0]}\n\n[]\n{"event":"access"}\n${LINES[1]?.slice(0, 200)}` };
  const { code, out, err } = await query(t, ['--format', 'ndjson', 'a.ndjson'], { files });
  t.equal(code, 0);
  t.equal(out, `${LINES[0]}\n`);
  t.match(err, /^a\.ndjson ends in the middle of a line, which was left out$/m);
  t.match(err, /^3 lines are no records and were left out: a\.ndjson:1, a\.ndjson:4, a\.ndjson:5$/m);
});

t.test('a file that cannot be read to its end is said after what was found before: exit 78', async (t) => {
  const whole = gzipSync(TEXT);
  const cut = whole.subarray(0, whole.length - 20);
  const files = { 'a.ndjson': TEXT, 'b.ndjson.gz': cut };
  const { code, out, err } = await query(t, ['a.ndjson', 'b.ndjson.gz', '--id', 'r0', '--format', 'ndjson'], {
    files,
  });
  t.equal(code, 78);
  t.match(found({ code, err, out })[0], 0);
  t.match(err, /b\.ndjson\.gz: gzip that is broken/);
  const missing = await query(t, ['missing.ndjson']);
  t.equal(missing.code, 78);
  t.match(missing.err, /missing\.ndjson: cannot be read \(ENOENT\)/);
});

t.test('a file named twice is read once', async (t) => {
  t.same(await ndjson(t, '--id', 'r0', 'audit.ndjson', './audit.ndjson'), [0]);
});

t.test('a record to which part of another was glued is found all the same, and it is said', async (t) => {
  const [one = '', two = ''] = LINES;
  for (const text of [`${two.slice(0, 300)}${one}\n`, `${one}{"stre\n`, `${two.slice(0, 90)}${one}{\n`]) {
    const ran = await query(t, ['--format', 'ndjson'], { files: { 'audit.ndjson': text } });
    t.same([ran.code, ran.out], [0, `${one}\n`]);
    t.match(ran.err, /1 line is no record and was left out: audit\.ndjson:1/);
  }
});
