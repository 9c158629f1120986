import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { MAIN } from './run-process.js';

export interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program as a user starts it. */
export class Program {
  stdout = '';
  stderr = '';
  readonly child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(args: readonly string[], cwd = process.cwd()) {
    this.child = spawn(process.execPath, [MAIN, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#ended = once(this.child, 'close');
  }

  async end(): Promise<Run> {
    await this.#ended;
    return { code: this.child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  /** As `end`; one that is still there by then is killed, and ends without a code. */
  async endWithin(ms: number): Promise<Run> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), ms);
    const run = await this.end();
    clearTimeout(timer);
    return run;
  }

  /** The addresses that it says it listens on. */
  async ready(): Promise<Record<string, string>> {
    const line = await this.says('countersign is ready');
    return (JSON.parse(line) as { addresses: Record<string, string> }).addresses;
  }

  /** The line of its diagnostics that holds this, or the `count`-th of them. */
  async says(text: string, count = 1): Promise<string> {
    for (;;) {
      const line = this.stderr.split('\n').filter((candidate) => candidate.includes(text))[count - 1];
      if (line !== undefined) return line;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`it ended (${this.child.signalCode}): ${this.stderr}`);
      await Promise.race([once(this.child.stderr!, 'data'), this.#ended]);
    }
  }
}

export const run = (args: readonly string[], cwd?: string): Promise<Run> => new Program(args, cwd).end();
