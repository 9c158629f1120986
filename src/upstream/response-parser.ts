import { FIELD_VALUE } from '../message/char-class.js';
import { ChunkReader, type TakeBody } from './chunk-reader.js';
import { HeadReader } from './head-reader.js';
import { ResponseFraming } from './response-framing.js';

/** More informational answers than this before the final one is an attack or a broken upstream. */
const MAX_INFORMATIONAL = 16;

const SPACE = 32;
/** Of `HTTP/1.1 200`. */
const STATUS_LINE_BYTES = 12;

/** What an answer brings, in its order. The parser goes on in the same octets when a call returns. */
export interface ResponseSink {
  /** A 1xx other than 101; `fields` are flat. */
  onInformational(status: number, fields: string[]): void;
  onHead(status: number, fields: string[]): void;
  readonly onBody: TakeBody;
}

type State = 'head' | 'length' | 'chunks' | 'until-close' | 'done';

/**
 * Reads answers of HTTP/1.1 off one connection, one at a time, however their octets are cut into pieces (RFC 9112 4-7).
 * It has none of the leeways: what two recipients may read differently is malformed.
 */
export class ResponseParser {
  readonly framing = new ResponseFraming();
  /** What is wrong with the answer, if anything; nothing more is read then. */
  problem: string | undefined;
  readonly #sink: ResponseSink;
  readonly #head = new HeadReader();
  readonly #chunks = new ChunkReader();
  #state: State = 'done';
  #isHead = false;
  /** Of a body with a declared length. */
  #left = 0;
  #informational = 0;
  #takesSwitch = false;

  constructor(sink: ResponseSink) {
    this.#sink = sink;
  }

  /** The answer is whole, and where it ends was told by the answer itself. */
  get isDone(): boolean {
    return this.#state === 'done';
  }

  /** Whether the connection can carry another answer behind this one. */
  get keepsAlive(): boolean {
    return this.#state === 'done' && this.framing.keepsAlive;
  }

  /**
   * The next answer begins. @param isHead it answers a HEAD, so it has no body whatever it says.
   * @param takesSwitch a switch of protocols was asked for: then a 101 ends the answer, and what is behind it is not ours to read.
   */
  begin(isHead: boolean, takesSwitch = false): void {
    this.problem = undefined;
    this.#takesSwitch = takesSwitch;
    this.#isHead = isHead;
    this.#informational = 0;
    this.#beginHead();
  }

  /** Reads `bytes[0..end)`. @returns the index of the first octet behind the answer's end, or `end`. */
  push(bytes: Buffer, end: number): number {
    let at = 0;
    while (at < end && this.problem === undefined) {
      switch (this.#state) {
        case 'head':
          at = this.#readHead(bytes, at, end);
          break;
        case 'length': {
          const stop = Math.min(end, at + this.#left);
          this.#left -= stop - at;
          if (this.#left === 0) this.#state = 'done';
          this.#sink.onBody(bytes, at, stop);
          at = stop;
          break;
        }
        case 'chunks':
          at = this.#readChunks(bytes, at, end);
          break;
        case 'until-close':
          this.#sink.onBody(bytes, at, end);
          return end;
        case 'done':
          return at;
      }
    }
    return at;
  }

  /** The upstream ended the connection in good order. @returns whether the answer is whole by that. */
  end(): boolean {
    if (this.#state !== 'until-close' || this.problem !== undefined) return false;
    this.framing.keepsAlive = false;
    this.#state = 'done';
    return true;
  }

  #beginHead(): void {
    this.#head.begin(true);
    this.#state = 'head';
  }

  #readHead(bytes: Buffer, from: number, end: number): number {
    const head = this.#head;
    const at = head.read(bytes, from, end);
    this.problem = head.problem;
    if (head.isDone && this.problem === undefined) this.#takeHead(head.startLine, head.fields);
    return at;
  }

  #readChunks(bytes: Buffer, from: number, end: number): number {
    const chunks = this.#chunks;
    const at = chunks.read(bytes, from, end, this.#sink.onBody);
    this.problem = chunks.problem;
    if (chunks.isDone) this.#state = 'done';
    return at;
  }

  #takeHead(line: string, fields: string[]): void {
    const status = parseStatusLine(line);
    if (status === undefined) {
      this.problem = 'a malformed status line';
      return;
    }
    this.problem = this.framing.read(line.charCodeAt(7) === 49, fields);
    if (this.problem !== undefined) return;
    if (status < 200) return this.#takeInformational(status, fields);
    this.#beginBody(status);
    this.#sink.onHead(status, fields);
  }

  #takeInformational(status: number, fields: string[]): void {
    if (status === 101 && this.#takesSwitch) {
      this.#state = 'done';
      this.#sink.onHead(status, fields);
    } else if (status === 101) this.problem = 'a switch of protocols that nobody asked for';
    else if (++this.#informational > MAX_INFORMATIONAL) this.problem = 'too many informational answers';
    else {
      this.#beginHead();
      this.#sink.onInformational(status, fields);
    }
  }

  /** RFC 9112 6.3, in its order. */
  #beginBody(status: number): void {
    const { framing } = this;
    // A server that announces content where there is none sends it as well: it would be the next answer (RFC 9112 6.3, 9.2).
    if (status === 204 && (framing.isChunked || (framing.length ?? 0) > 0)) framing.keepsAlive = false;
    if (this.#isHead || status === 204 || status === 304 || framing.length === 0) this.#state = 'done';
    else if (framing.isChunked) {
      this.#chunks.begin();
      this.#state = 'chunks';
    } else if (framing.length !== undefined) {
      this.#left = framing.length;
      this.#state = 'length';
    } else this.#state = 'until-close';
  }
}

/** `HTTP/1.0` or `HTTP/1.1`, a space, a status of 100-599, and behind a space any reason (RFC 9112 4). */
function parseStatusLine(line: string): number | undefined {
  if (!line.startsWith('HTTP/1.1 ') && !line.startsWith('HTTP/1.0 ')) return undefined;
  let status = 0;
  for (let i = 9; i < STATUS_LINE_BYTES; i++) {
    const digit = line.charCodeAt(i) - 48;
    if (!(digit >= 0 && digit <= 9)) return undefined; // also behind the end of the line
    status = status * 10 + digit;
  }
  if (line.length > STATUS_LINE_BYTES && line.charCodeAt(STATUS_LINE_BYTES) !== SPACE) return undefined;
  for (let i = STATUS_LINE_BYTES; i < line.length; i++) {
    if (FIELD_VALUE[line.charCodeAt(i)] !== 1) return undefined;
  }
  return status >= 100 && status <= 599 ? status : undefined;
}
