const READ_BYTES = 64 * 1024;
/** Pieces below this size are copied out; larger ones take the buffer with them. */
const COPY_BYTES = 16 * 1024;

/** What one connection reads into: the same octets for every read, until somebody keeps some of them. */
export class ReadBuffer {
  #bytes = Buffer.allocUnsafeSlow(READ_BYTES);
  #isTaken = false;

  /** For the next read; what was read before may be overwritten now. */
  next(): Buffer {
    if (this.#isTaken) {
      this.#bytes = Buffer.allocUnsafeSlow(READ_BYTES);
      this.#isTaken = false;
    }
    return this.#bytes;
  }

  /** Of the last read. */
  get current(): Buffer {
    return this.#bytes;
  }

  /** A part of the last read, to be kept by whoever gets it. */
  take(start: number, end: number): Buffer {
    if (!this.#isTaken && end - start < COPY_BYTES) {
      const copy = Buffer.allocUnsafe(end - start);
      this.#bytes.copy(copy, 0, start, end);
      return copy;
    }
    this.#isTaken = true;
    return this.#bytes.subarray(start, end);
  }
}
