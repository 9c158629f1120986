import { FIELD_VALUE, HEX, isOws } from '../message/char-class.js';
import { HeadReader } from './head-reader.js';

/** Sizes of chunks have at most so many digits: exact in a double (RFC 9112 7.1). */
const MAX_SIZE_DIGITS = 13;
/** Chunk extensions of one message together; they mean nothing here (RFC 9112 7.1.1, CVE-2024-22019). */
const MAX_EXTENSION_BYTES = 16 * 1024;

const LF = 10;
const CR = 13;
const SEMICOLON = 59;

type State =
  | 'size'
  | 'space'
  | 'extension'
  | 'size-lf'
  | 'data'
  | 'data-cr'
  | 'data-lf'
  | 'trailers'
  | 'done';

/** Takes octets of a body, `bytes[start..end)`. They are the caller's again when it returns. */
export type TakeBody = (bytes: Buffer, start: number, end: number) => void;

/** Reads a chunked body (RFC 9112 7.1). Extensions and trailers are read strictly, bounded, and dropped. */
export class ChunkReader {
  /** What is wrong with it, if anything; nothing more is read then. */
  problem: string | undefined;
  #state: State = 'size';
  #digits = 0;
  /** Of the present chunk: its size so far, then what is left of it. */
  #left = 0;
  #extensionBytes = 0;
  readonly #trailers = new HeadReader();

  get isDone(): boolean {
    return this.#state === 'done';
  }

  begin(): void {
    this.problem = undefined;
    this.#extensionBytes = 0;
    this.#beginChunk();
  }

  /** @returns the index of the first octet that was not taken. */
  read(bytes: Buffer, from: number, end: number, takeBody: TakeBody): number {
    let at = from;
    while (at < end && this.problem === undefined) {
      switch (this.#state) {
        case 'data': {
          const stop = Math.min(end, at + this.#left);
          this.#left -= stop - at;
          if (this.#left === 0) this.#state = 'data-cr';
          takeBody(bytes, at, stop);
          at = stop;
          break;
        }
        case 'trailers':
          at = this.#readTrailers(bytes, at, end);
          break;
        case 'done':
          return at;
        default:
          this.#step(this.#state, bytes[at++]!);
      }
    }
    return at;
  }

  #beginChunk(): void {
    this.#state = 'size';
    this.#digits = 0;
    this.#left = 0;
  }

  /** One octet of the framing between the data. */
  #step(state: Exclude<State, 'data' | 'trailers' | 'done'>, octet: number): void {
    switch (state) {
      case 'size':
        return this.#stepSize(octet);
      case 'space':
        if (octet === SEMICOLON) this.#state = 'extension';
        else if (!isOws(octet)) this.problem = 'a malformed chunk size';
        return this.#countExtension();
      case 'extension':
        if (octet === CR) this.#state = 'size-lf';
        else if (FIELD_VALUE[octet] !== 1) this.problem = 'a malformed chunk extension';
        return this.#countExtension();
      case 'size-lf':
        if (octet !== LF) this.problem = 'a chunk size ends without CR LF';
        else if (this.#left > 0) this.#state = 'data';
        else this.#beginTrailers();
        return;
      case 'data-cr':
        if (octet === CR) this.#state = 'data-lf';
        else this.problem = 'a chunk is longer than its size';
        return;
      case 'data-lf':
        if (octet === LF) this.#beginChunk();
        else this.problem = 'a chunk is longer than its size';
    }
  }

  #stepSize(octet: number): void {
    const digit = HEX[octet]!;
    if (digit < 16) {
      this.#left = this.#left * 16 + digit;
      if (++this.#digits > MAX_SIZE_DIGITS) this.problem = `a chunk size of over ${MAX_SIZE_DIGITS} digits`;
    } else if (this.#digits === 0) this.problem = 'a malformed chunk size';
    else if (octet === CR) this.#state = 'size-lf';
    else if (octet === SEMICOLON) this.#state = 'extension';
    else if (isOws(octet)) this.#state = 'space';
    else this.problem = 'a malformed chunk size';
  }

  #countExtension(): void {
    if (++this.#extensionBytes > MAX_EXTENSION_BYTES) this.problem = 'too many chunk extensions';
  }

  #beginTrailers(): void {
    this.#trailers.begin(false);
    this.#state = 'trailers';
  }

  #readTrailers(bytes: Buffer, from: number, end: number): number {
    const at = this.#trailers.read(bytes, from, end);
    if (this.#trailers.problem !== undefined) this.problem = `in a trailer: ${this.#trailers.problem}`;
    else if (this.#trailers.isDone) this.#state = 'done';
    return at;
  }
}
