import fc from 'fast-check';
import t from 'tap';
import {
  formatRevocations,
  joinRevocations,
  keyOfRevocation,
  parseRevocationRequest,
  parseRevocations,
  parseWithdrawal,
  revocationListOf,
} from '../../../src/config/revocations.js';
import type { RevocationEntry } from '../../../src/identity/revocation.js';

const bytes = (value: unknown): Buffer =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const messages = (problems: readonly { path: string; message: string }[]): string[] =>
  problems.map(({ path, message }) => `${path} ${message}`.trim());

/** Text that the schema takes: no control characters, not empty; everything else, lone surrogates and line separators too. */
const words = fc
  .string({
    unit: fc.oneof(
      fc.string({ minLength: 1, maxLength: 1, unit: 'binary' }),
      fc.constantFrom('\u2028', '\ufeff', '#', ': ', '"', "'", '$', '- ', '\\'),
    ),
    minLength: 1,
    maxLength: 40,
  })
  .filter((text) => !/\p{Cc}/u.test(text));
const time = fc.integer({ min: 0, max: 4_000_000_000_000 });
const hex32 = fc.stringMatching(/^[0-9a-f]{64}$/);
const selector = fc.oneof(
  fc.record({ id: fc.constantFrom('spiffe://a.test/web', 'spiffe://a.test/ns/x/sa/y', 'ci:octo/a%2Fb') }),
  fc.record({ idPrefix: fc.constantFrom('spiffe://a.test', 'spiffe://a.test/ns', 'ci:', 'ci:octo') }),
  fc.record({ serial: fc.stringMatching(/^[1-9a-f][0-9a-f]{0,38}$/), issuer: words }),
  fc.record({ sha256: hex32 }),
  fc.record({ keySha256: hex32 }),
);
const entry = fc
  .tuple(
    selector,
    fc.record({ reason: words }),
    fc.record({ author: words }, { requiredKeys: [] }),
    fc.record({ at: time, issuedBefore: time }, { requiredKeys: [] }),
    fc.option(fc.integer({ min: 1, max: 1_000_000 }), { nil: undefined }),
  )
  .map(([what, why, who, when, span]): RevocationEntry => {
    const until = span === undefined ? {} : { until: (when.at ?? 0) + span };
    return { ...what, ...why, ...who, ...when, ...until };
  });

t.test('what is written reads back as the same entries, whatever stands in them', async (t) => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
      const { list, problems } = parseRevocations(formatRevocations(entries), 'f.yaml');
      t.same(problems, []);
      t.same(list?.entries, entries);
      t.equal(list?.revision, revocationListOf(list?.entries ?? []).revision);
    }),
    { numRuns: 300, seed: 7 },
  );
});

t.test('a line of one file is a line of the other', async (t) => {
  const entries: RevocationEntry[] = [
    { id: 'spiffe://a.test/web', reason: 'r', author: 'a', at: 1000, until: 2000 },
    { sha256: 'ab'.repeat(32), reason: 'r' },
  ];
  const lines = formatRevocations(entries)
    .split('\n')
    .filter((line) => line.startsWith('  - '));
  t.equal(lines.length, 2);
  const moved = parseRevocations(
    `version: 1\nrevoked:\n  - { id: spiffe://a.test/x, reason: r }\n${lines[1]}\n`,
    'f',
  );
  t.same(moved.list?.entries[1], entries[1]);
});

t.test('a request is read like a file: the same entry, however it is written', async (t) => {
  const sha = 'AB:'.repeat(32).slice(0, -1);
  const { value } = parseRevocationRequest(
    bytes({ author: 'a', sha256: sha, reason: 'r', until: '2026-11-21T11:00:00+01:00' }),
  );
  t.same(value, [
    { sha256: 'ab'.repeat(32), reason: 'r', author: 'a', until: Date.parse('2026-11-21T10:00:00Z') },
  ]);
  const [other] =
    parseRevocationRequest(
      bytes(`[{"reason":"r","until":"2026-11-21T10:00:00.000Z","author":"a","sha256":"${'ab'.repeat(32)}"}]`),
    ).value ?? [];
  t.equal(keyOfRevocation(value![0]!), keyOfRevocation(other!));
  t.equal(joinRevocations(value!, [other!]).length, 1);
});

t.test('a request that is not one is refused with the reason', async (t) => {
  for (const [body, said] of [
    ['', /^is not JSON/],
    ['null', /\[0\] has no value/],
    ['"x"', /\[0\] must be a mapping/],
    ['[[]]', /\[0\] must be a mapping/],
    ['{}', /\[0\]\.reason is required/],
    [Buffer.from([0x7b, 0xff, 0x7d]), /^is not JSON: it is not UTF-8/],
    [`${'['.repeat(100)}${']'.repeat(100)}`, /^is not JSON/],
    ['{"id":1,"reason":"r","author":"a"}', /\[0\]\.id must be text/],
    ['{"serial":12,"issuer":"CN=x","reason":"r","author":"a"}', /\[0\]\.serial must be quoted/],
    ['{"id":"spiffe://a.test/x","reason":"r","author":"a","at":5}', /\[0\]\.at must be a time/],
    ['{"id":"spiffe://a.test/*","reason":"r","author":"a"}', /\[0\]\.id /],
    ['{"id":null,"reason":"r","author":"a"}', /\[0\]\.id /],
  ] as const) {
    const { value, problems } = parseRevocationRequest(Buffer.from(body as string));
    t.equal(value, undefined, String(body));
    t.ok(
      messages(problems).some((text) => said.test(text)),
      `${said}: ${messages(problems).join(' | ')}`,
    );
  }
});

t.test('a withdrawal says who and why, and nothing else', async (t) => {
  t.same(parseWithdrawal(bytes({ author: 'a', reason: 'r' })).value, { author: 'a', reason: 'r' });
  for (const [body, said] of [
    [{}, ['author is required', 'reason is required']],
    [{ author: 'a', reason: '' }, ['reason must not be empty']],
    [{ author: 'a', reason: 'r', force: true }, ['force unknown key `force`']],
    [[], ['must be a mapping, not a list']],
  ] as const)
    t.same(messages(parseWithdrawal(bytes(body)).problems), said);
});

t.test('principals of tokens are named as they are, or their whole namespace', async (t) => {
  const read = (line: string) =>
    parseRevocations(`version: 1\nrevoked:\n  - { ${line}, reason: r }\n`, 'f.yaml');
  for (const line of [
    'id: "ci:octo/app"',
    'idPrefix: "ci:octo"',
    'idPrefix: "ci:"',
    'idPrefix: "spiffe://a.test"',
  ])
    t.same(read(line).problems, [], line);
  const refused: readonly [string, RegExp][] = [
    ['id: "ci:"', /the name has an empty segment/],
    ['id: "ci:octo/"', /the name has an empty segment/],
    ['id: "ci:octo/a b"', /must be percent-encoded/],
    ['idPrefix: "ci:octo/"', /the name has an empty segment/],
    ['id: "spiffe://a.test"', /names a trust domain, not a workload/],
    ['idPrefix: "spiffe:"', /the scheme is not spiffe:/],
    ['id: alice', /the scheme is not spiffe:/],
  ];
  for (const [line, message] of refused) t.match(messages(read(line).problems).join(), message, line);
});
