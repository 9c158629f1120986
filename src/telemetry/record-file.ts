import { closeSync, constants, fstatSync, open, openSync, statSync, write, writeSync } from 'node:fs';

const FLUSH_MS = 10;
const FLUSH_BYTES = 64 * 1024;
const RETRY_MS = 250;
const ROTATION_CHECK_MS = 1000;
/** Beyond this, records that cannot be written are dropped and counted: memory is not a log. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** A sink that takes nothing for this long, or leaves this much waiting, is as good as one that fails: said before records are lost. */
const STALLED_MS = 5000;
const STALLED_BYTES = MAX_PENDING_BYTES / 4;
const MODE = 0o640;
const NEWLINE = 0x0a;
/** At the end a reader that does not read (a full pipe) gets some three seconds. */
const MAX_CLOSING_TRIES = 300;

export interface RecordFileEvents {
  /** Writing failed (once per outage) or works again. */
  failed(error: Error): void;
  recovered(): void;
  /** Called with the number of records that reached the kernel, or were dropped. */
  written(records: number): void;
  dropped(records: number): void;
}

/** Appends lines to a file or stdout in order, never tearing one; follows rotation by rename; knows when it cannot write. */
export class RecordFile {
  available = true;
  #fd: number;
  #lines: string[] = [];
  #pendingBytes = 0;
  /** A write or a reopening is under way on the descriptor. */
  #writing = false;
  #closing = false;
  #closingTries = 0;
  #whenIdle: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Runs while a write is under way. */
  #stalled: NodeJS.Timeout | undefined;
  readonly #rotation: NodeJS.Timeout | undefined;

  /** @param path `-` is stdout. Throws when the file cannot be opened: a proxy that cannot record does not start. */
  constructor(
    readonly path: string,
    readonly events: RecordFileEvents,
    /** Other processes append to it too. */
    readonly isShared = false,
  ) {
    this.#fd =
      path === '-' ? 1 : openSync(path, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY, MODE);
    if (path !== '-') {
      this.#rotation = setInterval(() => this.reopenIfRotated(), ROTATION_CHECK_MS);
      this.#rotation.unref();
    }
  }

  /** One line, with its newline. */
  write(line: string): void {
    if (this.#pendingBytes > MAX_PENDING_BYTES) return this.events.dropped(1);
    this.#lines.push(line);
    this.#pendingBytes += line.length;
    if (this.#pendingBytes > STALLED_BYTES) this.#failAsStalled();
    if (!this.#writing) this.#flushSoon();
  }

  /** After a rename the old file is finished and a new one begun at the path. */
  reopenIfRotated(): void {
    if (this.path === '-' || this.#writing) return;
    try {
      const now = statSync(this.path, { throwIfNoEntry: false });
      const mine = fstatSync(this.#fd);
      if (now !== undefined && now.ino === mine.ino && now.dev === mine.dev) return this.#recover();
    } catch {
      // falls through to opening anew
    }
    this.#writing = true; // nothing is written while the descriptor changes
    open(this.path, constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY, MODE, (error, fd) => {
      if (error === null) {
        closeSync(this.#fd);
        this.#fd = fd;
        this.#recover();
      } else this.#fail(error);
      this.#idle();
      // Where no new file can be begun, the old one may still take them.
      if (!this.#closing && this.#lines.length > 0) this.#flushSoon();
    });
  }

  /** Writes what is left and closes. What is under way is awaited: its descriptor may be somebody else's the moment it is closed. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    clearInterval(this.#rotation);
    if (this.#writing) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    const bytes = bytesOf(this.#lines);
    const records = this.#lines.length;
    this.#lines = [];
    try {
      await this.#writeAll(bytes);
      this.events.written(records);
    } catch (error) {
      this.events.dropped(records);
      this.events.failed(error as Error);
    }
    if (this.path !== '-') closeSync(this.#fd);
  }

  /** To the end; a pipe that is full for the moment gets as long as one that was full before. */
  async #writeAll(bytes: Buffer): Promise<void> {
    for (let offset = 0; offset < bytes.length; ) {
      try {
        offset += writeSync(this.#fd, bytes, offset);
      } catch (error) {
        const isFull = (error as NodeJS.ErrnoException).code === 'EAGAIN';
        if (!isFull || ++this.#closingTries > MAX_CLOSING_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, FLUSH_MS));
      }
    }
  }

  /** For a process that ends now, whatever the reason: what is waiting is written before it does. */
  writeNow(): void {
    const lines = this.#lines;
    if (lines.length === 0 || this.#closing) return;
    this.#lines = [];
    try {
      const bytes = bytesOf(lines);
      for (let offset = 0; offset < bytes.length; ) offset += writeSync(this.#fd, bytes, offset);
    } catch {
      this.events.dropped(lines.length); // and nobody is left to be told
    }
  }

  #flushSoon(): void {
    if (this.#pendingBytes >= FLUSH_BYTES) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#writing || this.#lines.length === 0) return;
    const lines = this.#lines;
    this.#lines = [];
    this.#pendingBytes = 0;
    this.#writing = true;
    this.#stalled = setTimeout(() => this.#failAsStalled(), STALLED_MS).unref();
    this.#write(bytesOf(lines), 0, lines.length);
  }

  #write(bytes: Buffer, offset: number, records: number): void {
    write(this.#fd, bytes, offset, bytes.length - offset, null, (error, written) => {
      if (
        error !== null &&
        this.#closing &&
        (error.code !== 'EAGAIN' || ++this.#closingTries > MAX_CLOSING_TRIES)
      ) {
        this.events.dropped(records);
        return this.#idle();
      }
      if (error !== null) {
        // The same bytes again, from where the kernel stopped: no line is torn and none is lost.
        if (error.code !== 'EAGAIN') this.#fail(error);
        setTimeout(() => this.#write(bytes, offset, records), error.code === 'EAGAIN' ? FLUSH_MS : RETRY_MS);
        return;
      }
      if (offset + written < bytes.length) {
        if (written > 0) this.#stalled?.refresh();
        if (this.isShared) return this.#write(afterTear(bytes, offset + written), 0, records);
        return this.#write(bytes, offset + written, records);
      }
      this.events.written(records);
      this.#idle();
      this.#recover();
      if (!this.#closing && this.#lines.length > 0) this.#flushSoon();
    });
  }

  #idle(): void {
    this.#writing = false;
    clearTimeout(this.#stalled);
    const waiting = this.#whenIdle;
    this.#whenIdle = [];
    for (const resolve of waiting) resolve();
  }

  #failAsStalled(): void {
    if (this.available) this.#fail(new Error('records are not taken'));
  }

  #fail(error: Error): void {
    if (!this.available) return;
    this.available = false;
    this.events.failed(error);
  }

  #recover(): void {
    if (this.available) return;
    this.available = true;
    this.events.recovered();
  }
}

/**
 * What to write where the kernel took a part (a full disk) and another process may have written since: the line that was torn
 * is ended, as a fragment, and stands again whole.
 */
export function afterTear(bytes: Buffer, at: number): Buffer {
  const lineStart = at === 0 ? 0 : bytes.lastIndexOf(NEWLINE, at - 1) + 1;
  if (lineStart === at) return bytes.subarray(at);
  return Buffer.concat([Buffer.of(NEWLINE), bytes.subarray(lineStart)]);
}

/** Nearly all records are plain ASCII, which is copied as it is; only others are worth an encoder's pass over every character. */
function bytesOf(lines: readonly string[]): Buffer {
  const text = lines.join('');
  return Buffer.from(text, Buffer.byteLength(text) === text.length ? 'latin1' : 'utf8');
}
