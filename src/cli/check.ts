import { isAbsolute, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { LoadedConfig } from '../config/config-data.js';
import { loadAll } from '../config/load.js';
import { compareProblems, formatProblem, type Problem } from '../config/problem.js';
import { type Against, checkAgainst } from './check-against.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { runPolicyTests } from './policy-answers.js';

const USAGE = `Usage: countersign check -c FILE [--json]
       countersign check -c FILE --against BUNDLE [--trust-domain D] [--audit FILE]... [--snapshot FROM] [--since TIME]

Reads the configuration and every file it names: policy, trust bundles, revocation lists, our own
certificate and key. Prints every problem as file:line:col path: message.

With --against it says who would be locked out by a new bundle, before it is in force.

  -c, --config FILE        the configuration
      --against BUNDLE     the bundle that is to come, PEM or SPIFFE bundle JSON
      --trust-domain D     whose bundle it is; needed where there are several
      --audit FILE         records of who was let in, and by which authority; may be given again
      --snapshot FROM      the same from a running sidecar: http://127.0.0.1:9901, unix:/path, or a file
      --since TIME         leave out who was last seen before, such as 2026-11-21T10:00:00Z
      --json               one JSON object on standard output
  -h, --help               this text

Exit code: 0 = good, or nobody is locked out; 1 = somebody is, or nobody was seen; 78 = problems, 64 = wrong usage.
`;

/** `countersign check`: 0 = the configuration may run, 78 = it may not, and why. */
export async function runCheck(argv: readonly string[], io: CliIo, nowMs = Date.now()): Promise<number> {
  const options = readOptions(argv);
  if (typeof options === 'string') return wrongUsage(io, 'check', options);
  if (options.help) {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  const cwd = io.cwd ?? process.cwd();
  const loaded = await loadAll(resolve(cwd, options.config), io.env, nowMs);
  const { config, problems } = loaded;
  const good = problems.length === 0;
  if (good && config !== undefined && options.against !== undefined)
    return checkAgainst(config, options.against, io, nowMs);
  const warnings = [...loaded.warnings, ...warnOfTests(loaded, nowMs)].sort(compareProblems);
  if (options.json) {
    io.stdout(`${JSON.stringify({ ok: good, problems, warnings })}\n`);
    return good ? exitCode.yes : exitCode.config;
  }
  for (const problem of problems) io.stderr(`${formatProblem(shorten(problem, cwd))}\n`);
  for (const warning of warnings) {
    const { message } = warning;
    io.stderr(`${formatProblem(shorten({ ...warning, message: `warning: ${message}` }, cwd))}\n`);
  }
  if (good) io.stdout(`${options.config}: good${summary(warnings.length, 'warning')}\n`);
  else io.stderr(`${options.config}:${summary(problems.length, 'problem').replace(',', '')}\n`);
  return good ? exitCode.yes : exitCode.config;
}

/** Not a problem: a test may speak of a moment that is over. */
function warnOfTests({ config, policy, policyTests }: LoadedConfig, nowMs: number): Problem[] {
  if (config === undefined || policy === undefined) return [];
  return runPolicyTests(policyTests, config, policy, nowMs)
    .filter(({ ok }) => !ok)
    .map(({ test, wrong, why }) => ({
      ...test.place,
      message: `the test fails: ${wrong.join('; ')} (${why})`,
    }));
}

/** Files below the working directory by their relative name, as the user would type it. */
export function shorten(problem: Problem, cwd: string): Problem {
  const file = relative(cwd, problem.file);
  return file.startsWith('..') || isAbsolute(file) ? problem : { ...problem, file };
}

function summary(count: number, noun: string): string {
  if (count === 0) return '';
  return `, ${count} ${noun}${count === 1 ? '' : 's'}`;
}

interface Options {
  readonly config: string;
  readonly json: boolean;
  readonly help: boolean;
  readonly against: Against | undefined;
}

function readOptions(argv: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        against: { type: 'string' },
        'trust-domain': { type: 'string' },
        audit: { type: 'string', multiple: true },
        snapshot: { type: 'string' },
        since: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
      strict: true,
      allowPositionals: false,
    });
    if (values.config === undefined && !values.help) return 'say which file: -c FILE';
    const { against: bundle, audit = [], snapshot, since, json, help, 'trust-domain': trustDomain } = values;
    const extra = [audit[0], snapshot, since, trustDomain].some((value) => value !== undefined);
    if (bundle === undefined && extra) return 'say which bundle: --against BUNDLE';
    const against = bundle === undefined ? undefined : { bundle, trustDomain, audit, snapshot, since, json };
    return { config: values.config ?? '', json, help, against };
  } catch (error) {
    return (error as Error).message;
  }
}
