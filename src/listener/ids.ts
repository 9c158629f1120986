import { randomBytes, randomFillSync } from 'node:crypto';

/** Whoever keeps a slice of its text keeps the text: it is small for the sake of tunnels, which stay for long. */
const POOL_BYTES = 1024;

/** Request ids (unique for this boot, ordered) and random trace identifiers from a pooled CSPRNG. */
export class Ids {
  readonly boot = randomBytes(8).toString('hex');
  #count = 0;
  readonly #pool = Buffer.allocUnsafe(POOL_BYTES);
  /** What is left of the pool begins at the offset. */
  #hex = '';
  #offset = 0;

  next(): string {
    return `${this.boot}-${(++this.#count).toString(36).padStart(7, '0')}`;
  }

  /** Lower-case hex of fresh random octets; never all zero for the sizes in use (W3C Trace Context 3.2.2). */
  hex(octets: number): string {
    const digits = octets * 2;
    if (this.#offset + digits > this.#hex.length) {
      this.#hex = randomFillSync(this.#pool).toString('hex');
      this.#offset = 0;
    }
    this.#offset += digits;
    return this.#hex.slice(this.#offset - digits, this.#offset);
  }
}
