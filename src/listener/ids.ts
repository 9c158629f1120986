import { randomBytes, randomFillSync } from 'node:crypto';

const POOL_BYTES = 8192;

/** Request ids (unique for this boot, ordered) and random trace identifiers from a pooled CSPRNG. */
export class Ids {
  readonly boot = randomBytes(8).toString('hex');
  #count = 0;
  readonly #pool = Buffer.allocUnsafe(POOL_BYTES);
  #offset = POOL_BYTES;

  next(): string {
    return `${this.boot}-${(++this.#count).toString(36).padStart(7, '0')}`;
  }

  /** Lower-case hex of fresh random octets; never all zero for the sizes in use (W3C Trace Context 3.2.2). */
  hex(octets: number): string {
    if (this.#offset + octets > POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#offset = 0;
    }
    const text = this.#pool.toString('hex', this.#offset, this.#offset + octets);
    this.#offset += octets;
    return text;
  }
}
