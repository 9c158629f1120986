import type { Readable } from 'node:stream';

/** What a verb may touch of the process: handed in, so that a verb is a function that tests can call. */
export interface CliIo {
  stdout(text: string): void;
  stderr(text: string): void;
  /** For what is passed on as it is. Resolves when more may be given: whoever reads may be slow. */
  stdoutBytes?(bytes: Uint8Array): Promise<void>;
  /** Characters in a line of standard output; undefined where it is no terminal. */
  readonly columns?: number | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** A function, so that nothing touches it but who reads it. */
  stdin?(): Readable;
  /** Standard error is shown to somebody as it is written. */
  readonly isTerminal?: boolean;
}

/** Exit codes of every verb (sysexits where it has one). */
export const exitCode = { yes: 0, no: 1, usage: 64, internal: 70, config: 78 } as const;

/** Says what is wrong with the arguments; a page of help below it would push that off the screen. */
export function wrongUsage(io: Pick<CliIo, 'stderr'>, verb: string, message: string): number {
  io.stderr(`countersign ${verb}: ${message}\nSee: countersign ${verb} --help\n`);
  return exitCode.usage;
}
