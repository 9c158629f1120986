import { parseArgs } from 'node:util';
import { type App, StartRefused, startApp } from '../app.js';
import { createDiagnosticLog } from '../telemetry/diagnostic-log.js';
import { type CliIo, exitCode } from './io.js';

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
    io.stderr(`${(error as Error).message}\n${USAGE}`);
    return exitCode.usage;
  }
  if (values.help) {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (values.config === undefined) {
    io.stderr(`run needs -c FILE\n${USAGE}`);
    return exitCode.usage;
  }
  const diagnostics = createDiagnosticLog();
  let app: App;
  try {
    app = await startApp({ configFile: values.config, env: io.env, diagnostics });
  } catch (error) {
    if (!(error instanceof StartRefused)) throw error;
    io.stderr(`${error.problems.join('\n')}\n`);
    return exitCode.config;
  }
  return untilStopped(app, diagnostics);
}

async function untilStopped(app: App, diagnostics: ReturnType<typeof createDiagnosticLog>): Promise<number> {
  let asked = false;
  const stop = (): void => {
    if (asked) return void app.close();
    asked = true;
    void app.drain();
  };
  const reload = (): void => void app.reload();
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload);
  // A defect must not leave a half-working proxy that still says yes: say so, record what is pending, and go down.
  const broken = (cause: unknown): void => {
    diagnostics.error({ err: cause }, 'unexpected error; stopping');
    process.exitCode = exitCode.internal;
    void app.close();
  };
  process.on('uncaughtException', broken).on('unhandledRejection', broken);
  await app.closed;
  process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload);
  return Number(process.exitCode ?? exitCode.yes);
}
