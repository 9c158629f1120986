import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfigWithGrants } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { parseTimestamp } from '../config/units.js';
import { shorten } from './check.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { STDIN } from './record-bytes.js';
import { ReplayJudge } from './replay-judge.js';
import { type ReplayReport, reportAsJson, reportAsText } from './replay-report.js';
import { replayFiles } from './replay-run.js';

const USAGE = `Usage: countersign replay -c NEW --audit FILE... [--since TIME] [--until TIME] [--now | --at TIME]
                          [--all] [--allow-undecidable] [--json]

Decides recorded requests again under a new configuration and lists whose answer changes, by identity and rule.

  -c, --config FILE        the new configuration
      --audit FILE...      record files, plain or gzip; - is standard input
      --since TIME         only requests that began at this time or later, such as 2026-11-21T10:00:00Z
      --until TIME         only requests that began before this time
      --now                as if all were asked now; else each at its own time
      --at TIME            as if all were asked at this time
      --all                also where the answer stays and its rule or destination changes
      --allow-undecidable  what cannot be told does not count for the exit code
      --json               one JSON object on standard output
  -h, --help               this text

Exit code: 0 = no answer changes; 1 = one does, or some cannot be told, or there was no request to judge;
64 = wrong usage, 78 = the configuration has problems or a file cannot be read.
`;

interface Options {
  readonly config: string;
  readonly files: readonly string[];
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  readonly atMs: number | undefined;
  readonly all: boolean;
  readonly allowUndecidable: boolean;
  readonly json: boolean;
}

/** `countersign replay`: 0 = no answer changes, 1 = one does or may. */
export async function runReplay(argv: readonly string[], io: CliIo, nowMs = Date.now()): Promise<number> {
  const options = readOptions(argv, nowMs);
  if (options === 'help') {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (typeof options === 'string') return wrongUsage(io, 'replay', options);
  const cwd = io.cwd ?? process.cwd();
  const { config, policy, problems } = await loadConfigWithGrants(
    resolve(cwd, options.config),
    io.env,
    nowMs,
  );
  if (config === undefined || policy === undefined) {
    for (const problem of problems) io.stderr(`${formatProblem(shorten(problem, cwd))}\n`);
    return exitCode.config;
  }
  const files = options.files.map((file) => (file === STDIN ? file : resolve(cwd, file)));
  const judge = new ReplayJudge(config, policy, options.atMs);
  const replayed = await replayFiles([...new Set(files)], judge, options, io);
  if (!replayed.ok) {
    io.stderr(`countersign replay: ${replayed.error}\n`);
    return exitCode.config;
  }
  const report: ReplayReport = {
    ...replayed.value,
    policy,
    options,
    isGood: isGood(replayed.value, options),
  };
  io.stdout(options.json ? `${JSON.stringify(reportAsJson(report))}\n` : reportAsText(report, cwd));
  return report.isGood ? exitCode.yes : exitCode.no;
}

/** Nothing that was asked for changes. What cannot be told is no yes, and neither is that there was nothing to judge. */
function isGood({ read, tally }: Pick<ReplayReport, 'read' | 'tally'>, options: Options): boolean {
  const { changed } = tally;
  const changes = changed.allow_to_deny + changed.deny_to_allow + (options.all ? changed.same_effect : 0);
  const isTold = changed.undecidable === 0 && read.broken === 0 && tally.judged > 0;
  return changes === 0 && (isTold || options.allowUndecidable);
}

function readOptions(argv: readonly string[], nowMs: number): Options | string {
  const parsed = parseOptions(argv);
  if (typeof parsed === 'string') return parsed;
  const { values, positionals } = parsed;
  if (values.help) return 'help';
  if (values.config === undefined) return 'say which configuration: -c FILE';
  // A shell makes several words of `--audit audit.ndjson*`.
  const files = [...(values.audit ?? []), ...positionals];
  if (values.audit === undefined) return 'say where the records are: --audit FILE';
  if (files.includes('')) return 'the name of a file is empty';
  const times = { since: values.since, until: values.until, at: values.at };
  const ms: Partial<Record<keyof typeof times, number>> = {};
  for (const [name, text] of Object.entries(times) as [keyof typeof times, string | undefined][]) {
    const time = text === undefined ? undefined : parseTimestamp(text);
    if (time?.ok === false) return `--${name}: ${time.error}`;
    if (time !== undefined) ms[name] = time.value;
  }
  if (ms.since !== undefined && ms.until !== undefined && ms.since >= ms.until)
    return '--since must be before --until';
  if (values.now && ms.at !== undefined) return 'say --now or --at, not both';
  return {
    config: values.config,
    files,
    sinceMs: ms.since,
    untilMs: ms.until,
    atMs: values.now ? nowMs : ms.at,
    all: values.all ?? false,
    allowUndecidable: values['allow-undecidable'] ?? false,
    json: values.json ?? false,
  };
}

function parseOptions(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        audit: { type: 'string', multiple: true },
        since: { type: 'string' },
        until: { type: 'string' },
        now: { type: 'boolean' },
        at: { type: 'string' },
        all: { type: 'boolean' },
        'allow-undecidable': { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
      strict: true,
      allowPositionals: true,
    });
  } catch (error) {
    return (error as Error).message;
  }
}
