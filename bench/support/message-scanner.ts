const HEAD_END = Buffer.from('\r\n\r\n');
const LAST_CHUNK = '0\r\n\r\n';
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;
const CHUNKED = /\r\ntransfer-encoding: *chunked/i;

/**
 * Counts whole HTTP/1.1 messages in a stream, requests or responses, and does no more than that: a load client must cost
 * less than what it loads. It knows Content-Length, and chunked messages that nothing follows in the same read.
 */
export class MessageScanner {
  /** Of the last message whose head was read, without the empty line. */
  head = '';
  #partial: Buffer | undefined;
  #remaining = 0;
  #chunkedTail: string | undefined;

  /** @returns how many messages were completed by these bytes. */
  push(chunk: Buffer): number {
    let complete = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#chunkedTail !== undefined) {
        this.#chunkedTail = (
          this.#chunkedTail + chunk.toString('latin1', Math.max(at, chunk.length - 5))
        ).slice(-5);
        if (!this.#chunkedTail.endsWith(LAST_CHUNK)) return complete;
        this.#chunkedTail = undefined;
        return complete + 1;
      }
      if (this.#remaining > 0) {
        const taken = Math.min(this.#remaining, chunk.length - at);
        this.#remaining -= taken;
        at += taken;
        if (this.#remaining === 0) complete++;
        continue;
      }
      at = this.#readHead(chunk, at);
      if (this.#partial === undefined && this.#remaining === 0 && this.#chunkedTail === undefined) complete++;
    }
    return complete;
  }

  /** Of the last head, when it is a response. */
  get status(): number {
    return Number(this.head.slice(9, 12));
  }

  #readHead(chunk: Buffer, at: number): number {
    const before = this.#partial;
    const bytes = before === undefined ? chunk : Buffer.concat([before, chunk.subarray(at)]);
    const start = before === undefined ? at : 0;
    const end = bytes.indexOf(HEAD_END, start);
    if (end < 0) {
      this.#partial = Buffer.from(bytes.subarray(start));
      return chunk.length;
    }
    this.#partial = undefined;
    this.head = bytes.toString('latin1', start, end);
    const length = CONTENT_LENGTH.exec(this.head);
    if (length !== null) this.#remaining = Number(length[1]);
    else if (CHUNKED.test(this.head)) this.#chunkedTail = '';
    return before === undefined ? end + 4 : at + end + 4 - before.length;
  }
}
