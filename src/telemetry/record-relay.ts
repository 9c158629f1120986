import { PartialWrite, type RecordTarget } from './record-target.js';

const NEWLINE = 0x0a;

/** Standard output of a worker, whose supervisor does the writing: what it has taken is kept only once the supervisor says so. */
export class RecordRelay implements RecordTarget {
  readonly name = 'the supervisor';
  /** What it could not write it still has. */
  readonly forgets = false;
  /** Lines that went there, and those that it has dealt with. */
  #sent = 0;
  #acknowledged = 0;
  #canWrite = true;
  /** It could not, since what is being written was begun: what it has dealt with meanwhile it may not have written. */
  #isDoubtful = false;
  #waiting: { readonly lines: number; resolve(): void; reject(cause: Error): void } | undefined;

  constructor(readonly pipe: RecordTarget) {}

  async write(bytes: Buffer, progressed: () => void): Promise<void> {
    this.#isDoubtful = !this.#canWrite;
    try {
      await this.pipe.write(bytes, progressed);
      this.#sent += linesIn(bytes);
    } catch (error) {
      if (error instanceof PartialWrite) this.#sent += linesIn(bytes) - linesIn(error.rest);
      throw error;
    }
  }

  readonly sync = (): Promise<void> => {
    if (!this.#canWrite || this.#isDoubtful) {
      this.#isDoubtful = false;
      return Promise.reject(cannotWrite());
    }
    if (this.#acknowledged >= this.#sent) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiting = { lines: this.#sent, resolve, reject };
    });
  };

  /** @param lines that the supervisor has dealt with, since the start. */
  acknowledge(lines: number): void {
    this.#acknowledged = lines;
    if (this.#waiting !== undefined && lines >= this.#waiting.lines) this.#take()?.resolve();
  }

  supervisorWrites(canWrite: boolean): void {
    this.#canWrite = canWrite;
    if (canWrite) return;
    const waiting = this.#take();
    if (waiting === undefined) this.#isDoubtful = true;
    else waiting.reject(cannotWrite());
  }

  writeNow(bytes: Buffer): void {
    this.pipe.writeNow(bytes);
  }

  close(): void {
    this.pipe.close();
    this.#take()?.reject(new Error('closed before the supervisor had all of them'));
  }

  #take(): { resolve(): void; reject(cause: Error): void } | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}

const cannotWrite = (): Error => new Error('the supervisor cannot write records');

function linesIn(bytes: Buffer): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines++;
  return lines;
}
