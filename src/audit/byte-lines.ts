import { type FileLine, MAX_LINE_LENGTH } from './line-cutter.js';

const NEWLINE = 0x0a;

/**
 * One line, without its end: `bytes` from `start` to before `end`. They are the cutter's own until it is given more.
 * @param number from 1.
 */
export type TakeByteLine = (
  bytes: Buffer,
  start: number,
  end: number,
  number: number,
  state: FileLine['state'],
) => void;

const NOTHING = Buffer.alloc(0);

/** Cuts pieces of bytes into lines, copying only those that lie across two pieces; a line too long is skipped, as in LineCutter. */
export class ByteLines {
  #begun: Buffer[] = [];
  #begunBytes = 0;
  #isTooLong = false;
  /** Lines that came so far. */
  lines = 0;

  constructor(readonly take: TakeByteLine) {}

  push(piece: Buffer): void {
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      if (this.#begunBytes === 0 && !this.#isTooLong && end - start <= MAX_LINE_LENGTH)
        this.take(piece, start, end, ++this.lines, 'whole');
      else {
        this.#append(piece.subarray(start, end));
        this.#finish('whole');
      }
      start = end + 1;
    }
    if (start < piece.length) this.#append(piece.subarray(start));
  }

  /** Nothing more comes: what is there without a line's end is the last line. */
  end(): void {
    if (this.#begunBytes > 0 || this.#isTooLong) this.#finish('cut');
  }

  #append(part: Buffer): void {
    if (this.#isTooLong) return;
    if (this.#begunBytes + part.length > MAX_LINE_LENGTH) {
      this.#isTooLong = true;
      this.#begun = [];
      this.#begunBytes = 0;
    } else if (part.length > 0) {
      this.#begun.push(Buffer.from(part)); // the piece may be written over
      this.#begunBytes += part.length;
    }
  }

  #finish(state: 'whole' | 'cut'): void {
    const line = this.#isTooLong ? NOTHING : Buffer.concat(this.#begun);
    const reached = this.#isTooLong ? 'too_long' : state;
    this.#begun = [];
    this.#begunBytes = 0;
    this.#isTooLong = false;
    this.take(line, 0, line.length, ++this.lines, reached);
  }
}
