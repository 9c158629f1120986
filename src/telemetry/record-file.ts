import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  open,
  openSync,
  readSync,
  type Stats,
  statSync,
  write,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { afterTear, lineStartOf, PartialWrite, type RecordTarget, wholeAt } from './record-target.js';

const AGAIN_MS = 10;
const MODE = 0o640;
const NEWLINE = 0x0a;
/** A pipe that nobody reads must not block a thread for ever, nor the start of the process. */
const APPEND = constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NONBLOCK;
/** So long another process may need to end the line that it is writing. */
const TORN_LOOK_MS = 20;
const TORN_LOOKS = 3;
/** So long a write that is under way may take when the process ends. */
const LAST_WRITE_MS = 50;

export interface RecordFileOptions {
  /** Other processes append to it too. */
  readonly isShared?: boolean;
  /** It is to be synced: what is no regular file is refused. */
  readonly isSynced?: boolean;
}

/** A file, a device or a named pipe that lines are appended to; `-` is stdout. Follows rotation by rename. */
export class RecordFile implements RecordTarget {
  readonly name: string;
  readonly isShared: boolean;
  readonly sync?: () => Promise<void>;
  readonly forgets = true;
  #fd: number;
  #isRegular: boolean;
  /** At least so long it is: nobody but who cuts it makes it shorter. */
  #size = 0;
  /** Of the line that the last write broke off in. */
  #tornBytes = 0;
  #isWriting = false;
  #isClosed = false;

  /** @param path `-` is stdout. Throws when it cannot be opened: a proxy that cannot record does not start. */
  constructor(
    readonly path: string,
    readonly options: RecordFileOptions = {},
  ) {
    this.name = path === '-' ? 'standard output' : path;
    this.isShared = options.isShared ?? false;
    this.#fd = path === '-' ? openStdout() : openNamed(path);
    const stat = fstatSync(this.#fd);
    this.#isRegular = stat.isFile();
    if (options.isSynced === true) {
      if (!this.#isRegular) throw new Error(`${this.name}: only a regular file can be synced`);
      this.sync = () => this.#sync();
      this.#syncFolder();
    }
    if (path !== '-') this.#endTornLine(stat);
  }

  async write(bytes: Buffer, progressed: () => void): Promise<void> {
    let text = bytes;
    let offset = 0;
    let whole: Buffer | undefined;
    while (offset < text.length) {
      try {
        const written = await this.#writeSome(text, offset);
        offset += written;
        if (written > 0) progressed();
        if (this.isShared && written > 0 && offset < text.length) {
          whole = wholeAt(text, offset) ?? whole;
          text = afterTear(text, offset);
          offset = 0;
        }
      } catch (cause) {
        const isFull = (cause as NodeJS.ErrnoException).code === 'EAGAIN';
        if (isFull && !this.#isClosed) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        else {
          this.#noteTear(text, offset);
          throw new PartialWrite(text, offset, cause as Error, this.isShared ? whole : wholeAt(text, offset));
        }
      }
    }
    this.#tornBytes = 0;
  }

  /** The line may have been broken off before, in an earlier try. */
  #noteTear(text: Buffer, offset: number): void {
    if (this.isShared) return; // another one may have written behind it
    const lineStart = lineStartOf(text, offset);
    this.#tornBytes = lineStart === 0 ? this.#tornBytes + offset : offset - lineStart;
  }

  look(): { readonly hasMoved: boolean; readonly bytesLost: number } {
    if (this.path === '-') return { hasMoved: false, bytesLost: 0 };
    const mine = fstatSync(this.#fd);
    const bytesLost = this.#isRegular ? Math.max(0, this.#size - mine.size) : 0;
    this.#size = mine.size;
    const now = statSync(this.path, { throwIfNoEntry: false });
    return { hasMoved: now === undefined || now.ino !== mine.ino || now.dev !== mine.dev, bytesLost };
  }

  async follow(): Promise<void> {
    const fd = await new Promise<number>((resolve, reject) => {
      open(this.path, APPEND, MODE, (error, opened) => (error === null ? resolve(opened) : reject(error)));
    });
    const stat = fstatSync(fd);
    try {
      if (this.options.isSynced === true && !stat.isFile())
        throw new Error(`${this.name}: only a regular file can be synced`);
      if (this.options.isSynced === true) this.#syncFolder();
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    this.#takeBackTornLine();
    closeSync(this.#fd);
    this.#fd = fd;
    this.#isRegular = stat.isFile();
    this.#size = 0;
    this.#endTornLine(stat);
  }

  writeNow(bytes: Buffer): void {
    if (this.#isWriting) pauseThread(LAST_WRITE_MS); // another thread is at it: what comes now stands behind it
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(this.#fd, bytes, offset);
  }

  /** A write under way keeps its descriptor: it may be somebody else's the moment it is closed. */
  close(): void {
    this.#isClosed = true;
    if (!this.#isWriting && this.#fd !== STDOUT) closeSync(this.#fd);
  }

  #writeSome(bytes: Buffer, offset: number): Promise<number> {
    this.#isWriting = true;
    return new Promise((resolve, reject) => {
      write(this.#fd, bytes, offset, bytes.length - offset, null, (error, written) => {
        this.#isWriting = false;
        if (error !== null) return reject(error);
        this.#size += written;
        resolve(written);
      });
    });
  }

  #sync(): Promise<void> {
    this.#isWriting = true;
    return new Promise((resolve, reject) => {
      fdatasync(this.#fd, (error) => {
        this.#isWriting = false;
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  /** What was begun of a line stands whole in the next file: it does not stay torn in this one. */
  #takeBackTornLine(): void {
    if (this.#tornBytes === 0 || !this.#isRegular) return;
    try {
      ftruncateSync(this.#fd, fstatSync(this.#fd).size - this.#tornBytes);
    } catch {
      // then it stays, as a fragment
    }
    this.#tornBytes = 0;
  }

  /** A file that was just begun is found again after a power failure only where its folder is on the disk too. */
  #syncFolder(): void {
    const folder = openSync(dirname(this.path), constants.O_RDONLY);
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  }

  /** A process that was killed may have left half a line: it is ended first, or our first line would be lost with it. */
  #endTornLine({ size }: Stats): void {
    if (!this.#isRegular) return;
    this.#size = size;
    for (let looks = 0; this.#isTorn(); looks++) {
      if (!this.isShared || looks >= TORN_LOOKS) {
        this.#size += writeSync(this.#fd, '\n');
        return;
      }
      pauseThread(TORN_LOOK_MS); // another one may be writing it
    }
  }

  #isTorn(): boolean {
    const { size } = fstatSync(this.#fd);
    if (size === 0) return false;
    const reader = openSync(this.path, constants.O_RDONLY);
    try {
      const last = Buffer.alloc(1);
      return readSync(reader, last, 0, 1, size - 1) === 1 && last[0] !== NEWLINE;
    } finally {
      closeSync(reader);
    }
  }
}

const STDOUT = 1;

const pauseThread = (ms: number): void =>
  void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

function openNamed(path: string): number {
  try {
    return openSync(path, APPEND, MODE);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENXIO') throw cause;
    throw new Error(`${path}: nobody reads this pipe or socket`, { cause });
  }
}

/** A pipe is opened once more, without blocking: one that is full would hold a thread, and the end of the process. */
function openStdout(): number {
  if (!fstatSync(STDOUT).isFIFO()) return STDOUT;
  try {
    return openSync(`/dev/fd/${STDOUT}`, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return STDOUT; // of another user, or a system without it
  }
}
