import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Reason } from '../reasons.js';
import { type AnswerSender, ClientMessage } from './client-message.js';
import type { Connection } from './connection.js';
import { linksOf } from './early-hints.js';
import { Lingering } from './lingering.js';

/** Bodies up to this size are sent together with their head. */
const MAX_INLINE_BYTES = 8192;

const messageOf = Symbol('message');
type Response = ServerResponse & { [messageOf]?: Http1Message };

/** A request and its answer as HTTP/1.1 carries them: a small answer in one piece with its head, a large one at the client's pace. */
export class Http1Message extends ClientMessage {
  readonly #response: Response;

  constructor(
    readonly request: IncomingMessage,
    response: ServerResponse,
  ) {
    super(response);
    this.#response = response;
  }

  override attach(sender: AnswerSender): void {
    super.attach(sender);
    this.#response[messageOf] = this;
    this.#response.on('close', onResponseClose);
  }

  closed(): void {
    this.sender?.connectionClosed();
  }

  get stream(): IncomingMessage {
    return this.request;
  }

  get isWhole(): boolean {
    return this.request.complete;
  }

  get hasAnswered(): boolean {
    return this.#response.headersSent;
  }

  get isOut(): boolean {
    return this.#response.writableFinished;
  }

  sendContinue(): void {
    this.#response.writeContinue();
  }

  sendEarlyHints(rawHeaders: readonly string[]): void {
    const link = linksOf(rawHeaders);
    // RFC 9110 15.2: none to an HTTP/1.0 client
    if (link.length === 0 || this.hasAnswered || this.request.httpVersion !== '1.1') return;
    try {
      this.#response.writeEarlyHints({ link });
    } catch {
      // A Link that Node will not write is a hint that is not given.
    }
  }

  flush(): void {
    this.#response.flushHeaders();
  }

  sayLast(headers: string[]): void {
    headers.push('connection', 'close');
  }

  endsConnection(_reason: Reason, closes: boolean): boolean {
    return closes;
  }

  holdBack(connection: Connection, ms: number): void {
    connection.holdBack(ms);
  }

  setTrailers(): void {
    // HTTP/1.1 clients get none: what stands between them and us may merge them into the head
  }

  reset(connection: Connection): void {
    connection.endAfterAnswer();
    connection.reset();
  }

  protected writeHead(status: number, headers: string[]): void {
    this.#response.writeHead(status, headers);
  }

  /** While the client may still be sending, the message stays open. */
  protected writeEnd(piece: Buffer | string | undefined, isBinary: boolean, mayCome: boolean): void {
    // As latin1 text a small body goes out in one piece with its head: one buffer, one write, one TLS record.
    const isSmall = typeof piece === 'object' && piece.length <= MAX_INLINE_BYTES;
    const last = isSmall ? piece.toString('latin1') : piece;
    const encoding = isBinary ? 'latin1' : 'utf8';
    if (!mayCome) return void this.#response.end(last, encoding);
    if (last === undefined) this.#response.flushHeaders();
    else this.#response.write(last, encoding);
    this.lingering = new Lingering(this.request, this.#response);
  }
}

function onResponseClose(this: Response): void {
  this[messageOf]?.closed();
}
