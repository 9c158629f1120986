import { parseDecimal, trimOws } from '../message/char-class.js';
import { parseContentLength } from '../message/framing.js';

/** How the content of an answer is delimited, and what may become of its connection (RFC 9112 6.3, 9.3). */
export class ResponseFraming {
  isChunked = false;
  /** Octets; undefined = chunked, or until the connection closes. */
  length: number | undefined;
  /** Whether the upstream will take another request on this connection. */
  keepsAlive = false;
  /** Of `Keep-Alive: timeout=`, seconds. */
  keepAliveSeconds: number | undefined;
  #closes = false;
  #keeps = false;

  /** Reads the fields of one answer. @returns what is wrong with them, if anything. */
  read(isHttp11: boolean, fields: readonly string[]): string | undefined {
    this.isChunked = false;
    this.length = undefined;
    this.keepAliveSeconds = undefined;
    this.#closes = false;
    this.#keeps = false;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i]!;
      // only names of these lengths can be one of the four
      if (name.length !== 10 && name.length !== 14 && name.length !== 17) continue;
      const problem = this.#collect(isHttp11, name.toLowerCase(), fields[i + 1]!);
      if (problem !== undefined) return problem;
    }
    this.keepsAlive = !this.#closes && (isHttp11 || this.#keeps);
    // RFC 9112 6.3: an attempt at response splitting, or a broken server
    if (this.isChunked && this.length !== undefined) return 'Content-Length and Transfer-Encoding';
    return undefined;
  }

  #collect(isHttp11: boolean, name: string, value: string): string | undefined {
    switch (name) {
      case 'content-length': {
        const length = parseContentLength(value);
        if (length === undefined) return 'Content-Length is not a number';
        if (this.length !== undefined && this.length !== length) return 'different Content-Length lines';
        this.length = length;
        return undefined;
      }
      case 'transfer-encoding':
        if (!isHttp11) return 'Transfer-Encoding in HTTP/1.0'; // RFC 9112 6.1: faulty framing
        if (this.isChunked || value.toLowerCase() !== 'chunked')
          return 'Transfer-Encoding is not exactly chunked';
        this.isChunked = true;
        return undefined;
      case 'connection':
        this.#collectConnection(value.toLowerCase());
        return undefined;
      case 'keep-alive':
        this.keepAliveSeconds = parseTimeout(value);
        return undefined;
      default:
        return undefined;
    }
  }

  #collectConnection(value: string): void {
    if (value === 'keep-alive') {
      this.#keeps = true;
      return;
    }
    for (const option of value.split(',')) {
      const token = trimOws(option);
      if (token === 'close') this.#closes = true;
      else if (token === 'keep-alive') this.#keeps = true;
    }
  }
}

/** `timeout=5, max=100` (RFC 2068 19.7.1.1): when the upstream will close an idle connection. */
function parseTimeout(value: string): number | undefined {
  for (const parameter of value.toLowerCase().split(',')) {
    const text = trimOws(parameter);
    if (text.startsWith('timeout=')) return parseDecimal(text.slice('timeout='.length), 6);
  }
  return undefined;
}
