import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { isGrpcType } from '../message/grpc.js';
import type { Http2Form } from '../message/http2-head.js';
import { meaningOf, type Reason } from '../reasons.js';
import { ClientMessage } from './client-message.js';
import type { Connection } from './connection.js';
import { linksOf } from './early-hints.js';
import type { RawRequest } from './pipeline.js';

const {
  NGHTTP2_CANCEL,
  NGHTTP2_INTERNAL_ERROR,
  NGHTTP2_NO_ERROR,
  NGHTTP2_PROTOCOL_ERROR,
  NGHTTP2_REFUSED_STREAM,
} = constants;
/** Answers without content (RFC 9110 15.3.5, 15.3.6, 15.4.5). */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);

/** A client that has its status has so long to stop sending. */
const STATUS_MS = 100;

/** What Node knows of a stream's head besides its lines. */
interface Head {
  readonly ':method'?: string | undefined;
  readonly ':path'?: string | undefined;
  readonly 'content-type'?: string | undefined;
  readonly te?: string | undefined;
}

/** A request and its answer as one HTTP/2 stream carries them. */
export class Http2Message extends ClientMessage {
  readonly request: RawRequest;
  override readonly takesTrailers: boolean;
  override readonly isGrpc: boolean;
  /** The head of an answer whose end may come with it. */
  #unsent: OutgoingHttpHeaders | undefined;
  #hasAnswered = false;
  #isEnded = false;
  /** Its end was our doing. */
  isOurs = false;
  #isWhole: boolean;
  #trailers: string[] | undefined;
  #awaitsTrailers = false;
  /** More of the request's body. */
  #mayCome = false;
  #holdsBackMs = 0;

  constructor(
    readonly stream: ServerHttp2Stream,
    head: Head,
    rawHeaders: readonly string[],
    form: Http2Form,
  ) {
    super(stream);
    this.request = {
      method: head[':method'],
      url: head[':path'],
      httpVersion: '2.0',
      rawHeaders,
      http2: form,
    };
    this.isGrpc = isGrpcType(head['content-type'] ?? '');
    this.takesTrailers = this.isGrpc || head.te === 'trailers';
    this.#isWhole = form.endsStream;
    stream.on('close', () => this.sender?.connectionClosed());
    stream.on('error', () => undefined); // 'close' follows
    // Node ends an answer to HEAD, and then the stream, before there is one, unless somebody reads what does not come.
    if (form.endsStream) stream.resume();
    else stream.on('end', () => this.#onEnd());
  }

  /** Node reads RST_STREAM(NO_ERROR) as the end of the body: what was cut short must not look whole. */
  #onEnd(): void {
    if (!this.stream.closed) this.#isWhole = true;
  }

  get isWhole(): boolean {
    return this.#isWhole;
  }

  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** Its frames did not fit together, and nghttp2 has ended the stream for it, or the connection (RFC 9113 8.1.1). */
  override get brokeProtocol(): boolean {
    const { rstCode, session } = this.stream;
    if (rstCode === NGHTTP2_PROTOCOL_ERROR) return true;
    return rstCode === NGHTTP2_INTERNAL_ERROR && session?.destroyed !== false;
  }

  get isOut(): boolean {
    const { stream } = this;
    if (!this.#isEnded || stream.writableFinished) return this.#isEnded;
    // A stream whose both ends are said goes before Node hears that its last octets are written.
    return stream.closed && stream.rstCode === NGHTTP2_NO_ERROR && !this.isStalled;
  }

  sendContinue(): void {
    this.#inform({ ':status': 100 });
  }

  sendEarlyHints(rawHeaders: readonly string[]): void {
    const link = linksOf(rawHeaders);
    if (link.length > 0) this.#inform({ ':status': 103, link });
  }

  #inform(headers: OutgoingHttpHeaders): void {
    if (this.#hasAnswered || this.stream.destroyed || this.stream.closed) return;
    try {
      this.stream.additionalHeaders(headers);
    } catch {
      // A field that Node will not write is a hint that is not given.
    }
  }

  flush(): void {
    this.#sendHead(false);
  }

  sayLast(): void {
    // GOAWAY says it
  }

  endsConnection(reason: Reason): boolean {
    return meaningOf(reason).credential === true; // the frames of other streams are as clear as before
  }

  /** The answer waits: meanwhile the stream counts among those that its connection may have. */
  holdBack(_connection: Connection, ms: number): void {
    this.#holdsBackMs = ms;
  }

  setTrailers(trailers: string[]): void {
    this.#trailers = trailers;
  }

  reset(_connection: Connection, reason: Reason | undefined): void {
    this.isOurs = true;
    this.#isEnded = false;
    this.#unsent = undefined;
    // Node would end the stream in front of its reset: cut short would look whole to whoever was told no length.
    this.stream._final = (done) => done();
    if (!this.stream.destroyed) this.stream.close(codeOf(reason));
    this.sender?.connectionClosed();
  }

  protected writeHead(status: number, headers: string[], length: number | undefined): void {
    this.#hasAnswered = true;
    this.#unsent = headersOf(status, headers);
    // Where nothing may follow, head and end are one frame: gRPC knows its answers without messages by that, and a client
    // that asked for a head alone takes the head for all of it.
    const isAll = length === 0 || BODILESS.has(status) || this.request.method === 'HEAD';
    if (!isAll) this.#sendHead(false);
  }

  #sendHead(endStream: boolean): void {
    const headers = this.#unsent;
    const { stream } = this;
    if (headers === undefined || stream.destroyed || stream.closed || stream.headersSent) return;
    this.#unsent = undefined;
    const waitForTrailers = this.takesTrailers && !endStream;
    this.#awaitsTrailers = waitForTrailers;
    if (waitForTrailers) stream.once('wantTrailers', () => this.#sendTrailers());
    stream.respond(headers, { endStream, waitForTrailers });
  }

  #sendTrailers(): void {
    const { stream } = this;
    this.#awaitsTrailers = false;
    if (stream.destroyed || stream.closed) return;
    stream.sendTrailers(fieldsOf(this.#trailers ?? []));
    if (this.#mayCome) this.#stopReading();
  }

  override write(chunk: Buffer): boolean {
    if (this.stream.destroyed || this.stream.writableEnded) return true;
    this.#sendHead(false);
    return super.write(chunk);
  }

  protected writeEnd(piece: Buffer | string | undefined, _isBinary: boolean, mayCome: boolean): void {
    if (this.#holdsBackMs === 0) return this.#finish(piece, mayCome);
    setTimeout(() => this.#finish(piece, mayCome), this.#holdsBackMs).unref();
  }

  #finish(piece: Buffer | string | undefined, mayCome: boolean): void {
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    this.#isEnded = true;
    this.#mayCome = mayCome;
    this.#sendHead(piece === undefined && this.#trailers === undefined);
    if (!stream.writableEnded) stream.end(piece);
    if (!mayCome) return;
    stream.resume();
    // Once the answer is out: no more of the body is asked for (RFC 9113 8.1).
    if (!this.#awaitsTrailers) this.#stopReading();
  }

  /** gRPC clients end their side when they have a status, and take a reset right behind it for the status itself. */
  #stopReading(): void {
    const { stream } = this;
    if (!this.isGrpc) return stream.close(NGHTTP2_NO_ERROR);
    const timer = setTimeout(() => stream.close(NGHTTP2_NO_ERROR), STATUS_MS).unref();
    stream.once('close', () => clearTimeout(timer));
  }
}

/** Never NO_ERROR: what was cut short is no success (gRPC reads a code as a status). */
function codeOf(reason: Reason | undefined): number {
  if (reason === 'stream_limit') return NGHTTP2_REFUSED_STREAM; // it may be sent again
  if (reason === undefined || reason.startsWith('upstream_') || reason === 'internal_error')
    return NGHTTP2_INTERNAL_ERROR;
  return NGHTTP2_CANCEL;
}

function headersOf(status: number, flat: readonly string[]): OutgoingHttpHeaders {
  const headers = fieldsOf(flat);
  headers[':status'] = status;
  return headers;
}

/** As Node takes them: by lower-case name, each once, but for Set-Cookie. */
function fieldsOf(flat: readonly string[]): OutgoingHttpHeaders {
  const fields: OutgoingHttpHeaders = Object.create(null); // `__proto__` is a name like any other
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!.toLowerCase();
    const value = flat[i + 1]!;
    const before = fields[name];
    if (before === undefined) fields[name] = name === 'set-cookie' ? [value] : value;
    else if (Array.isArray(before)) before.push(value);
    else fields[name] = `${before}, ${value}`; // RFC 9110 5.3; of some names Node takes one line only
  }
  return fields;
}
