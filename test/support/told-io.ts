import type { Readable } from 'node:stream';
import type { CliIo } from '../../src/cli/io.js';

export interface ToldIo extends CliIo {
  readonly out: string;
  readonly err: string;
}

/** An io of a verb that keeps what it is told. */
export function toldIo(cwd: string, stdin?: () => Readable): ToldIo {
  const told = { out: '', err: '' };
  return {
    stdout: (text) => {
      told.out += text;
    },
    stderr: (text) => {
      told.err += text;
    },
    get out() {
      return told.out;
    },
    get err() {
      return told.err;
    },
    env: {},
    cwd,
    ...(stdin === undefined ? {} : { stdin }),
  };
}
