import t from 'tap';
import { parseGrants } from '../../../src/config/grants.js';
import { readPolicyFile } from '../../../src/config/policy-file.js';
import { formatProblem, formatProblems } from '../../../src/config/problem.js';
import { readRegistryFile } from '../../../src/config/registry-file.js';

const LIMIT = { nowMs: Date.UTC(2026, 10, 21), maxLengthMs: 86_400_000 };
const readers = [
  (text: string) => readPolicyFile(text, 'f.yaml').problems,
  (text: string) => readRegistryFile(text, 'f.yaml').problems,
  (text: string) => parseGrants(text, 'f.yaml', LIMIT).problems,
];

t.test('a file of nothing but mistakes is refused without a message for each of them', async (t) => {
  const text = `version: 1\ndefault: deny\nrules:\n${'  - { x: a }\n'.repeat(20_000)}`;
  const { problems } = readPolicyFile(text, 'f.yaml');
  t.equal(problems.length, 1000);
  t.match(formatProblem(problems[0]!), /^f\.yaml:4:5 rules\[0\]\.id: is required$/);
  t.match(problems.at(-1)?.message, /further problems are not shown$/);
  const told = formatProblems(problems).split('\n');
  t.equal(told.length, 51, 'what goes into records');
  t.equal(told.at(-1), 'and 950 more');
  t.equal(formatProblems(problems.slice(0, 50)).split('\n').length, 50);
});

t.test('what a file holds does not steer the terminal that its problems are shown in', async (t) => {
  for (const key of ['"\\e[2J\\r\\nf.yaml:1:1 ok"', '\u001b[31m'])
    for (const read of readers) {
      const lines = read(`version: 1\n${key}: 1\n`).map(formatProblem);
      t.ok(
        lines.some((line) => line.includes('\\u001b[')),
        lines.join('|'),
      );
      t.notMatch(lines.join(''), /\p{Cc}/u);
    }
});

t.test('what is nested too deeply says so, at a line and column', async (t) => {
  const deep = ['['.repeat(20_000), '{a: '.repeat(20_000), '- '.repeat(20_000)];
  for (const text of deep)
    for (const read of readers) {
      const [problem] = read(text).map(formatProblem);
      t.match(problem, /^f\.yaml:1:\d+ is nested too deeply to be read$/);
    }
});
