import type { OnReadOpts, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { giveBack, takeLarge } from './large-buffers.js';

/** What a tunnel that says little keeps for its next read. */
const SMALL_BYTES = 4 * 1024;
/** A read of so much keeps the large buffer. */
const MUCH_BYTES = 16 * 1024;
/** What the client has not taken yet, before the upstream is read no further. */
const AHEAD_BYTES = 256 * 1024;

/**
 * Reads what the upstream of a tunnel says, in pieces that grow with what comes. A buffer is read into again when what it held is
 * written; it is nobody else's before that.
 */
export class TunnelReader {
  readonly onread: OnReadOpts = {
    buffer: () => this.#next(),
    callback: (length: number) => this.#read(length),
  };
  #current: Buffer | undefined;
  #small: Buffer | undefined;
  #saysMuch = false;
  #isHeld = false;
  /** What came before the tunnel was open. */
  #early: Buffer[] = [];
  #client: Duplex | undefined;
  #upstream: Socket | undefined;

  /** What is read from now on goes to the client. */
  begin(client: Duplex, upstream: Socket): void {
    this.#client = client;
    this.#upstream = upstream;
    upstream.once('close', () => this.#closed());
    for (const bytes of this.#early) client.write(bytes);
    this.#early = [];
    upstream.resume();
  }

  #next(): Buffer {
    const next = this.#saysMuch ? takeLarge() : this.#takeSmall();
    this.#current = next;
    return next;
  }

  #takeSmall(): Buffer {
    const small = this.#small ?? Buffer.allocUnsafeSlow(SMALL_BYTES);
    this.#small = undefined;
    return small;
  }

  #read(length: number): boolean {
    const buffer = this.#current!;
    this.#current = undefined;
    this.#saysMuch = length === buffer.length || (length >= MUCH_BYTES && buffer.length > SMALL_BYTES);
    const client = this.#client;
    if (client === undefined) {
      this.#early.push(Buffer.from(buffer.subarray(0, length)));
      this.#release(buffer);
      return false;
    }
    client.write(buffer.subarray(0, length), () => this.#written(client, buffer));
    if (client.writableLength <= AHEAD_BYTES) return true;
    this.#isHeld = true;
    return false;
  }

  #written(client: Duplex, buffer: Buffer): void {
    this.#release(buffer);
    if (!this.#isHeld || client.writableLength > AHEAD_BYTES / 2) return;
    this.#isHeld = false;
    this.#upstream?.resume();
  }

  #release(buffer: Buffer): void {
    if (buffer.length === SMALL_BYTES) this.#small = buffer;
    else giveBack(buffer);
  }

  #closed(): void {
    if (this.#current !== undefined) this.#release(this.#current);
    this.#current = undefined;
  }
}
