import { isAbsolute, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadAll } from '../config/load.js';
import { formatProblem, type Problem } from '../config/problem.js';
import { type CliIo, exitCode } from './io.js';

const USAGE = `Usage: countersign check -c FILE [--json]

Reads the configuration and every file it names: policy, trust bundles, revocation lists, our own
certificate and key. Prints every problem as file:line:col path: message.

  -c, --config FILE   the configuration
      --json          one JSON object on standard output
  -h, --help          this text

Exit code: 0 = good, 78 = problems, 64 = wrong usage.
`;

/** `countersign check`: 0 = the configuration may run, 78 = it may not, and why. */
export async function runCheck(argv: readonly string[], io: CliIo, nowMs = Date.now()): Promise<number> {
  const options = readOptions(argv);
  if (typeof options === 'string') {
    io.stderr(`countersign check: ${options}\n\n${USAGE}`);
    return exitCode.usage;
  }
  if (options.help) {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  const cwd = io.cwd ?? process.cwd();
  const { problems, warnings } = await loadAll(resolve(cwd, options.config), io.env, nowMs);
  const good = problems.length === 0;
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
}

function readOptions(argv: readonly string[]): Options | string {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
      strict: true,
      allowPositionals: false,
    });
    if (values.config === undefined && !values.help) return 'say which file: -c FILE';
    return { config: values.config ?? '', json: values.json, help: values.help };
  } catch (error) {
    return (error as Error).message;
  }
}
