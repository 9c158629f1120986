/** Longest line that is looked at, in UTF-16 units: many times what a record can come to. */
export const MAX_LINE_LENGTH = 1024 * 1024;

/** A line of a record file, without its end. */
export interface FileLine {
  /** From 1. */
  readonly number: number;
  /** Empty for one that is too long. */
  readonly text: string;
  /** `too_long`: it was skipped. `cut`: the file ends in it, so that more of it may be to come. */
  readonly state: 'whole' | 'cut' | 'too_long';
}

const BYTE_ORDER_MARK = '\ufeff';

/** Cuts a stream of text into lines, holding one line of bounded length at most: what is read may be hostile, or no text at all. */
export class LineCutter {
  /** Of the line that is not whole yet. */
  #begun = '';
  #isTooLong = false;
  /** Lines that came so far. */
  lines = 0;

  constructor(readonly take: (line: FileLine) => void) {}

  push(chunk: string): void {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', start)) {
      this.#append(chunk.slice(start, end));
      this.#finish('whole');
      start = end + 1;
    }
    if (start < chunk.length) this.#append(chunk.slice(start));
  }

  /** Nothing more comes: what is there without a line's end is the last line. */
  end(): void {
    if (this.#begun !== '' || this.#isTooLong) this.#finish('cut');
  }

  #append(text: string): void {
    if (this.#isTooLong) return;
    if (this.#begun.length + text.length > MAX_LINE_LENGTH) {
      this.#isTooLong = true;
      this.#begun = '';
    } else this.#begun = this.#begun === '' ? text : this.#begun + text;
  }

  #finish(state: 'whole' | 'cut'): void {
    const number = ++this.lines;
    const isFirst = number === 1 && this.#begun.startsWith(BYTE_ORDER_MARK);
    const text = isFirst ? this.#begun.slice(1) : this.#begun;
    const isTooLong = this.#isTooLong;
    this.#begun = '';
    this.#isTooLong = false;
    this.take({ number, text, state: isTooLong ? 'too_long' : state });
  }
}
