import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { Http2Lifetime, nativeOf } from '../http2-lifetime.js';
import type { Connection, Session } from './connection.js';
import type { ListenerContext } from './context.js';
import { EventBudget } from './event-budget.js';
import { HttpExchange } from './http-exchange.js';
import { Http2Message } from './http2-message.js';
import { StreamBooks } from './http2-stream-books.js';
import { UnansweredExchange } from './unanswered-exchange.js';

const { NGHTTP2_ENHANCE_YOUR_CALM } = constants;
/** PING and SETTINGS, each of which costs an answer (CVE-2019-9512, CVE-2019-9515). */
const CONTROL = { burst: 1000, perSecond: 100 };
/** Streams that came to nothing by their client's doing: cancelled (CVE-2023-44487), or not even requests. */
const WASTE_PER_STREAM = 2;
const WASTE = { burst: 200, perSecond: 100 };
/** Octets that carried neither heads nor bodies: WINDOW_UPDATE, PRIORITY, padding, frames of unknown types, tiny DATA. */
const OVERHEAD = { burst: 2 * 1024 * 1024, perSecond: 1024 * 1024 };
/** So many octets of overhead come with each octet of a body from a client that sends very small messages. */
const OVERHEAD_PER_BODY = 12;
/** What a request's HEADERS take, about. */
const HEAD_ALLOWANCE = 256;
/** A window of a body that nobody reads, because its request is refused. */
const BODY_ALLOWANCE = 64 * 1024;

/** One client's HTTP/2 connection: its streams become exchanges, its misdeeds its end. */
export class Http2Session implements Session {
  readonly #control = new EventBudget(CONTROL.burst, CONTROL.perSecond);
  readonly #waste: EventBudget;
  readonly #overhead = new EventBudget(OVERHEAD.burst, OVERHEAD.perSecond);
  readonly #books: StreamBooks;
  readonly #lifetime: Http2Lifetime;
  readonly #scheme: 'http' | 'https';
  #readBefore: number;
  /** Octets that requests may account for, since the last sweep. */
  #allowance = 0;
  #isBroken = false;

  constructor(
    readonly context: ListenerContext,
    readonly connection: Connection,
    readonly session: ServerHttp2Session,
    readonly maxStreams: number,
  ) {
    const { socket } = connection;
    this.#scheme = (socket as Partial<TLSSocket>).encrypted === true ? 'https' : 'http';
    this.#waste = new EventBudget(Math.max(WASTE.burst, maxStreams * WASTE_PER_STREAM), WASTE.perSecond);
    this.#readBefore = socket.bytesRead;
    this.#books = new StreamBooks(session, (reason) => this.#unseen(reason));
    this.#lifetime = new Http2Lifetime(session, socket);
    connection.session = this;
    socket.prependListener('close', () => this.#books.close()); // while the session can still be asked
    session.on('stream', (stream, headers, flags, rawHeaders?: string[]) =>
      this.#onStream(stream, headers, flags, rawHeaders ?? []),
    );
    session.on('ping', () => this.#onControl('PING'));
    session.on('remoteSettings', () => this.#onControl('SETTINGS'));
    session.on('error', (error: Error & { code?: string }) => this.#onError(error));
    this.#books.watchEnd();
    // One too many of its identity (see Listener).
    if (connection.closing) this.#goAway(NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #onStream(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    rawHeaders: string[],
  ): void {
    const { context, connection } = this;
    if (!this.#books.open(stream.id ?? 0)) return stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
    const endsStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    this.#allowance += HEAD_ALLOWANCE + octetsOf(rawHeaders) + (endsStream ? 0 : BODY_ALLOWANCE);
    const message = new Http2Message(stream, headers, rawHeaders, { scheme: this.#scheme, endsStream });
    const exchange = new HttpExchange(context, connection, context.snapshots.current, message);
    const native = nativeOf(stream);
    stream.once('close', () => {
      if (!message.isWhole) this.#lifetime.outlive(native);
      this.#allowance += exchange.takeReceived() * OVERHEAD_PER_BODY;
    });
    stream.once('aborted', () => {
      if (!message.isOurs) this.#wasted('RST_STREAM');
    });
    if (stream.destroyed || stream.closed) {
      exchange.connectionClosed(); // reset in the same breath: nothing of it goes anywhere
      return this.#wasted('RST_STREAM');
    }
    // Before it has read our SETTINGS a client may not know how many it may open: it may send this one again.
    if (connection.open.size > this.maxStreams) return exchange.refuseStream();
    if (this.#isBroken) return exchange.refuse('protocol_error', 'came behind a flood');
    exchange.run(false);
  }

  /** Its client gave it up before it was answered, or sent frames that do not fit together. */
  #wasted(what: string): void {
    if (!this.#waste.spend()) this.#endFlood(`a flood of ${what}`);
  }

  #onControl(what: string): void {
    if (!this.#control.spend()) this.#endFlood(`a flood of ${what}`);
  }

  /** nghttp2 has refused a stream without a word to us: for its frames, or because it came behind the last one that is taken. */
  #unseen(reason: 'request_malformed' | 'request_timeout'): void {
    const { context, connection } = this;
    const detail = reason === 'request_timeout' ? 'its head never ended' : 'refused by its frames';
    const exchange = new UnansweredExchange(context, connection, context.snapshots.current);
    const ended = connection.refusal ?? connection.terminatedBy;
    if (ended !== undefined) return exchange.refuse(ended.reason, 'came behind the end of its access');
    exchange.refuse(reason, detail);
    if (reason === 'request_timeout') connection.reset();
    else this.#wasted('malformed requests');
  }

  #onError(error: Error & { code?: string }): void {
    // The transport's own errors are nobody's misdeed; Node's and nghttp2's name what the client did.
    if (error.code?.startsWith('ERR_HTTP2') !== true || this.#isBroken) return;
    this.#isBroken = true;
    this.#recordBroken(error.message);
  }

  #endFlood(detail: string): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#recordBroken(detail);
    const { connection } = this;
    connection.closing = true;
    for (const exchange of connection.open) exchange.cut('protocol_error');
    if (!this.session.destroyed) this.session.destroy(undefined, NGHTTP2_ENHANCE_YOUR_CALM);
    connection.socket.destroySoon();
  }

  #recordBroken(detail: string): void {
    const { context, connection } = this;
    new UnansweredExchange(context, connection, context.snapshots.current).refuse('protocol_error', detail);
  }

  /**
   * One GOAWAY, with the last stream that is taken. What its client has sent by then comes too late, and it knows that it may send
   * it again (RFC 9113 6.8, 8.7). To announce the end first would leave it waiting: nghttp2 ignores streams behind any GOAWAY that
   * Node can send.
   */
  endAfterAnswers(): void {
    this.close();
  }

  close(): void {
    this.connection.closing = true;
    const { session } = this;
    if (!session.destroyed && !session.closed) session.close();
  }

  #goAway(code: number): void {
    if (!this.session.destroyed) this.session.destroy(undefined, code);
  }

  sweep(tickMs: number): void {
    const { connection } = this;
    const read = connection.socket.bytesRead;
    for (const exchange of connection.open)
      if (exchange instanceof HttpExchange) this.#allowance += exchange.takeReceived() * OVERHEAD_PER_BODY;
    const overhead = read - this.#readBefore - this.#allowance;
    this.#readBefore = read;
    this.#allowance = 0;
    const headMs = this.context.snapshots.current?.config.deadlines.headMs ?? 0;
    if (overhead > 0 && !this.#overhead.spend(overhead))
      this.#endFlood('a flood of frames that carry nothing');
    else this.#books.sweep(tickMs, headMs);
  }
}

function octetsOf(fields: readonly string[]): number {
  let octets = 0;
  for (const text of fields) octets += text.length;
  return octets;
}
