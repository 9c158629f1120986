import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildReport, type Declared } from '../audit/report/report-build.js';
import { reportAsHtml } from '../audit/report/report-html.js';
import type { Report } from '../audit/report/report-model.js';
import { ReportTally } from '../audit/report/report-tally.js';
import { reportAsText } from '../audit/report/report-text.js';
import { timeSpan } from '../audit/report/time-span.js';
import { parseTimestamp } from '../config/units.js';
import { parsePrincipalId } from '../identity/principal-id.js';
import { matchPrincipal, type PrincipalPattern, parsePrincipalPattern } from '../policy/pattern.js';
import type { Policy } from '../policy/policy.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { STDIN } from './record-bytes.js';
import { scanRecordFiles } from './scan-files.js';

const USAGE = `Usage: countersign audit report FILE... [--format text|json|html] [--out FILE] [-c FILE]
                                [--since TIME] [--until TIME] [--identity PATTERN] [--destination NAME]

Who reached what, under which rule, with which credential; what was refused, revoked or lost; what needs attention.

      FILE...              record files, plain or gzip; - is standard input
      --format FORMAT      text (default), json, or html: one page that needs nothing else
      --out FILE           write it there instead of on standard output
  -c, --config FILE        the configuration: shows rules and grants that nobody used
      --since TIME         only what happened at this time or later, such as 2026-11-21T10:00:00Z
      --until TIME         only what happened before this time
      --identity PATTERN   only this SPIFFE ID, or those of a pattern such as spiffe://example.org/ns/prod/**
      --destination NAME   only requests to this destination
  -h, --help               this text

Exit code: 0 = there is a report; 1 = no record counts for it; 64 = wrong usage; 78 = a file cannot be read or written, or
the configuration has problems.
`;

const FORMATS = ['text', 'json', 'html'] as const;
type Format = (typeof FORMATS)[number];

interface Options {
  readonly files: readonly string[];
  readonly format: Format;
  readonly out: string | undefined;
  readonly config: string | undefined;
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
  readonly identity: PrincipalPattern | undefined;
  readonly destination: string | undefined;
}

/** `countersign audit report`: 0 = there is a report, 1 = no record counts for it. */
export async function runAuditReport(
  argv: readonly string[],
  io: CliIo,
  nowMs = Date.now(),
): Promise<number> {
  const options = readOptions(argv);
  if (options === 'help') {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (typeof options === 'string') return wrongUsage(io, 'audit report', options);
  const cwd = io.cwd ?? process.cwd();
  const declared =
    options.config === undefined ? undefined : await declaredIn(options.config, cwd, io, nowMs);
  if (options.config !== undefined && declared === undefined) return exitCode.config;
  const report = await makeReport(options, declared, cwd, io, nowMs);
  if (typeof report === 'string') {
    io.stderr(`countersign audit report: ${report}\n`);
    return exitCode.config;
  }
  const failed = await put(render(report, options.format), options.out, cwd, io);
  if (failed !== undefined) {
    io.stderr(`countersign audit report: ${failed}\n`);
    return exitCode.config;
  }
  if (report.reading.first !== '') return exitCode.yes;
  io.stderr('countersign audit report: no record counts for it\n');
  return exitCode.no;
}

/** The text is for a person: what could not be read. */
async function makeReport(
  { files, sinceMs, untilMs, identity, destination }: Options,
  declared: Declared | undefined,
  cwd: string,
  io: CliIo,
  nowMs: number,
): Promise<Report | string> {
  const span = timeSpan(sinceMs, untilMs);
  const isIdentity = identity === undefined ? undefined : (id: string): boolean => matchesId(identity, id);
  const tally = new ReportTally({ ...span, isIdentity, destination });
  const given = new Map(files.map((file) => [file === STDIN ? file : resolve(cwd, file), file]));
  const read = await scanRecordFiles([...given.keys()], io, (record) => tally.take(record));
  if (!read.ok) return read.error;
  const { bytes, lines, broken, brokenAt, cut } = read.value;
  const shown = (place: string): string => {
    const [, path = '', line = ''] = /^(.*?)(:\d+)?$/s.exec(place) ?? [];
    return `${given.get(path) ?? path}${line}`;
  };
  const reading = {
    generatedAt: new Date(nowMs).toISOString(),
    files: [...given.values()],
    bytes,
    lines,
    brokenLines: broken,
    brokenAt: brokenAt.map(shown),
    cutFiles: cut.map(shown),
    filter: { since: span.since, until: span.until, identity: identity?.text, destination },
  };
  return buildReport(tally, reading, declared);
}

function render(report: Report, format: Format): string {
  switch (format) {
    case 'text':
      return reportAsText(report);
    case 'json':
      return `${JSON.stringify(report)}\n`;
    case 'html':
      return reportAsHtml(report);
  }
}

/** Whole or not at all: half a report would be read as one. What is no file (/dev/null, a pipe) is written to, never replaced. */
async function put(
  text: string,
  out: string | undefined,
  cwd: string,
  io: CliIo,
): Promise<string | undefined> {
  if (out === undefined) {
    io.stdout(text);
    return undefined;
  }
  const path = resolve(cwd, out);
  const draft = `${path}.${process.pid}.tmp`;
  try {
    const there = await stat(path).catch(() => undefined);
    if (there !== undefined && !there.isFile()) await writeFile(path, text);
    else {
      await writeFile(draft, text, { mode: 0o600 });
      await rename(draft, path);
    }
    return undefined;
  } catch (cause) {
    await rm(draft, { force: true }).catch(() => undefined);
    return `${out}: cannot be written (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`;
  }
}

async function declaredIn(
  file: string,
  cwd: string,
  io: CliIo,
  nowMs: number,
): Promise<Declared | undefined> {
  // Loaded where it is asked for: most reports need no configuration.
  const { loadConfigWithGrants } = await import('../config/load.js');
  const { config, policy, problems } = await loadConfigWithGrants(resolve(cwd, file), io.env, nowMs);
  if (config === undefined || policy === undefined) {
    const [{ formatProblem }, { shorten }] = await Promise.all([
      import('../config/problem.js'),
      import('./check.js'),
    ]);
    for (const problem of problems) io.stderr(`${formatProblem(shorten(problem, cwd))}\n`);
    return undefined;
  }
  return declaredOf(policy);
}

/** What a policy says, as the report asks it; rules that are only tried out decide nothing. */
function declaredOf({ revision, rules, exceptions }: Policy): Declared {
  const enforced = rules.filter(({ mode }) => mode === 'enforce');
  return {
    policy: {
      revision,
      rules: enforced.map(({ id, owner, effect, destinations, principals }) => ({
        id,
        owner,
        effect,
        destinations: [...destinations],
        principals: principals.map((pattern) => ({
          text: pattern.text,
          matches: (identity: string) => matchesId(pattern, identity),
        })),
      })),
    },
    exceptions: exceptions.map(({ id, owner, expiresMs }) => ({
      id,
      owner,
      expires: new Date(expiresMs).toISOString(),
    })),
  };
}

function matchesId(pattern: PrincipalPattern, identity: string): boolean {
  const id = parsePrincipalId(identity);
  return id.ok && matchPrincipal(pattern, id.value);
}

function readOptions(argv: readonly string[]): Options | string {
  const parsed = parseOptions(argv);
  if (typeof parsed === 'string') return parsed;
  const { values, positionals } = parsed;
  if (values.help) return 'help';
  if (positionals.length === 0) return 'say which record files';
  if (positionals.includes('')) return 'the name of a file is empty';
  const format = FORMATS.find((known) => known === (values.format ?? 'text'));
  if (format === undefined) return `--format: "${values.format}" is none of ${FORMATS.join(', ')}`;
  const since = values.since === undefined ? undefined : parseTimestamp(values.since);
  if (since?.ok === false) return `--since: ${since.error}`;
  const until = values.until === undefined ? undefined : parseTimestamp(values.until);
  if (until?.ok === false) return `--until: ${until.error}`;
  const [sinceMs, untilMs] = [since?.value, until?.value];
  if (sinceMs !== undefined && untilMs !== undefined && sinceMs >= untilMs)
    return '--since must be before --until';
  const identity = values.identity === undefined ? undefined : parsePrincipalPattern(values.identity);
  if (identity?.ok === false) return `--identity: ${identity.error}`;
  return {
    files: positionals,
    format,
    out: values.out,
    config: values.config,
    sinceMs,
    untilMs,
    identity: identity?.value,
    destination: values.destination,
  };
}

function parseOptions(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        format: { type: 'string' },
        out: { type: 'string' },
        config: { type: 'string', short: 'c' },
        since: { type: 'string' },
        until: { type: 'string' },
        identity: { type: 'string' },
        destination: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
      strict: true,
      allowPositionals: true,
    });
  } catch (error) {
    return (error as Error).message;
  }
}
