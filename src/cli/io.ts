/** What a verb may touch of the process: handed in, so that a verb is a function that tests can call. */
export interface CliIo {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** Exit codes of every verb (sysexits where it has one). */
export const exitCode = { yes: 0, no: 1, usage: 64, internal: 70, config: 78 } as const;
