import type { Socket } from 'node:net';

/** What a client that knows that we speak HTTP/2 says first (RFC 9113 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Who asked which version it is. */
export interface VersionAnswers {
  /** The socket stands still, with all that it has received. */
  onHttp1(): void;
  onHttp2(): void;
  /** Neither, in time. @param code as Node's server of HTTP/1.1 would call it. */
  onNothing(code: 'ERR_HTTP_REQUEST_TIMEOUT' | 'HPE_INVALID_EOF_STATE'): void;
}

/** Tells by the first bytes which HTTP is spoken where no TLS has settled it; takes none of them. */
export class HttpVersionReader {
  #bytes: Buffer = Buffer.alloc(0);
  readonly #timer: NodeJS.Timeout;

  /** @param headMs how long a first head may take to arrive. */
  constructor(
    readonly socket: Socket,
    headMs: number,
    readonly answers: VersionAnswers,
  ) {
    this.#timer = setTimeout(() => {
      this.#leave();
      answers.onNothing('ERR_HTTP_REQUEST_TIMEOUT');
    }, headMs);
    socket.on('data', this.#onData).on('end', this.#onEnd).on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    const compared = Math.min(this.#bytes.length, PREFACE.length);
    const isPreface = PREFACE.compare(this.#bytes, 0, compared, 0, compared) === 0;
    if (isPreface && compared < PREFACE.length) return;
    this.#leave();
    this.socket.pause();
    this.socket.unshift(this.#bytes);
    if (isPreface) this.answers.onHttp2();
    else this.answers.onHttp1();
  };

  /** A probe that opens and closes has asked for nothing. */
  readonly #onEnd = (): void => {
    this.#leave();
    if (this.#bytes.length === 0) this.socket.destroySoon();
    else this.answers.onNothing('HPE_INVALID_EOF_STATE');
  };

  readonly #onError = (): void => void this.socket.destroy();
  readonly #onClose = (): void => this.#leave();

  #leave(): void {
    clearTimeout(this.#timer);
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
    this.socket.off('error', this.#onError);
  }
}
