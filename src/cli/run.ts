import cluster from 'node:cluster';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startApp } from '../app/app.js';
import type { App } from '../app/app-face.js';
import { StartRefused } from '../app/start-refused.js';
import { CrashLoop, Supervisor } from '../app/supervisor.js';
import { loadAll, loadConfig, readWorkers } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { createDiagnosticLog } from '../telemetry/diagnostic-log.js';
import { setupFromEnv } from '../workers/protocol.js';
import { workersForAuto } from '../workers/worker-count.js';
import { WorkerLink } from '../workers/worker-link.js';
import { shorten } from './check.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';

const USAGE = `Usage: countersign run -c FILE

Runs the sidecar in the foreground. Records go where the configuration says, diagnostics to stderr.
SIGHUP reloads now, SIGTERM or SIGINT drains, a second one stops at once.
`;

/** `countersign run`: resolves with the exit code when the sidecar is down. */
export async function runRun(argv: string[], io: CliIo): Promise<number> {
  const options = { config: { type: 'string', short: 'c' }, help: { type: 'boolean', short: 'h' } } as const;
  let values: { config?: string | undefined; help?: boolean | undefined };
  try {
    ({ values } = parseArgs({ args: argv, options }));
  } catch (error) {
    return wrongUsage(io, 'run', (error as Error).message);
  }
  if (values.help) {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (values.config === undefined) return wrongUsage(io, 'run', 'say which file: -c FILE');
  process.on('SIGXFSZ', () => undefined); // a file at its size limit is a full disk: the write says so, and nobody is killed
  if (cluster.isWorker) return runWorker(values.config, io);
  const asked = await readWorkers(resolve(io.cwd ?? process.cwd(), values.config), io.env);
  const workers = asked === 'auto' ? workersForAuto() : asked;
  return workers === 1 ? runAlone(values.config, io) : runSupervisor(values.config, workers, io);
}

async function runAlone(configFile: string, io: CliIo): Promise<number> {
  const diagnostics = createDiagnosticLog();
  const signals = new Signals(['SIGTERM', 'SIGINT', 'SIGHUP']);
  try {
    const app = await startApp({ configFile, env: io.env, diagnostics });
    signals.serve(app);
    return await untilStopped(app, diagnostics);
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    io.stderr(`${(await problemsOf(configFile, error, io)).join('\n')}\n`);
    return exitCode.config;
  } finally {
    signals.close();
  }
}

/** Several workers: this process starts them, replaces them, and answers for all of them. */
async function runSupervisor(configFile: string, workers: number, io: CliIo): Promise<number> {
  const diagnostics = createDiagnosticLog();
  const signals = new Signals(['SIGTERM', 'SIGINT', 'SIGHUP']);
  try {
    const { config } = await loadConfig(resolve(io.cwd ?? process.cwd(), configFile), io.env);
    if (config === undefined) throw new StartRefused(['the configuration cannot be used']);
    const supervisor = new Supervisor({ config, workers, diagnostics });
    supervisor.closed.catch(() => undefined); // looked at below, once it has started
    signals.serve(supervisor); // also while it waits for what its workers wait for
    await supervisor.start();
    await supervisor.closed;
    return exitCode.yes;
  } catch (error) {
    if (error instanceof CrashLoop) {
      diagnostics.error({}, error.message);
      return exitCode.internal;
    }
    if (!(error instanceof StartRefused)) throw error;
    io.stderr(`${(await problemsOf(configFile, error, io)).join('\n')}\n`);
    return exitCode.config;
  } finally {
    signals.close();
  }
}

/** One of several: what it is told comes from the supervisor, but a terminal sends its signals to everybody. */
async function runWorker(configFile: string, io: CliIo): Promise<number> {
  const diagnostics = createDiagnosticLog();
  const link = new WorkerLink();
  const signals = new Signals(['SIGTERM']);
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);
  try {
    const worker = setupFromEnv(process.env);
    const app = await startApp({ configFile, env: io.env, diagnostics, worker });
    signals.serve(app);
    link.serve(app);
    return await untilStopped(app, diagnostics);
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    await link.refuse(error.problems);
    return exitCode.config;
  } finally {
    signals.close();
    await link.close();
  }
}

/** As `check` would say it, with line and column; else what the start itself ran into (an address that is taken). */
async function problemsOf(config: string, refused: StartRefused, io: CliIo): Promise<readonly string[]> {
  const cwd = io.cwd ?? process.cwd();
  const { problems } = await loadAll(resolve(cwd, config), io.env, Date.now());
  return problems.length > 0
    ? problems.map((problem) => formatProblem(shorten(problem, cwd)))
    : refused.problems;
}

type Stoppable = Pick<App, 'reload' | 'drain' | 'close'>;

/** Heard from the first moment: one that comes while the sidecar starts must not kill it, and is acted on when it is up. */
class Signals {
  #app: Stoppable | undefined;
  #early: NodeJS.Signals[] = [];
  #stopping = false;
  readonly #listener = (signal: NodeJS.Signals): void => this.#on(signal);

  constructor(readonly signals: readonly NodeJS.Signals[]) {
    for (const signal of signals) process.on(signal, this.#listener);
  }

  serve(app: Stoppable): void {
    this.#app = app;
    for (const signal of this.#early.splice(0)) this.#on(signal);
  }

  close(): void {
    for (const signal of this.signals) process.off(signal, this.#listener);
  }

  #on(signal: NodeJS.Signals): void {
    if (this.#app === undefined) this.#early.push(signal);
    else if (signal === 'SIGHUP') void this.#app.reload();
    else if (this.#stopping) void this.#app.close();
    else {
      this.#stopping = true;
      void this.#app.drain();
    }
  }
}

async function untilStopped(app: App, diagnostics: ReturnType<typeof createDiagnosticLog>): Promise<number> {
  // A defect must not leave a half-working proxy that still says yes: say so, record what is pending, and go down.
  const broken = (cause: unknown): void => {
    diagnostics.error({ err: cause }, 'unexpected error; stopping');
    process.exitCode = exitCode.internal;
    void app.close();
  };
  process.on('uncaughtException', broken).on('unhandledRejection', broken);
  process.once('exit', () => app.writeRecordsNow());
  app.ready.catch(broken);
  await app.closed;
  return Number(process.exitCode ?? exitCode.yes);
}
