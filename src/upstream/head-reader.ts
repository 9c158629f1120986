import { FIELD_VALUE, isOws, TOKEN } from '../message/char-class.js';

/** A head, or the trailers of one message, may take up so many octets. */
const MAX_HEAD_BYTES = 64 * 1024;
/** Octets that become text at a time: a small head in one piece, and little of a large body behind it. */
const SLICE_BYTES = 2048;

const HTTP = 'HTTP/1.';
const TAB = 9;
const LF = 10;
const CR = 13;
const COLON = 58;

/** Reads the lines of one head or trailer section, strictly (RFC 9112 2.2, 5), however its octets are cut into pieces. */
export class HeadReader {
  startLine = '';
  /** Flat: name, value, name, value; latin1, names are tokens, values hold no control character. */
  fields: string[] = [];
  isDone = false;
  /** What is wrong with it, if anything; nothing more is read then. */
  problem: string | undefined;
  /** The line that has not ended yet. */
  #rest = '';
  #bytes = 0;
  #awaitsStartLine = false;

  begin(hasStartLine: boolean): void {
    this.startLine = '';
    this.fields = [];
    this.isDone = false;
    this.problem = undefined;
    this.#rest = '';
    this.#bytes = 0;
    this.#awaitsStartLine = hasStartLine;
  }

  /** @returns the index of the first octet that was not taken: behind the empty line, or `end`. */
  read(bytes: Buffer, from: number, end: number): number {
    let at = from;
    while (at < end && !this.isDone && this.problem === undefined) {
      const stop = Math.min(end, at + SLICE_BYTES);
      const taken = this.#take(bytes.toString('latin1', at, stop));
      at += taken;
      this.#bytes += taken;
      if (this.#bytes > MAX_HEAD_BYTES) this.problem = `more than ${MAX_HEAD_BYTES} bytes of head`;
    }
    return at;
  }

  #take(slice: string): number {
    const rest = this.#rest;
    const lastLf = slice.lastIndexOf('\n');
    // A long line that comes in crumbs is looked at once, when it is whole: else each crumb would cost the whole line.
    if (lastLf < 0) {
      this.#rest = rest + slice;
      if (this.#awaitsStartLine && this.#rest.length < SLICE_BYTES) this.#expectHttp();
      return slice.length;
    }
    const text = rest + slice;
    const lastEnd = rest.length + lastLf;
    let at = 0;
    while (at <= lastEnd && !this.isDone && this.problem === undefined) {
      at = this.#awaitsStartLine ? this.#takeStartLine(text) : this.#takeField(text, at);
    }
    if (this.isDone) return at - rest.length;
    this.#rest = text.slice(at);
    return slice.length;
  }

  /** What speaks another protocol is known by its first octets; it may never send a line's end. */
  #expectHttp(): void {
    const length = Math.min(this.#rest.length, HTTP.length);
    if (this.#rest.slice(0, length) !== HTTP.slice(0, length)) this.problem = 'not HTTP/1';
  }

  #takeStartLine(text: string): number {
    const lf = text.indexOf('\n');
    this.startLine = text.slice(0, lf - 1);
    this.#awaitsStartLine = false;
    if (!text.startsWith(HTTP)) this.problem = 'not HTTP/1';
    else if (text.charCodeAt(lf - 1) !== CR) this.problem = 'a line ends without CR';
    return lf + 1;
  }

  /** One field line that is known to end in `text`, or the empty line. @returns the index behind it. */
  #takeField(text: string, start: number): number {
    let at = start;
    while (TOKEN[text.charCodeAt(at)] === 1) at++;
    if (at === start) return this.#takeEmptyLine(text, start);
    const name = text.slice(start, at);
    // RFC 9112 5.1: white space before the colon of a response is removed; not where a body's end hangs on it.
    if (text.charCodeAt(at) !== COLON) at = this.#skipToColon(text, at, name);
    at++;
    while (isOws(text.charCodeAt(at))) at++;
    const from = at;
    let to = at;
    for (let code = text.charCodeAt(at); FIELD_VALUE[code] === 1; code = text.charCodeAt(++at)) {
      if (!isOws(code)) to = at + 1;
    }
    if (text.charCodeAt(at) !== CR || text.charCodeAt(at + 1) !== LF) {
      this.problem ??= 'a control character, or a line that ends without CR LF';
    }
    this.fields.push(name, text.slice(from, to));
    return at + 2;
  }

  #takeEmptyLine(text: string, start: number): number {
    const code = text.charCodeAt(start);
    if (code === CR && text.charCodeAt(start + 1) === LF) this.isDone = true;
    else if (code === 32 || code === TAB) this.problem = 'a field line that folds';
    else this.problem = 'a field name is not a token';
    return start + 2;
  }

  #skipToColon(text: string, from: number, name: string): number {
    let at = from;
    while (isOws(text.charCodeAt(at))) at++;
    if (text.charCodeAt(at) !== COLON) this.problem = 'a field name is not a token';
    else if (FRAMING.has(name.toLowerCase())) this.problem = `white space behind ${name}`;
    return at;
  }
}

const FRAMING: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding']);
