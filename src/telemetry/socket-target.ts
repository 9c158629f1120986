import { createConnection, type Socket } from 'node:net';
import { PartialWrite, type RecordTarget } from './record-target.js';

const NEWLINE = 0x0a;
/** Linux takes a write of this size to a unix socket whole or not at all: none is torn, and none is sent twice. */
const PIECE_BYTES = 16 * 1024;
const CONNECT_MS = 2000;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
/** A reader that restarts is back within that: nobody is told before. Less than what a writer calls stalled. */
const GRACE_MS = 4000;

/** A reader that listens on a unix socket gets the lines, as NDJSON; reconnects. What the kernel has taken is out of our hands. */
export class SocketTarget implements RecordTarget {
  readonly name: string;
  #socket: Socket | undefined;
  #isClosed = false;
  /** Since when there is no connection though one is needed; a time of performance.now(). */
  #awaySinceMs: number | undefined;
  /** Ends the wait before the next try. */
  #tryNow: () => void = () => undefined;

  constructor(readonly path: string) {
    this.name = `unix:${path}`;
  }

  async write(bytes: Buffer, progressed: () => void): Promise<void> {
    let backoffMs = FIRST_BACKOFF_MS;
    for (let offset = 0; offset < bytes.length; ) {
      const end = pieceEnd(bytes, offset);
      try {
        await this.#send(bytes.subarray(offset, end));
        this.#awaySinceMs = undefined;
        backoffMs = FIRST_BACKOFF_MS;
        offset = end;
        progressed();
      } catch (cause) {
        this.#leave();
        this.#awaySinceMs ??= performance.now();
        // From the beginning of its line, over the next connection: what went of it there is a fragment at the other's end.
        if (this.#isClosed || performance.now() - this.#awaySinceMs >= GRACE_MS)
          throw new PartialWrite(
            bytes,
            offset,
            new Error(`${this.name}: ${(cause as Error).message}`, { cause }),
          );
        await this.#pause(backoffMs);
        backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS);
      }
    }
  }

  /** As much as the kernel takes at once: libuv tries before it returns. */
  writeNow(bytes: Buffer): void {
    if (this.#socket === undefined) throw new Error(`${this.name}: nobody is connected`);
    this.#socket.write(bytes);
  }

  /** What the kernel has, the reader can still read. */
  close(): void {
    this.#isClosed = true;
    this.#tryNow();
    this.#leave();
  }

  async #send(piece: Buffer): Promise<void> {
    const socket = this.#socket ?? (await this.#connect());
    await new Promise<void>((resolve, reject) => {
      socket.write(piece, (error) => (error == null ? resolve() : reject(error)));
    });
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new Error('closed'));
      const socket = createConnection({ path: this.path });
      this.#socket = socket;
      const timer = setTimeout(() => socket.destroy(new Error('is not accepted')), CONNECT_MS);
      socket.once('connect', () => {
        clearTimeout(timer);
        resolve(socket);
      });
      socket.on('error', reject); // later ones reach whoever writes
      socket.on('close', () => {
        clearTimeout(timer);
        if (this.#socket === socket) this.#socket = undefined;
        reject(new Error('the connection was closed'));
      });
      socket.resume(); // it has nothing to say, but its end is noticed
      socket.unref();
    });
  }

  #leave(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#tryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** Whole lines, up to a piece of them but at least one. */
function pieceEnd(bytes: Buffer, from: number): number {
  if (bytes.length - from <= PIECE_BYTES) return bytes.length;
  const last = bytes.lastIndexOf(NEWLINE, from + PIECE_BYTES - 1);
  const end = last >= from ? last : bytes.indexOf(NEWLINE, from);
  return end === -1 ? bytes.length : end + 1;
}
