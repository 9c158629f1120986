#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { type CliIo, exitCode } from './cli/io.js';

type Verb = (argv: string[], io: CliIo) => Promise<number>;

/** Loaded when asked for: `health` must not pay for the proxy. */
const verbs: Readonly<Record<string, { readonly does: string; load(): Promise<Verb> }>> = {
  run: { does: 'run the sidecar in the foreground', load: async () => (await import('./cli/run.js')).runRun },
  check: {
    does: 'check a configuration and every file it names; prints file:line:col of each problem',
    load: async () => (await import('./cli/check.js')).runCheck,
  },
  explain: {
    does: 'decide one request offline and show which rule decided, and why no other did',
    load: async () => (await import('./cli/explain.js')).runExplain,
  },
  policy: {
    does: '`policy test`: run the tests of the policy file',
    load: async () => (await import('./cli/policy-test.js')).runPolicy,
  },
  replay: {
    does: 'decide recorded requests again under a new configuration; exit 1 if an answer changes',
    load: async () => (await import('./cli/replay.js')).runReplay,
  },
  audit: {
    does: 'what record files prove: `audit verify`, `audit report`, `audit query`; `audit keys`',
    load: async () => (await import('./cli/audit.js')).runAudit,
  },
  pki: { does: 'a throwaway development CA', load: async () => (await import('./cli/pki.js')).runPki },
  demo: {
    does: 'see it work: a legacy service, real calls, a CA rotation, a revocation',
    load: async () => (await import('./cli/demo.js')).runDemo,
  },
  health: {
    does: 'ask the health listener; exit 0 if ready',
    load: async () => (await import('./cli/health.js')).runHealth,
  },
};

function usage(): string {
  const lines = Object.entries(verbs).map(([name, verb]) => `  ${name.padEnd(8)} ${verb.does}`);
  return `Usage: countersign VERB [options]

Identity-aware mTLS reverse proxy and sidecar: what is true now decides, on every request.

${lines.join('\n')}

countersign VERB --help tells more. Exit codes: 0, 1 = the answer is no, 64 usage, 70 internal, 78 configuration.
`;
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

async function main(argv: string[], io: CliIo): Promise<number> {
  const [name, ...rest] = argv;
  if (name === '--version' || name === '-v') {
    io.stdout(`${version()}\n`);
    return exitCode.yes;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    (name === undefined ? io.stderr : io.stdout)(usage());
    return name === undefined ? exitCode.usage : exitCode.yes;
  }
  const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (verb === undefined) {
    io.stderr(`countersign: there is no verb "${name}"\n\n${usage()}`);
    return exitCode.usage;
  }
  return (await verb.load())(rest, io);
}

/** As the shell says it of a program that wrote to nobody (128 + SIGPIPE). */
const NOBODY_READS = 141;
let isWatched = false;

/** Touched only by what is written: a verb that writes to the descriptor itself keeps it as it is. */
function stdout(): NodeJS.WriteStream {
  if (!isWatched) {
    isWatched = true;
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(NOBODY_READS); // `| head` has what it wanted
      process.stderr.write(`countersign: standard output cannot be written (${error.code})\n`);
      process.exit(exitCode.config); // never 1: half an answer is not a no
    });
  }
  return process.stdout;
}

const io: CliIo = {
  stdout: (text) => void stdout().write(text),
  stdoutBytes: (bytes) => new Promise((resolve) => stdout().write(bytes, () => resolve())),
  get columns() {
    return process.stdout.isTTY ? process.stdout.columns : undefined;
  },
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  cwd: process.cwd(),
  stdin: () => process.stdin,
  isTerminal: process.stderr.isTTY === true,
};

main(process.argv.slice(2), io).then(
  (code) => {
    process.exitCode = code;
    // Everything is closed and written by then. What an event loop that runs empty has Node free in its own order may abort the
    // process instead, where clients of HTTP/2 broke off in odd ways (see http2-lifetime.ts).
    if (process.argv[2] === 'run' && process.send === undefined)
      process.stdout.write('', () => process.stderr.write('', () => process.exit()));
  },
  (error: unknown) => {
    io.stderr(`countersign: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = exitCode.internal;
  },
);
