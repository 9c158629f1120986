import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { parseTimestamp } from '../config/units.js';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.js';
import type { AccessRequest } from '../policy/decision.js';
import { type Explanation, explain } from '../policy/explain.js';
import { GivenFacts } from '../policy/given-facts.js';
import type { Reason } from '../reasons.js';
import { shorten } from './check.js';
import { type CliIo, exitCode } from './io.js';
import { chooseListener, toAccessRequest } from './offline-request.js';

const USAGE = `Usage: countersign explain -c FILE --as ID --method M --url U [--listener L] [--at TIME] [--json]

Decides one request offline, the way the listener would, and says of every rule why it matched or not.

  -c, --config FILE   the configuration
      --as ID         SPIFFE ID of the caller
      --method M      method, such as GET
      --url U         https://host/path, or /path where no route asks for a host
      --listener L    listener that gets the request; needed when there are several
      --at TIME       the moment, such as 2026-11-21T10:00:00Z; default now
      --json          one JSON object on standard output
  -h, --help          this text

Exit code: 0 = allow, 1 = deny, 64 = wrong usage, 78 = the configuration has problems.
`;

interface Question {
  readonly config: string;
  readonly as: SpiffeId;
  readonly method: string;
  readonly url: string;
  readonly listener: string | undefined;
  readonly nowMs: number;
  readonly json: boolean;
}

/** `countersign explain`: 0 = allow, 1 = deny. */
export async function runExplain(argv: readonly string[], io: CliIo, nowMs = Date.now()): Promise<number> {
  const question = readQuestion(argv, nowMs);
  if (question === 'help') {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (typeof question === 'string') return complain(io, question);
  const cwd = io.cwd ?? process.cwd();
  const { config, policy, problems } = await loadConfig(resolve(cwd, question.config), io.env);
  if (config === undefined || policy === undefined) {
    for (const problem of problems) io.stderr(`${formatProblem(shorten(problem, cwd))}\n`);
    return exitCode.config;
  }
  const listener = chooseListener(config, question.listener);
  if (!listener.ok) return complain(io, `--listener: ${listener.error}`);
  const asked = toAccessRequest({ ...question, facts: new GivenFacts({}) }, listener.value);
  if (!asked.ok) {
    printRefusal(io, question.json, asked.error.reason, asked.error.detail);
    return exitCode.no;
  }
  const explanation = explain(policy, asked.value);
  if (question.json) io.stdout(`${JSON.stringify(toJson(asked.value, explanation))}\n`);
  else io.stdout(toText(asked.value, explanation));
  return explanation.decision?.effect === 'allow' ? exitCode.yes : exitCode.no;
}

function complain(io: CliIo, message: string): number {
  io.stderr(`countersign explain: ${message}\n\n${USAGE}`);
  return exitCode.usage;
}

function readQuestion(argv: readonly string[], nowMs: number): Question | string {
  const values = readOptions(argv);
  if (typeof values === 'string') return values;
  if (values.help) return 'help';
  const { config, method, url } = values;
  if (config === undefined) return 'say which file: -c FILE';
  if (values.as === undefined) return 'say who asks: --as spiffe://…';
  if (method === undefined) return 'say which method: --method GET';
  if (url === undefined) return 'say what for: --url https://host/path';
  const as = parseSpiffeId(values.as);
  if (!as.ok) return `--as ${values.as}: ${as.error}`;
  const at = values.at === undefined ? undefined : parseTimestamp(values.at);
  if (at !== undefined && !at.ok) return `--at: ${at.error}`;
  if (!/^(https?:\/)?\//.test(url)) return `--url ${url}: must be https://host/path or /path`;
  return {
    config,
    as: as.value,
    method,
    url,
    listener: values.listener,
    nowMs: at?.value ?? nowMs,
    json: values.json ?? false,
  };
}

function readOptions(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        as: { type: 'string' },
        method: { type: 'string' },
        url: { type: 'string' },
        listener: { type: 'string' },
        at: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
      strict: true,
      allowPositionals: false,
    }).values;
  } catch (error) {
    return (error as Error).message;
  }
}

function printRefusal(io: CliIo, json: boolean, reason: Reason, detail: string): void {
  if (json) io.stdout(`${JSON.stringify({ effect: 'deny', reason, detail, rules: [] })}\n`);
  else io.stdout(`deny: ${reason}${detail === '' ? '' : `: ${detail}`}\nThe request never reaches policy.\n`);
}

const toJson = (request: AccessRequest, { decision, unknown, registered, rules }: Explanation): unknown => ({
  effect: decision?.effect ?? 'undecidable',
  ...decision,
  unknown,
  owner: registered?.owner,
  request: {
    principal: request.principal.uri,
    listener: request.listener,
    route: request.route,
    destination: request.destination,
    method: request.method,
    path: request.path,
    at: new Date(request.nowMs).toISOString(),
  },
  rules,
});

function toText(request: AccessRequest, { decision, unknown, rules }: Explanation): string {
  const width = Math.max(0, ...rules.map((rule) => rule.rule.length));
  const lines = rules.map((rule) => {
    const mark = rule.decides ? '=>' : rule.matched ? ' +' : ' -';
    return `${mark} ${rule.rule.padEnd(width)}  ${rule.effect.padEnd(5)}  ${rule.text}`;
  });
  if (decision?.reason === 'no_rule_matched') {
    lines.push(
      `=> ${decision.rule.padEnd(width)}  deny   no rule allows this: what is not allowed is denied`,
    );
  }
  const question = `${request.principal.uri} ${request.method} ${request.path}`;
  const way = `listener ${request.listener}, route ${request.route}, destination ${request.destination}`;
  return [
    decision === undefined
      ? `undecidable: ${unknown} is not known`
      : `${decision.effect}: ${decision.reason}, rule ${decision.rule}, policy ${decision.policyRevision}`,
    `${question}\n${way}`,
    ...lines,
    '',
  ].join('\n');
}
