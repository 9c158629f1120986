import { Failure } from '../reasons.js';
import { BodyWriter } from './body-writer.js';
import type { Alpn, Carrier, Connector, Opening } from './connector.js';
import { ReadBuffer } from './read-buffer.js';
import { ResponseParser, type ResponseSink } from './response-parser.js';
import type { CallCarrier, UpstreamCall } from './upstream-call.js';

/** Whose connection it is. Each connection ends with one `onRefused` (it never was open) or one `onGone`. */
export interface ConnectionOwner {
  onConnected(connection: Http1Connection): void;
  onRefused(connection: Http1Connection, failure: Failure): void;
  /** Its answer is whole and it can carry another. */
  onFree(connection: Http1Connection): void;
  onGone(connection: Http1Connection): void;
}

const ALPN: readonly Alpn[] = ['http/1.1'];

/** One connection to an upstream: one call at a time, and none after anything that was not wholly in order. */
export class Http1Connection implements ResponseSink, CallCarrier {
  /** When it became free (performance.now), and for how long it may stay so. */
  idleSinceMs = 0;
  idleLimitMs = 0;
  readonly #owner: ConnectionOwner;
  readonly #opening: Opening;
  /** undefined until it is open. */
  #carrier: Carrier | undefined;
  readonly #parser = new ResponseParser(this);
  readonly #buffer = new ReadBuffer();
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
    connector: Connector,
    readonly connectMs: number,
    readonly order: number,
  ) {
    this.#owner = owner;
    const options = {
      connectMs,
      alpn: ALPN,
      // One buffer for all reads: the stream's own reading makes one for each, and queues and flows besides.
      onread: { buffer: () => this.#buffer.next(), callback: (length: number) => this.#read(length) },
    };
    this.#opening = connector.open(options, (result) => {
      if (result instanceof Failure) this.#refused(result);
      else this.#opened(result);
    });
  }

  get isUsable(): boolean {
    return !this.#isGone && this.#carrier?.socket.writable === true && this.refusal === undefined;
  }

  /** Why nothing more may be sent on it; undefined = it may. */
  get refusal(): Failure | undefined {
    return this.#carrier?.refusal();
  }

  /** Sends a call that may begin now, on a usable connection. */
  run(call: UpstreamCall, head: string): void {
    const { socket, server } = this.#carrier!;
    const { body, bodyLength, method } = call.request;
    call.handler.onServer(server);
    this.#call = call;
    call.carrier = this;
    call.hasBegun = true;
    this.#isAnswering = false;
    this.#parser.begin(method === 'HEAD');
    if (body === undefined) socket.write(head, 'latin1');
    else {
      this.#writer = new BodyWriter(socket, head, body, bodyLength, (problem) =>
        this.#fail(new Failure('internal_error', problem)),
      );
    }
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#carrier?.socket.resume();
  }

  /** The call is given up: nothing on this connection may look complete. */
  abandon(): void {
    this.#detach();
    this.destroy();
  }

  /** Ends it at once; a call that is on it fails. */
  destroy(failure?: Failure): void {
    const call = this.#detach();
    if (!this.#isGone) {
      this.#isGone = true;
      if (this.#carrier === undefined) {
        this.#opening.cancel();
        this.#owner.onRefused(this, failure ?? givenUp());
      } else {
        this.#carrier.socket.destroy();
        this.#owner.onGone(this);
      }
    }
    call?.fail(failure ?? givenUp());
  }

  // --- the answer ------------------------------------------------------------------------------------------------------

  onInformational(status: number, fields: string[]): void {
    if (status === 103) this.#call?.handler.onEarlyHints(fields);
  }

  onHead(status: number, fields: string[]): void {
    if (this.#call?.onHead(status, fields) === false) this.#isPaused = true;
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
      isInOrder && (writer === undefined || writer.isWhole) && this.#carrier?.socket.writableLength === 0;
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

  #opened(carrier: Carrier): void {
    this.#carrier = carrier;
    const { socket } = carrier;
    socket.on('end', () => this.#ended());
    socket.on('drain', () => this.#writer?.drained());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => this.#closed());
    this.#owner.onConnected(this);
  }

  #refused(failure: Failure): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#owner.onRefused(this, failure);
  }

  /** The upstream will send no more. */
  #ended(): void {
    const call = this.#call;
    if (call === undefined) this.destroy();
    else if (this.#parser.end() && this.#carrier?.isCutShort?.() !== true) this.#endByClose(call);
    else this.#fail(new Failure('upstream_reset', 'the upstream closed the connection'), true);
  }

  #closed(): void {
    const error = this.#error;
    if (this.#call === undefined) return this.destroy();
    if (error instanceof Failure) return this.#fail(error); // ended by us: its server is not acceptable any more
    const cause = error === undefined ? {} : { cause: error };
    this.#fail(new Failure('upstream_reset', error?.message ?? 'the connection closed', cause), true);
  }

  /** @param isLost the connection broke, and nobody gave it up. */
  #fail(failure: Failure, isLost = false): void {
    const progress = !isLost || this.#isAnswering ? 'final' : this.#served > 0 ? 'stale' : 'lost';
    const call = this.#detach();
    this.destroy();
    call?.fail(failure, progress);
  }
}

const givenUp = (): Failure => new Failure('upstream_reset', 'the connection was given up');
