import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { Failure } from '../reasons.js';
import { BodyWriter } from './body-writer.js';
import { ReadBuffer } from './read-buffer.js';
import { ResponseParser, type ResponseSink } from './response-parser.js';
import type { CallCarrier, UpstreamCall } from './upstream-call.js';

export interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
  readonly connectMs: number;
}

/** Whose connection it is. Each connection ends with one `onRefused` (it never was open) or one `onGone`. */
export interface ConnectionOwner {
  onConnected(connection: Http1Connection): void;
  onRefused(connection: Http1Connection, failure: Failure): void;
  /** Its answer is whole and it can carry another. */
  onFree(connection: Http1Connection): void;
  onGone(connection: Http1Connection): void;
  /** A connection that the upstream had given up ate this call: it may be sent once more. */
  onUnheard(call: UpstreamCall): void;
}

const WRITE_AHEAD_BYTES = 64 * 1024;
const KEEP_ALIVE_PROBE_MS = 60_000;

/** One connection to an upstream: one call at a time, and none after anything that was not wholly in order. */
export class Http1Connection implements ResponseSink, CallCarrier {
  /** When it became free (performance.now), and for how long it may stay so. */
  idleSinceMs = 0;
  idleLimitMs = 0;
  readonly #owner: ConnectionOwner;
  readonly #socket: Socket;
  readonly #parser = new ResponseParser(this);
  readonly #connectTimer: NodeJS.Timeout;
  readonly #buffer = new ReadBuffer();
  #isOpen = false;
  #isGone = false;
  #error: NodeJS.ErrnoException | undefined;
  #call: UpstreamCall | undefined;
  #writer: BodyWriter | undefined;
  /** Something of the present call's answer has come. */
  #isAnswering = false;
  #isPaused = false;
  /** Whole answers so far: only a used connection can have been dead before a request was written. */
  #served = 0;

  /** @param order of its beginning among the pool's calls. */
  constructor(
    owner: ConnectionOwner,
    address: UpstreamAddress,
    readonly order: number,
  ) {
    this.#owner = owner;
    const options: NetConnectOpts & { highWaterMark: number } = {
      host: address.host,
      port: address.port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_PROBE_MS,
      highWaterMark: WRITE_AHEAD_BYTES,
      // One buffer for all reads: the stream's own reading makes one for each, and queues and flows besides.
      onread: { buffer: () => this.#buffer.next(), callback: (length) => this.#read(length) },
    };
    this.#socket = connect(options);
    this.#socket.on('connect', () => this.#opened());
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('drain', () => this.#writer?.drained());
    this.#socket.on('error', (error) => {
      this.#error = error;
    });
    this.#socket.on('close', () => this.#closed());
    this.#connectTimer = setTimeout(() => this.#connectTimedOut(), address.connectMs);
  }

  get isUsable(): boolean {
    return !this.#isGone && this.#socket.writable;
  }

  /** Sends a call that may begin now. */
  run(call: UpstreamCall, head: string): void {
    const { body, bodyLength, method } = call.request;
    this.#call = call;
    call.carrier = this;
    call.hasBegun = true;
    this.#isAnswering = false;
    this.#parser.begin(method === 'HEAD');
    if (body === undefined) this.#socket.write(head, 'latin1');
    else {
      this.#writer = new BodyWriter(this.#socket, head, body, bodyLength, (problem) =>
        this.#fail(new Failure('internal_error', problem)),
      );
    }
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** The call is given up: nothing on this connection may look complete. */
  abandon(): void {
    this.#detach();
    this.destroy();
  }

  /** Ends it at once; a call that is on it fails. */
  destroy(failure?: Failure): void {
    clearTimeout(this.#connectTimer);
    const call = this.#detach();
    this.#socket.destroy();
    if (!this.#isGone) {
      this.#isGone = true;
      if (this.#isOpen) this.#owner.onGone(this);
      else this.#owner.onRefused(this, failure ?? givenUp());
    }
    call?.fail(failure ?? givenUp());
  }

  // --- the answer ------------------------------------------------------------------------------------------------------

  onInformational(status: number, fields: string[]): void {
    if (status === 103) this.#call?.handler.onEarlyHints(fields);
  }

  onHead(status: number, fields: string[]): void {
    if (this.#call?.handler.onHead(status, fields) === false) this.#isPaused = true;
  }

  readonly onBody = (_bytes: Buffer, start: number, end: number): void => {
    if (this.#call?.handler.onData(this.#buffer.take(start, end)) === false) this.#isPaused = true;
  };

  /** @returns false to read no more for now. */
  #read(length: number): boolean {
    const call = this.#call;
    if (call === undefined) {
      this.destroy(); // nobody asked: it must never be the answer to the next (RFC 9112 9.2)
      return false;
    }
    this.#isAnswering = true;
    try {
      const parser = this.#parser;
      const end = parser.push(this.#buffer.current, length);
      if (this.#call !== call) return false; // given up by its handler
      if (parser.problem !== undefined) this.#fail(new Failure('upstream_malformed', parser.problem));
      else if (parser.isDone) this.#complete(call, end === length && parser.keepsAlive);
    } catch (cause) {
      this.#broke(call, cause);
    }
    return !this.#isPaused;
  }

  #endByClose(call: UpstreamCall): void {
    try {
      this.#complete(call, false);
    } catch (cause) {
      this.#broke(call, cause);
    }
  }

  /** A handler threw: an exception out of a socket's event would end the process. */
  #broke(call: UpstreamCall, cause: unknown): void {
    if (this.#call === call) this.abandon();
    call.fail(new Failure('internal_error', 'an answer could not be passed on', { cause }));
  }

  /** Reuse needs a question that went out whole, an answer that came whole, and nothing behind it. */
  #complete(call: UpstreamCall, isInOrder: boolean): void {
    const writer = this.#writer;
    const mayCarryMore =
      isInOrder && (writer === undefined || writer.isWhole) && this.#socket.writableLength === 0;
    this.#detach();
    this.#served++;
    // Free before the handler hears of the end: what it sends next finds this connection.
    if (mayCarryMore) this.#owner.onFree(this);
    else this.destroy();
    call.end();
  }

  /** Of `Keep-Alive: timeout=` in the last answer, seconds. */
  get keepAliveSeconds(): number | undefined {
    return this.#parser.framing.keepAliveSeconds;
  }

  #detach(): UpstreamCall | undefined {
    const call = this.#call;
    const writer = this.#writer;
    this.#call = undefined;
    this.#writer = undefined;
    this.#isPaused = false;
    if (call !== undefined) call.carrier = undefined;
    if (writer?.isWhole === false) writer.stop();
    return call;
  }

  // --- the socket ------------------------------------------------------------------------------------------------------

  #opened(): void {
    clearTimeout(this.#connectTimer);
    this.#isOpen = true;
    this.#owner.onConnected(this);
  }

  #connectTimedOut(): void {
    this.destroy(new Failure('upstream_connect_timeout', 'connecting took too long'));
  }

  /** The upstream will send no more. */
  #ended(): void {
    const call = this.#call;
    if (call === undefined) this.destroy();
    else if (this.#parser.end()) this.#endByClose(call);
    else this.#fail(new Failure('upstream_reset', 'the upstream closed the connection'), true);
  }

  #closed(): void {
    const error = this.#error;
    if (!this.#isOpen) return this.destroy(connectFailure(error));
    if (this.#call === undefined) return this.destroy();
    const cause = error === undefined ? {} : { cause: error };
    this.#fail(new Failure('upstream_reset', error?.message ?? 'the connection closed', cause), true);
  }

  /** @param isDead the connection was lost, and nobody gave it up. */
  #fail(failure: Failure, isDead = false): void {
    const isUnheard = isDead && !this.#isAnswering && this.#served > 0;
    const call = this.#detach();
    this.destroy();
    if (call === undefined) return;
    if (isUnheard && call.isRepeatable && !call.hasRetried) this.#owner.onUnheard(call);
    else call.fail(failure);
  }
}

const givenUp = (): Failure => new Failure('upstream_reset', 'the connection was given up');

function connectFailure(error: NodeJS.ErrnoException | undefined): Failure {
  const cause = error === undefined ? {} : { cause: error };
  return error?.code === 'ETIMEDOUT'
    ? new Failure('upstream_connect_timeout', error.message, cause)
    : new Failure('upstream_unreachable', error?.message ?? 'the connection closed', cause);
}
