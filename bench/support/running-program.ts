import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { freePort, untilListening } from './free-port.js';

const STOP_MS = 4000;
/** USER_HZ: what Linux shows in /proc/PID/stat, the same on every architecture. */
const TICKS_PER_SECOND = 100;

export interface CpuTime {
  readonly userSeconds: number;
  /** In the kernel on its behalf. */
  readonly systemSeconds: number;
}

/** What was spent between two readings. */
export const cpuBetween = (before: CpuTime, after: CpuTime): CpuTime => ({
  userSeconds: after.userSeconds - before.userSeconds,
  systemSeconds: after.systemSeconds - before.systemSeconds,
});

export interface ProgramOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Gets stdout and stderr: one of ours may hold an access log. */
  readonly outputFile: string;
  readonly port: number;
}

const running = new Set<RunningProgram>();
/** An interrupted run leaves nothing behind. */
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const program of running) program.child.kill('SIGTERM'); // KILL would orphan nginx's worker
    process.exit(1);
  });
}

/** A program that this run started, and will stop: the only processes that are ever signalled. */
export class RunningProgram {
  #ended = false;
  private constructor(
    readonly child: ChildProcess,
    readonly options: ProgramOptions,
  ) {
    running.add(this);
    const ended = (): void => {
      this.#ended = true;
      running.delete(this);
    };
    child.once('exit', ended).once('error', ended);
  }

  /** Resolves when it listens. Rejects with the end of its output otherwise. */
  static async start(options: ProgramOptions): Promise<RunningProgram> {
    const output = openSync(options.outputFile, 'a', 0o600);
    const stdio: StdioOptions = ['ignore', output, output];
    const child = spawn(options.command, options.args, { stdio, env: { ...process.env, ...options.env } });
    closeSync(output);
    const program = new RunningProgram(child, options);
    try {
      await untilListening(options.port, () => program.#ended);
    } catch (error) {
      await program.stop();
      const said = readFileSync(options.outputFile, 'utf8').slice(-2000);
      throw new Error(`${options.command} did not start: ${(error as Error).message}\n${said}`);
    }
    return program;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** CPU time of it and everything it started, as the operating system counts it, in steps of 10 ms. */
  cpuTime(): CpuTime {
    let [userSeconds, systemSeconds] = [0, 0];
    for (const pid of processTree(this.pid)) {
      const time = cpuTimeOf(pid);
      userSeconds += time.userSeconds;
      systemSeconds += time.systemSeconds;
    }
    return { userSeconds, systemSeconds };
  }

  residentKiB(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
  }

  async stop(): Promise<void> {
    if (this.#ended || this.child.pid === undefined) return;
    const gone = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    await gone;
    clearTimeout(timer);
  }
}

export { freePort };

/** Says why CPU cannot be measured here, or undefined. */
export function problemOfCpuAccounting(): string | undefined {
  return process.platform === 'linux' ? undefined : 'CPU per request is read from /proc: this needs Linux';
}

function statOf(pid: number | string): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' '); // the name in parentheses may hold anything
}

function cpuTimeOf(pid: number): CpuTime {
  try {
    const fields = statOf(pid);
    return {
      userSeconds: Number(fields[11]) / TICKS_PER_SECOND,
      systemSeconds: Number(fields[12]) / TICKS_PER_SECOND,
    };
  } catch {
    return { userSeconds: 0, systemSeconds: 0 }; // gone meanwhile
  }
}

function processTree(root: number): number[] {
  const childrenOf = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const parent = Number(statOf(pid)[1]);
      const siblings = childrenOf.get(parent);
      if (siblings === undefined) childrenOf.set(parent, [pid]);
      else siblings.push(pid);
    } catch {
      // gone meanwhile
    }
  }
  const tree = [root];
  for (let i = 0; i < tree.length; i++) tree.push(...(childrenOf.get(tree[i] ?? 0) ?? []));
  return tree;
}
