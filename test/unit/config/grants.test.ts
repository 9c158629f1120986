import fc from 'fast-check';
import t from 'tap';
import {
  checkExpiry,
  checkWrittenExpiry,
  formatLength,
  warnOfEnd,
} from '../../../src/config/exception-schema.js';
import {
  formatGrants,
  grantOf,
  MAX_GRANTS,
  parseGrantRequest,
  parseGrants,
  parseGrantWithdrawal,
} from '../../../src/config/grants.js';
import { formatProblem } from '../../../src/config/problem.js';
import { DAY_MS, type ExceptionInput, HOUR_MS, keyOfException } from '../../../src/policy/exception.js';
import { parsePrincipalPattern } from '../../../src/policy/pattern.js';

const NOW = Date.UTC(2026, 10, 21, 10);
const LIMIT = { nowMs: NOW, maxLengthMs: 90 * DAY_MS };
const iso = (ms: number): string => new Date(ms).toISOString();

const entry = (more = '', expires = iso(NOW + DAY_MS)): string =>
  `  - { owner: o, reason: r, by: alice, expires: ${expires}, allow: { principals: ["spiffe://a.test/web"], destinations: [u] }, ${more} }\n`;
const file = (...entries: readonly string[]): string => `version: 1\nexceptions:\n${entries.join('')}`;
const problemsOf = (text: string): readonly string[] =>
  parseGrants(text, 'grants.yaml', LIMIT).problems.map(formatProblem);

t.test('a grants file is read whole, or refused with every problem at its line and column', async (t) => {
  t.same(problemsOf(file(entry('id: A'), entry('id: B'))), []);
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['', ['grants.yaml:1:1 has no value']],
    ['version: 2\nexceptions: []\n', ['grants.yaml:1:10 version: must be 1']],
    [
      file(entry('id: A'), entry('id: A')),
      ['grants.yaml:4:145 exceptions[1].id: "A" is also the id of exceptions[0]'],
    ],
    [
      file(entry('id: A', iso(NOW + 92 * DAY_MS))),
      ['grants.yaml:3:48 exceptions[0].expires: is too far ahead'],
    ],
    [
      file(entry('id: A', '2026-11-21')),
      ['grants.yaml:3:48 exceptions[0].expires: "2026-11-21" is not a time'],
    ],
    [
      file(entry(`id: A, starts: ${iso(NOW + 2 * DAY_MS)}`)),
      ['grants.yaml:3:48 exceptions[0].expires: must be later than `starts`'],
    ],
    [
      file('  - { id: A }\n'),
      ['owner', 'reason', 'allow', 'expires', 'by'].map((key) => `grants.yaml:3:5 exceptions[0].${key}: `),
    ],
    [file(entry('id: A, effect: allow')), ['exceptions[0].effect: unknown key `effect`']],
    [file(entry('id: A, id: B')), ['this key is here twice']],
    [file(entry('id: &a A')), ['anchors are not allowed']],
  ];
  for (const [text, wanted] of cases) {
    const problems = problemsOf(text);
    t.equal(problems.length, wanted.length, `${JSON.stringify(text)}: ${problems.join(' | ')}`);
    for (const [i, start] of wanted.entries())
      t.ok(problems[i]?.includes(start), `${problems[i]} is ${start}`);
    t.equal(parseGrants(text, 'grants.yaml', LIMIT).list, undefined, 'half a list is never put in force');
  }
});

t.test('a grants file is bounded: by its entries, by what they name, by its bytes', async (t) => {
  const many = Array.from({ length: MAX_GRANTS + 1 }, (_, i) => entry(`id: A-${i}`));
  t.match(problemsOf(file(...many)), [/exceptions: holds more than 200/]);
  const names = (prefix: string, count: number): string =>
    Array.from({ length: count }, (_, i) => `"${prefix}${i}"`).join(', ');
  const wide = (i: number): string =>
    `  - { id: W-${i}, owner: o, reason: r, by: a, expires: ${iso(NOW + DAY_MS)}, allow: { principals: [${names('spiffe://a.test/w', 100)}], destinations: [${names('u', 100)}] } }\n`;
  t.match(problemsOf(file(...Array.from({ length: 11 }, (_, i) => wide(i)))), [
    /principals times destinations/,
  ]);
  t.match(problemsOf(file(wide(0).replace('"u0"', '"u0", "u100"'))), [/must name at most 100/]);
  t.match(problemsOf(`# ${'x'.repeat(600_000)}\n`), [/is larger than/]);
});

t.test('what is written reads back as the same, a line each', async (t) => {
  const principal = parsePrincipalPattern('spiffe://a.test/*/web/**');
  if (!principal.ok) throw new Error(principal.error);
  const words = fc
    .string({ minLength: 1, maxLength: 40, unit: 'binary' })
    .filter((text) => /^[^\p{Cc}]*$/u.test(text) && !/\p{Cs}/u.test(text));
  const grants = fc.uniqueArray(
    fc.record({
      id: fc.stringMatching(/^[A-Za-z0-9]{1,8}$/),
      owner: words,
      reason: words,
      by: words,
      lasts: fc.integer({ min: 1, max: 90 * DAY_MS }),
    }),
    { selector: ({ id }) => id, maxLength: 5 },
  );
  fc.assert(
    fc.property(grants, (all) => {
      const inputs = all.map(
        ({ lasts, ...rest }): ExceptionInput => ({
          ...rest,
          expiresMs: NOW + lasts,
          grantedMs: NOW,
          origin: 'grant',
          principals: [principal.value],
          destinations: ['u'],
          methods: ['GET'],
        }),
      );
      const text = formatGrants(inputs);
      const { list, problems } = parseGrants(text, 'grants.yaml', LIMIT);
      if (list === undefined) throw new Error(`${problems.map(formatProblem)} in ${text}`);
      t.same(list.grants.map(keyOfException), inputs.map(keyOfException));
      t.equal(text.trimEnd().split('\n').length, inputs.length === 0 ? 3 : 3 + inputs.length);
    }),
    { numRuns: 200, seed: 7 },
  );
});

t.test(
  'an end may be as far ahead as allowed, measured from now; a file gets an hour for its writer’s clock',
  async (t) => {
    const most = NOW + LIMIT.maxLengthMs;
    t.equal(checkExpiry(most, LIMIT).ok, true);
    t.match(checkExpiry(most + 1, LIMIT), {
      error: /^is too far ahead: at most 90d .* until 2027-02-19T10:00:00.000Z$/,
    });
    t.equal(
      checkWrittenExpiry(most + HOUR_MS, LIMIT).ok,
      true,
      'what one replica takes, another must not refuse',
    );
    t.equal(checkWrittenExpiry(most + HOUR_MS + 1, LIMIT).ok, false);
  },
);

t.test('a request to grant for a time counts from now, or from when it begins', async (t) => {
  const allow = { principals: ['spiffe://a.test/web'], destinations: ['u'] };
  const read = (more: object): ExceptionInput => {
    const asked = { owner: 'o', reason: 'r', by: 'a', allow, ...more };
    const { value, problems } = parseGrantRequest(Buffer.from(JSON.stringify({ exceptions: [asked] })));
    const [one] = value ?? [];
    if (one === undefined) throw new Error(JSON.stringify(problems));
    return grantOf(one, () => 'GR-made', NOW);
  };
  t.match(read({ for: '4h' }), {
    id: 'GR-made',
    expiresMs: NOW + 4 * HOUR_MS,
    grantedMs: NOW,
    origin: 'grant',
  });
  t.match(read({ id: 'X-1', expires: iso(NOW + 5) }), { id: 'X-1', expiresMs: NOW + 5 });
  const later = NOW + DAY_MS;
  t.match(read({ for: '4h', starts: iso(later) }), { startsMs: later, expiresMs: later + 4 * HOUR_MS });
  t.match(read({ for: '4h', starts: iso(NOW - DAY_MS) }), { expiresMs: NOW + 4 * HOUR_MS });
});

t.test('the body of an order is one JSON value without a name twice', async (t) => {
  for (const [text, message] of [
    ['', /is not JSON/],
    ['{"exceptions":[],"exceptions":[]}', /is not JSON/],
    ['{"exceptions":[]}', /must hold at least one exception/],
    ['{"exceptions":{}}', /must be a list/],
    ['[]', /must be a mapping/],
    [JSON.stringify({ exceptions: Array.from({ length: 101 }, () => ({})) }), /./],
  ] as const) {
    const { value, problems } = parseGrantRequest(Buffer.from(text));
    t.equal(value, undefined, text.slice(0, 40));
    t.match(problems[0]?.message, message, text.slice(0, 40));
  }
  t.match(parseGrantWithdrawal(Buffer.from('{"by":"a"}')).problems, [
    { path: 'reason', message: 'is required' },
  ]);
  t.match(parseGrantWithdrawal(Buffer.from('{"reason":"r"}')).problems, [
    { path: 'by', message: 'is required' },
  ]);
  t.match(parseGrantWithdrawal(Buffer.from('{"reason":"r","by":"a\\u0007"}')).problems, [{ path: 'by' }]);
  t.same(parseGrantWithdrawal(Buffer.from('{"reason":"r","by":"a"}')).value, { reason: 'r', by: 'a' });
});

t.test('check warns of the dead and of those with a week left, and of no other', async (t) => {
  const of = (expiresMs: number): string | undefined =>
    warnOfEnd(
      { id: 'E', owner: 'o', reason: 'r', expiresMs, origin: 'policy', principals: [], destinations: [] },
      NOW,
    );
  t.match(of(NOW), /^"E" of o is dead since 2026-11-21T10:00:00.000Z/);
  t.match(of(NOW + HOUR_MS), /^"E" of o ends in 60m, at 2026-11-21T11/);
  t.match(of(NOW + 7 * DAY_MS), /ends in 7d/);
  t.equal(of(NOW + 7 * DAY_MS + 1), undefined);
});

t.test('a length is said in the largest unit that it holds twice', async (t) => {
  t.same([1, 119_999, 120_000, 2 * HOUR_MS, 47 * HOUR_MS, 90 * DAY_MS].map(formatLength), [
    '1s',
    '120s',
    '2m',
    '2h',
    '47h',
    '90d',
  ]);
});
