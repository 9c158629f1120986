import type { Socket } from 'node:net';
import { giveBack, takeLarge } from './large-buffers.js';
import { readInto } from './user-buffer.js';

/** What a client that says little keeps for its next read. */
const SMALL_BYTES = 4 * 1024;
/** A TLS record at its largest (RFC 8446 5.1). */
const RECORD_BYTES = 16 * 1024;
/** What the upstream has not taken yet, before the client is read no further. */
const AHEAD_BYTES = 256 * 1024;

/** A large buffer, filled once from its beginning to its end. */
interface Block {
  readonly bytes: Buffer;
  /** Writes of parts of it that are not done. */
  pending: number;
}

/**
 * Reads what the client of a tunnel says: record behind record into one buffer, which goes out in one piece when nothing more has
 * come in this turn of the event loop. No part of a buffer is read into again before it is written.
 */
export class ClientReader {
  readonly #client: Socket;
  readonly #upstream: Socket;
  #small: Buffer | undefined;
  /** What is read into next, where that is no block. */
  #current: Buffer | undefined;
  #block: Block | undefined;
  /** Of the block: what is read and not yet written. */
  #start = 0;
  #end = 0;
  #saysMuch = false;
  #isHeld = false;
  #isDue = false;

  private constructor(client: Socket, upstream: Socket) {
    this.#client = client;
    this.#upstream = upstream;
  }

  /** @returns false where this Node has no way to: then nothing has changed. */
  static begin(client: Socket, upstream: Socket): boolean {
    const reader = new ClientReader(client, upstream);
    // What came before, no more than the client's own buffer holds.
    for (let early = client.read() as Buffer | null; early !== null; early = client.read() as Buffer | null)
      upstream.write(early);
    const next = (): Buffer => reader.#next();
    if (!readInto(client, next, (length) => reader.#read(length))) return false;
    client.prependOnceListener('end', () => reader.#flush());
    client.once('close', () => reader.#closed());
    client.resume();
    return true;
  }

  #next(): Buffer {
    if (this.#saysMuch) return this.#rest();
    this.#current = this.#takeSmall();
    return this.#current;
  }

  #takeSmall(): Buffer {
    this.#retire();
    const small = this.#small ?? Buffer.allocUnsafeSlow(SMALL_BYTES);
    this.#small = undefined;
    return small;
  }

  /** Room for a whole record at least. */
  #rest(): Buffer {
    if (this.#block !== undefined && this.#block.bytes.length - this.#end < RECORD_BYTES) this.#retire();
    this.#block ??= { bytes: takeLarge(), pending: 0 };
    return this.#block.bytes.subarray(this.#end);
  }

  #read(length: number): boolean {
    const small = this.#current;
    this.#current = undefined;
    this.#saysMuch = length >= SMALL_BYTES;
    if (small !== undefined) this.#writeSmall(small, length);
    else {
      this.#end += length;
      if (this.#saysMuch) this.#flushSoon();
      else this.#flush();
    }
    return !this.#isHeld;
  }

  #writeSmall(small: Buffer, length: number): void {
    this.#upstream.write(small.subarray(0, length), () => {
      this.#small = small;
      this.#written();
    });
    this.#look();
  }

  #flushSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    const block = this.#block;
    if (block === undefined || this.#start === this.#end) return;
    const piece = block.bytes.subarray(this.#start, this.#end);
    this.#start = this.#end;
    block.pending++;
    this.#upstream.write(piece, () => {
      block.pending--;
      if (block.pending === 0 && this.#block !== block) giveBack(block.bytes);
      this.#written();
    });
    this.#look();
  }

  /** The block is full, or no longer needed. */
  #retire(): void {
    const block = this.#block;
    if (block === undefined) return;
    this.#flush();
    this.#block = undefined;
    this.#start = 0;
    this.#end = 0;
    if (block.pending === 0) giveBack(block.bytes);
  }

  #look(): void {
    if (this.#isHeld || this.#upstream.writableLength <= AHEAD_BYTES) return;
    this.#isHeld = true;
    this.#client.pause();
  }

  #written(): void {
    if (!this.#isHeld || this.#upstream.writableLength > AHEAD_BYTES / 2) return;
    this.#isHeld = false;
    this.#client.resume();
  }

  /** What is not written is not whole, and nobody gets it. */
  #closed(): void {
    this.#start = this.#end;
    this.#retire();
    this.#current = undefined;
  }
}
