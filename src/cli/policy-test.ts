import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.js';
import type { PolicyTest } from '../config/policy-test.js';
import { formatProblem } from '../config/problem.js';
import { shorten } from './check.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { runPolicyTests, type TestOutcome } from './policy-answers.js';

const USAGE = `Usage: countersign policy test -c FILE [--json]

Runs the \`tests:\` of the policy file, each by the listener's own steps, and prints a line for each.

  -c, --config FILE   the configuration that names the policy
      --json          one JSON object on standard output
  -h, --help          this text

What a condition reads and a test does not tell is unknown; a test whose answer hangs on it fails.
Exit code: 0 = all as expected, or there are none; 1 = one is not; 64 = wrong usage, 78 = the configuration has problems.
`;

/** `countersign policy VERB`: there is one verb, `test`. */
export async function runPolicy(argv: readonly string[], io: CliIo, nowMs = Date.now()): Promise<number> {
  const options = readOptions(argv);
  if (options === 'help') {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (typeof options === 'string') return wrongUsage(io, 'policy', options);
  const cwd = io.cwd ?? process.cwd();
  const { config, policy, policyTests, problems } = await loadConfig(
    resolve(cwd, options.config),
    io.env,
    nowMs,
  );
  if (config === undefined || policy === undefined) {
    for (const problem of problems) io.stderr(`${formatProblem(shorten(problem, cwd))}\n`);
    return exitCode.config;
  }
  const outcomes = runPolicyTests(policyTests, config, policy, nowMs);
  if (options.json) io.stdout(`${JSON.stringify(toJson(outcomes, cwd))}\n`);
  else io.stdout(toText(outcomes, config.policyFile, cwd));
  return outcomes.every(({ ok }) => ok) ? exitCode.yes : exitCode.no;
}

/** `policy.yaml:33:5`, as an editor follows it. */
const placeOf = ({ place }: PolicyTest, cwd: string): string => {
  const { file, line, column } = shorten({ ...place, message: '' }, cwd);
  return `${file}:${line}:${column}`;
};

function toText(outcomes: readonly TestOutcome[], policyFile: string, cwd: string): string {
  if (outcomes.length === 0) return `${policyFile} has no \`tests\`: nothing was tested\n`;
  const lines = outcomes.flatMap((outcome, i) => {
    const { test, ok } = outcome;
    const title = `${ok ? 'ok' : 'not ok'} ${i + 1} - ${whoText(test)} ${test.method} ${test.url}`;
    if (ok) return [`${title}: ${gotText(outcome)}`];
    return [title, `    ${placeOf(test, cwd)} ${outcome.wrong.join('; ')}`, `    ${outcome.why}`];
  });
  const failed = outcomes.filter(({ ok }) => !ok).length;
  const count = `${outcomes.length} test${outcomes.length === 1 ? '' : 's'}`;
  return `${lines.join('\n')}\n# ${count}, ${failed === 0 ? 'all as expected' : `${failed} not as expected`}\n`;
}

const whoText = ({ as, behalfOf }: PolicyTest): string =>
  behalfOf === undefined ? as.uri : `${as.uri} on behalf of ${behalfOf.uri}`;

/** Also of a test that is as expected: a deny because no route has such a path is rarely what was meant. */
function gotText({ got: { effect, reason, rule, shadow } }: TestOutcome): string {
  const by = rule ?? (reason === undefined ? 'whatever is not known' : `${reason}, before policy`);
  return `${effect}, ${by}${shadow === undefined ? '' : `; in shadow ${shadow}`}`;
}

const toJson = (outcomes: readonly TestOutcome[], cwd: string): unknown => ({
  ok: outcomes.every(({ ok }) => ok),
  tests: outcomes.map(({ test, ok, got, wrong, why }) => ({
    ok,
    at: placeOf(test, cwd),
    as: test.as.uri,
    behalfOf: test.behalfOf?.uri,
    request: `${test.method} ${test.url}`,
    expected: {
      effect: test.expect,
      rule: test.rule,
      exception: test.exception,
      shadow: test.shadow,
    },
    got: { ...got, effect: got.effect ?? 'undecidable' },
    wrong,
    why,
  })),
});

interface Options {
  readonly config: string;
  readonly json: boolean;
}

function readOptions(argv: readonly string[]): Options | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
      strict: true,
      allowPositionals: true,
    });
    if (values.help) return 'help';
    const [verb, ...more] = positionals;
    if (verb !== 'test' || more.length > 0) return `say what to do: countersign policy test -c FILE`;
    if (values.config === undefined) return 'say which file: -c FILE';
    return { config: values.config, json: values.json };
  } catch (error) {
    return (error as Error).message;
  }
}
