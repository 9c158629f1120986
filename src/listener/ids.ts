import { randomBytes, randomFillSync } from 'node:crypto';

const POOL_BYTES = 8192;
/** Whoever keeps a slice of a text keeps the text: it is small for the sake of tunnels, which stay for long. */
const TEXT_BYTES = 512;

/** Request ids (unique for this boot, ordered) and random trace identifiers from a pooled CSPRNG. */
export class Ids {
  #count = 0;
  readonly #pool = Buffer.allocUnsafe(POOL_BYTES);
  #poolOffset = POOL_BYTES;
  /** A part of the pool as text, used up to its offset. */
  #text = '';
  #textOffset = 0;

  /** @param boot A word for this start of the process. */
  constructor(readonly boot = randomBytes(8).toString('hex')) {}

  next(): string {
    return `${this.boot}-${(++this.#count).toString(36).padStart(7, '0')}`;
  }

  /** Lower-case hex of up to 32 fresh random octets; never all zero for the sizes in use (W3C Trace Context 3.2.2). */
  hex(octets: number): string {
    const digits = octets * 2;
    if (this.#textOffset + digits > this.#text.length) this.#refill();
    this.#textOffset += digits;
    return this.#text.slice(this.#textOffset - digits, this.#textOffset);
  }

  #refill(): void {
    if (this.#poolOffset === POOL_BYTES) {
      randomFillSync(this.#pool);
      this.#poolOffset = 0;
    }
    const from = this.#poolOffset;
    this.#poolOffset += TEXT_BYTES;
    this.#text = this.#pool.toString('hex', from, this.#poolOffset);
    this.#textOffset = 0;
  }
}
