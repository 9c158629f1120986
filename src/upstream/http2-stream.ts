import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from 'node:http2';
import { Readable } from 'node:stream';
import { nativeOf } from '../http2-lifetime.js';
import { Failure } from '../reasons.js';
import { Http2BodyWriter } from './http2-body-writer.js';
import { type CallFailure, PROTOCOL_ERROR } from './http2-closes.js';
import type { CallCarrier, UpstreamCall } from './upstream-call.js';

/** More informational answers than this before the final one is an attack or a broken upstream. */
const MAX_INFORMATIONAL = 16;
/** As of HTTP/1.1. node:http2 tells servers of a limit, and does not hold them to it. */
const MAX_HEAD_BYTES = 64 * 1024;

/** Whose stream it is. */
export interface StreamOwner {
  /** A piece of an answer has come. */
  onHeard(): void;
  /** All of its answer has come. */
  onAnswered(): void;
  /** It is closed: the server counts it no more. */
  onStreamClosed(stream: Http2Stream): void;
  /** Why a call failed whose stream closed like this, and how far it was. */
  failureOf(stream: Http2Stream, rstCode: number): CallFailure;
  onConnectionError(error: Error): void;
  /** A call was given up; nothing of its answer had come. */
  onSilent(stream: Http2Stream): void;
}

const KEEPER = Symbol('keeper');
type KeptStream = ClientHttp2Stream & { [KEEPER]: Http2Stream };

/** One call on its stream of a connection, from its HEADERS to the stream's close (RFC 9113 8.1). */
export class Http2Stream implements CallCarrier {
  /** Anything of the answer has come. */
  isAnswering = false;
  /** The server said that the answer ends here: without this no end is an end. */
  isEndOfStream = false;
  readonly id: number;
  readonly native: object | undefined;
  readonly #owner: StreamOwner;
  readonly #stream: KeptStream;
  #call: UpstreamCall | undefined;
  #writer: Http2BodyWriter | undefined;
  #informational = 0;
  #trailers: string[] | undefined;

  /**
   * @param atMs when it began (performance.now).
   * @param heardBefore what its connection had brought until then.
   */
  constructor(
    owner: StreamOwner,
    stream: ClientHttp2Stream,
    call: UpstreamCall,
    readonly atMs: number,
    readonly heardBefore: number,
  ) {
    this.#owner = owner;
    this.id = stream.id ?? 0;
    this.native = nativeOf(stream);
    this.#call = call;
    this.#stream = Object.assign(stream, { [KEEPER]: this, push: pushNoting });
    stream.on('response', onResponse).on('headers', onInformational).on('trailers', onTrailers);
    stream.on('end', onEnd).on('close', onClose).on('error', onError);
    const { body, bodyLength } = call.request;
    if (body === undefined || bodyLength === 0) return;
    stream.on('drain', onDrain).on('aborted', onAborted);
    this.#writer = new Http2BodyWriter(stream, body, bodyLength, (problem) =>
      this.#fail(new Failure('internal_error', problem)),
    );
  }

  resume(): void {
    this.#stream.resume();
  }

  /** The call is given up: the server is to stop, and nothing of it may look complete. */
  abandon(): void {
    this.#detach();
    this.reset();
    if (!this.isAnswering) this.#owner.onSilent(this);
  }

  reset(): void {
    const stream = this.#stream;
    // node:http2 ends what is open to write before it resets: END_STREAM would make a body that was cut short look whole.
    if (this.#isCutShort) Object.assign(stream, { end: neverEnds });
    if (!stream.destroyed) stream.close(constants.NGHTTP2_CANCEL);
  }

  get #isCutShort(): boolean {
    return !this.#stream.writableEnded;
  }

  // --- the answer ------------------------------------------------------------------------------------------------------

  /** What a handler throws out of a stream's event would end the process. */
  hear(take: (call: UpstreamCall) => void): void {
    const call = this.#call;
    if (call === undefined) return;
    this.isAnswering = true;
    this.#owner.onHeard();
    try {
      take(call);
    } catch (cause) {
      this.#fail(new Failure('internal_error', 'an answer could not be passed on', { cause }));
      call.fail(new Failure('internal_error', 'an answer could not be passed on', { cause }));
    }
  }

  takeInformational(call: UpstreamCall, status: number, rawHeaders: string[]): void {
    if (status === 101) this.#malformed('a switch of protocols that nobody asked for');
    else if (++this.#informational > MAX_INFORMATIONAL || isTooLarge(rawHeaders))
      this.#malformed('too many informational answers');
    else if (status === 103) call.handler.onEarlyHints(withoutStatus(rawHeaders));
  }

  takeHead(call: UpstreamCall, status: number, rawHeaders: string[]): void {
    const stream = this.#stream;
    if (!(status >= 200 && status <= 599)) return this.#malformed(`the status is ${status}`);
    if (isTooLarge(rawHeaders)) return this.#malformed(`more than ${MAX_HEAD_BYTES} bytes of head`);
    stream.on('data', onData); // not before: node:http2 tells of a head a tick after the data behind it
    if (!call.onHead(status, withoutStatus(rawHeaders))) stream.pause();
  }

  takeData(call: UpstreamCall, chunk: Buffer): void {
    if (!call.handler.onData(chunk)) this.#stream.pause();
  }

  /** They are told of when the data before them are, which may be paused. */
  keepTrailers(rawTrailers: string[]): void {
    this.#trailers = rawTrailers;
  }

  complete(call: UpstreamCall): void {
    if (!this.isEndOfStream) return; // a reset: `close` says which
    const trailers = this.#trailers;
    if (trailers !== undefined && isTooLarge(trailers))
      return this.#malformed(`more than ${MAX_HEAD_BYTES} bytes of trailers`);
    this.#detach();
    this.#owner.onAnswered();
    // RFC 9113 8.1: an answer may end before its request has; nobody wants the rest of that.
    if (this.#isCutShort) this.reset();
    if (trailers !== undefined && call.request.acceptsTrailers) call.handler.onTrailers(trailers);
    call.end();
  }

  // --- the stream ------------------------------------------------------------------------------------------------------

  drained(): void {
    this.#writer?.drained();
  }

  aborted(): void {
    if (this.#writer?.isWhole === false) this.#writer.stop();
  }

  connectionFailed(error: Error): void {
    this.#owner.onConnectionError(error);
  }

  closed(): void {
    const call = this.#detach();
    this.#owner.onStreamClosed(this);
    if (call === undefined) return;
    const { failure, progress } = this.#owner.failureOf(this, this.#stream.rstCode ?? 0);
    call.fail(failure, progress === 'unprocessed' && call.request.body !== undefined ? 'final' : progress);
  }

  #malformed(problem: string): void {
    this.#fail(new Failure('upstream_malformed', problem));
  }

  #fail(failure: Failure): void {
    const call = this.#detach();
    this.reset();
    call?.fail(failure);
  }

  #detach(): UpstreamCall | undefined {
    const call = this.#call;
    const writer = this.#writer;
    this.#call = undefined;
    this.#writer = undefined;
    if (call !== undefined) call.carrier = undefined;
    if (writer?.isWhole === false) writer.stop();
    return call;
  }
}

/** `:status` stands first; a second pseudo-header field would be malformed (RFC 9113 8.3.2). */
const withoutStatus = (rawHeaders: string[]): string[] =>
  rawHeaders[0] === ':status' ? rawHeaders.slice(2) : rawHeaders;

function isTooLarge(rawFields: readonly string[]): boolean {
  let bytes = 0;
  for (let i = 0; i < rawFields.length; i++) bytes += rawFields[i]!.length;
  return bytes > MAX_HEAD_BYTES;
}

const statusOf = (headers: IncomingHttpHeaders): number => Number(headers[':status']);

// --- listeners: one of each for all streams ------------------------------------------------------------------------------

type Heads = IncomingHttpHeaders;

function onInformational(this: ClientHttp2Stream, headers: Heads, _flags: number, raw?: string[]): void {
  const keeper = keeperOf(this);
  keeper.hear((call) => keeper.takeInformational(call, statusOf(headers), raw ?? []));
}

function onResponse(this: ClientHttp2Stream, headers: Heads, _flags: number, raw?: string[]): void {
  const keeper = keeperOf(this);
  keeper.hear((call) => keeper.takeHead(call, statusOf(headers), raw ?? []));
}

function onTrailers(this: ClientHttp2Stream, _trailers: Heads, _flags: number, raw?: string[]): void {
  keeperOf(this).keepTrailers(raw ?? []);
}

function onData(this: ClientHttp2Stream, chunk: Buffer): void {
  const keeper = keeperOf(this);
  keeper.hear((call) => keeper.takeData(call, chunk));
}

function onEnd(this: ClientHttp2Stream): void {
  const keeper = keeperOf(this);
  keeper.hear((call) => keeper.complete(call));
}

function onDrain(this: ClientHttp2Stream): void {
  keeperOf(this).drained();
}

function onAborted(this: ClientHttp2Stream): void {
  keeperOf(this).aborted();
}

/** What ends the connection is told to its streams first. */
function onError(this: ClientHttp2Stream, error: Error & { readonly code?: string }): void {
  if (error.code === PROTOCOL_ERROR) keeperOf(this).connectionFailed(error);
}

function onClose(this: ClientHttp2Stream): void {
  keeperOf(this).closed();
}

/**
 * node:http2 ends a stream that was reset with NO_ERROR as if it were whole, and its `end` event is the same. What tells them
 * apart: END_STREAM comes while the stream is open, and a reset closes it first.
 */
function pushNoting(this: ClientHttp2Stream, chunk: unknown, encoding?: BufferEncoding): boolean {
  if (chunk === null && !this.closed) keeperOf(this).isEndOfStream = true;
  return Readable.prototype.push.call(this, chunk, encoding);
}

function neverEnds(this: ClientHttp2Stream): ClientHttp2Stream {
  return this;
}

const keeperOf = (stream: ClientHttp2Stream): Http2Stream => (stream as KeptStream)[KEEPER];
