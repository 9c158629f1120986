import { PartialWrite, type RecordTarget } from '../../src/telemetry/record-target.js';
import type { RecordWriterEvents } from '../../src/telemetry/record-writer.js';

interface Held {
  readonly bytes: Buffer;
  resolve(): void;
  reject(cause: Error): void;
}

/** A target that takes what it is given when it is told to. */
export class HeldTarget implements RecordTarget {
  readonly name = 'held';
  readonly forgets = true;
  /** What it has taken, a text a write. */
  readonly taken: string[] = [];
  syncs = 0;
  moves = 0;
  hasMoved = false;
  bytesLost = 0;
  isClosed = false;
  /** Takes at once. */
  isOpen = false;
  #write: Held | undefined;
  #sync: Held | undefined;
  #wake: (() => void)[] = [];

  write(bytes: Buffer): Promise<void> {
    if (this.isClosed) return Promise.reject(new PartialWrite(bytes, 0, new Error('closed')));
    if (this.isOpen) {
      this.taken.push(bytes.toString());
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      this.#write = { bytes, resolve, reject };
      this.#notify();
    });
  }

  readonly sync = (): Promise<void> => {
    this.syncs++;
    if (this.isOpen) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#sync = { bytes: Buffer.alloc(0), resolve, reject };
      this.#notify();
    });
  };

  look(): { hasMoved: boolean; bytesLost: number } {
    const { hasMoved, bytesLost } = this;
    this.bytesLost = 0;
    return { hasMoved, bytesLost };
  }

  follow(): Promise<void> {
    this.hasMoved = false;
    this.moves++;
    this.taken.push('---');
    return Promise.resolve();
  }

  writeNow(bytes: Buffer): void {
    this.taken.push(bytes.toString());
  }

  close(): void {
    this.isClosed = true;
    this.#write?.reject(new PartialWrite(this.#write.bytes, 0, new Error('closed')));
  }

  /** Takes the next write, waiting for it. */
  async take(): Promise<string> {
    await this.#until(() => this.#write !== undefined);
    const { bytes, resolve } = this.#write!;
    this.#write = undefined;
    this.taken.push(bytes.toString());
    resolve();
    return bytes.toString();
  }

  /** Takes so many bytes of the next write, and fails. */
  async breakOff(after: number, message: string): Promise<void> {
    await this.#until(() => this.#write !== undefined);
    const { bytes, reject } = this.#write!;
    this.#write = undefined;
    this.taken.push(bytes.subarray(0, after).toString());
    reject(new PartialWrite(bytes, after, new Error(message)));
  }

  async finishSync(error?: Error): Promise<void> {
    await this.#until(() => this.#sync !== undefined);
    const { resolve, reject } = this.#sync!;
    this.#sync = undefined;
    if (error === undefined) resolve();
    else reject(error);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #notify(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Keeps what a writer tells. */
export class ToldByWriter implements RecordWriterEvents {
  readonly errors: string[] = [];
  recoveries = 0;
  lines = 0;
  lost = 0;
  unsure = 0;
  readonly cut: number[] = [];
  failed(error: Error): void {
    this.errors.push(error.message);
  }
  recovered(): void {
    this.recoveries++;
  }
  written(records: number): void {
    this.lines += records;
  }
  dropped(records: number): void {
    this.lost += records;
  }
  truncated(bytes: number): void {
    this.cut.push(bytes);
  }
  uncertain(records: number): void {
    this.unsure += records;
  }
}
