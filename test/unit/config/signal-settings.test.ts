import { readFileSync } from 'node:fs';
import t from 'tap';
import { checkShape } from '../../../src/config/issues.js';
import { formatProblem } from '../../../src/config/problem.js';
import { signals, signalsOf } from '../../../src/config/signal-schema.js';
import { readYaml } from '../../../src/config/yaml-text.js';

const problemsOf = (text: string): readonly string[] =>
  checkShape(signals, readYaml(text, 'c.yaml')).problems.map(formatProblem);

t.test('every signal is on unless it is said otherwise, and false switches it off', async (t) => {
  t.match(signalsOf(signals.parse({})), {
    sharedAddresses: 2,
    privatePrefix: 24,
    sharedIds: true,
    liveCertificates: 200,
    overMs: 600_000,
    nearExpiry: 0.2,
    staticSecrets: true,
    tokenLifetimeMs: 86_400_000,
    firstSeen: true,
  });
  const { value } = checkShape(
    signals,
    readYaml('{ sharedAddresses: false, liveCertificates: false, nearExpiry: false }', 'c.yaml'),
  );
  t.match(value && signalsOf(value), { sharedAddresses: false, liveCertificates: false, nearExpiry: false });
});

t.test('what cannot be meant is refused, with where it stands and what to do', async (t) => {
  const NUMBER = 'must be false or a whole number from 2 to 100000';
  const SHARE = 'must be false or a share from 1% to 90%, such as 20%';
  const cases: readonly [text: string, problem: string][] = [
    ['sharedAddresses: 1', `c.yaml:1:18 sharedAddresses: ${NUMBER}`],
    ['sharedAddresses: true', `c.yaml:1:18 sharedAddresses: ${NUMBER}`],
    ['liveCertificates: 2.5', `c.yaml:1:19 liveCertificates: ${NUMBER}`],
    ['nearExpiry: 0.2', `c.yaml:1:13 nearExpiry: ${SHARE}`],
    ['nearExpiry: 0%', `c.yaml:1:13 nearExpiry: ${SHARE}`],
    ['nearExpiry: 91%', `c.yaml:1:13 nearExpiry: ${SHARE}`],
    ['privatePrefix: 33', 'c.yaml:1:16 privatePrefix: must be at most 32'],
    ['over: 10', 'c.yaml:1:7 over: add a unit, such as 10s'],
    ['tokenLifetime: 0s', 'c.yaml:1:16 tokenLifetime: must be more than 0'],
    ['secretHeaders: ["x y"]', 'c.yaml:1:17 secretHeaders[0]: is not a header name'],
    [
      'secretHeaders: [Authorization]',
      'c.yaml:1:17 secretHeaders[0]: is always looked at, by its scheme: leave it out here',
    ],
    ['secretQuery: ["--"]', 'c.yaml:1:15 secretQuery[0]: must be letters, digits, `.`, `_` or `-`'],
    [
      'staticSecret: false',
      'c.yaml:1:1 staticSecret: unknown key `staticSecret`; did you mean `staticSecrets`?',
    ],
  ];
  for (const [text, problem] of cases) t.same(problemsOf(text), [problem], text);
});

t.test('docs/signals.md lists the names that are looked for', async (t) => {
  const page = readFileSync('docs/signals.md', 'utf8');
  const { secretHeaders, secretQuery } = signals.parse({});
  for (const [key, names] of Object.entries({ secretHeaders, secretQuery }))
    t.ok(page.includes(`- \`${key}\`: ${names.map((name) => `\`${name}\``).join(', ')}\n`), key);
});
