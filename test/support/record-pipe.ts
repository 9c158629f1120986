import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import type { ReadRecord } from './start-proxy.js';

/** A named pipe for records, whose reader is the test: it can be full, and it can be gone. */
export class RecordPipe {
  #reader: number | undefined;
  #text = '';

  constructor(readonly path: string) {
    execFileSync('mkfifo', [path]);
    this.open();
  }

  open(): void {
    this.#reader = openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK);
  }

  /** Nobody reads any more. */
  close(): void {
    if (this.#reader !== undefined) closeSync(this.#reader);
    this.#reader = undefined;
  }

  /** From now on it takes nothing, until it is read. */
  fill(): void {
    for (let size = 65_536; size >= 1; ) {
      try {
        writeSync(this.#reader!, Buffer.alloc(size, '\n'));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        size = size === 1 ? 0 : Math.floor(size / 2);
      }
    }
  }

  /** Every record that came so far. */
  read(): ReadRecord[] {
    const into = Buffer.alloc(65_536);
    try {
      for (;;) this.#text += into.toString('utf8', 0, readSync(this.#reader!, into));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    }
    return this.#text
      .slice(0, this.#text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as ReadRecord);
  }
}
