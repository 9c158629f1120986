import {
  type ClientHttp2Session,
  connect,
  constants,
  type OutgoingHttpHeaders,
  type Settings,
} from 'node:http2';
import { Failure } from '../reasons.js';
import type { Alpn, Carrier, Connector, Opening } from './connector.js';
import { Http2Liveness } from './http2-liveness.js';
import { type CallFailure, Http2Stream, type StreamOwner } from './http2-stream.js';
import type { UpstreamCall } from './upstream-call.js';

/** Whose connection it is. Each connection ends with one `onRefused` (it never was open) or one `onGone`. */
export interface Http2Owner {
  onConnected(connection: Http2Connection): void;
  onRefused(connection: Http2Connection, failure: Failure): void;
  /** There may be room for more calls. */
  onRoom(connection: Http2Connection): void;
  onGone(connection: Http2Connection): void;
}

const ALPN: readonly Alpn[] = ['h2'];
/** Most calls at once on one connection, whatever the server allows. */
export const MAX_STREAMS = 100;
/** Unread octets of one answer, and of all answers that are on their way. */
const STREAM_WINDOW = 256 * 1024;
const CONNECTION_WINDOW = 1024 * 1024;
/** PING and SETTINGS of the server that we answer within a second. */
const MAX_CONTROL_FRAMES = 500;
const MAX_STREAM_ID = 2 ** 30;
/** A call that was given up after so long without anything heard makes its connection suspect. */
const SUSPECT_MS = 1000;

const OPTIONS = {
  maxHeaderListPairs: 2000,
  maxSessionMemory: 64, // MB: of bodies to and from all streams; above it calls are reset
  settings: { enablePush: false, initialWindowSize: STREAM_WINDOW, maxHeaderListSize: 64 * 1024 },
} as const;

/** One connection of HTTP/2 to a server, and the calls on it. */
export class Http2Connection implements StreamOwner {
  /** When its last call ended (performance.now). */
  idleSinceMs = Number.POSITIVE_INFINITY;
  readonly #owner: Http2Owner;
  readonly #opening: Opening;
  #carrier: Carrier | undefined;
  #session: ClientHttp2Session | undefined;
  #settingsTimer: NodeJS.Timeout | undefined;
  readonly #streams = new Set<Http2Stream>();
  readonly #liveness = new Http2Liveness(performance.now());
  /** What the server allows at once; it has said so when the connection is up. */
  #maxStreams = 0;
  #isUp = false;
  #isGone = false;
  #isRetired = false;
  #isSuspect = false;
  #failure: Failure | undefined;
  #error: (Error & { code?: string }) | undefined;
  /** Of GOAWAY: streams above it were not looked at (RFC 9113 6.8). */
  #lastStream = Number.POSITIVE_INFINITY;
  #served = 0;
  #controlFrames = 0;

  /** @param order of its beginning among the pool's calls. */
  constructor(
    owner: Http2Owner,
    connector: Connector,
    readonly connectMs: number,
    readonly order: number,
  ) {
    this.#owner = owner;
    const untilMs = performance.now() + connectMs;
    this.#opening = connector.open({ connectMs, alpn: ALPN }, (result) => {
      if (result instanceof Failure) this.#end(result);
      else this.#opened(result, untilMs - performance.now());
    });
  }

  /** Calls that may begin on it now. */
  get room(): number {
    if (!this.#isUp || this.#isGone || this.#isRetired || this.#isSuspect) return 0;
    if (this.#session?.closed === true) return 0;
    return Math.min(this.#maxStreams, MAX_STREAMS) - this.#streams.size;
  }

  /** Calls on it. */
  get open(): number {
    return this.#streams.size;
  }

  /** Why nothing more may be sent on it; undefined = it may. */
  get refusal(): Failure | undefined {
    return this.#carrier?.refusal();
  }

  get scheme(): 'http' | 'https' {
    return this.#carrier !== undefined && 'encrypted' in this.#carrier.socket ? 'https' : 'http';
  }

  /** Sends a call that may begin now, where there is room. */
  run(call: UpstreamCall, fields: OutgoingHttpHeaders): void {
    const { body, bodyLength } = call.request;
    const { server, socket } = this.#carrier!;
    call.handler.onServer(server);
    call.hasBegun = true;
    const stream = this.#session!.request(fields, { endStream: body === undefined || bodyLength === 0 });
    const carrier = new Http2Stream(this, stream, call, performance.now(), socket.bytesRead);
    this.#streams.add(carrier);
    call.carrier = carrier;
    if (carrier.id > MAX_STREAM_ID) this.#isRetired = true;
  }

  /** No more calls; it closes when the last one ends. */
  retire(): void {
    this.#isRetired = true;
    if (this.#isUp && this.#streams.size === 0) this.destroy();
  }

  /** Ends it at once; calls that are on it fail. */
  destroy(failure: Failure = givenUp()): void {
    this.#end(failure);
  }

  /** Every second. */
  sweep(nowMs: number): void {
    this.#controlFrames = 0;
    if (!this.#isUp || this.#isGone) return;
    const liveness = this.#liveness;
    liveness.observe(this.#carrier!.socket.bytesRead, nowMs);
    if (liveness.isDead(nowMs)) this.#end(new Failure('upstream_reset', 'the connection is dead'));
    else if (this.#streams.size > 0 && liveness.isSilent(nowMs)) this.#ask(nowMs);
  }

  // --- calls -----------------------------------------------------------------------------------------------------------

  onAnswered(): void {
    this.#served++;
  }

  onStreamClosed(stream: Http2Stream): void {
    this.#streams.delete(stream);
    if (this.#isGone) return;
    if (this.#streams.size === 0) {
      this.idleSinceMs = performance.now();
      if (this.#isRetired) return this.destroy();
    }
    this.#owner.onRoom(this);
  }

  failureOf(stream: Http2Stream, rstCode: number): CallFailure {
    const isHeard = stream.isAnswering;
    if (this.#failure !== undefined && !isLoss(this.#failure))
      return { failure: this.#failure, progress: 'final' };
    if (stream.id > this.#lastStream || (rstCode === constants.NGHTTP2_REFUSED_STREAM && !isHeard))
      return { failure: reset('the upstream did not take the call'), progress: 'unprocessed' };
    if (this.#isGone) {
      const progress = isHeard ? 'final' : this.#served > 0 ? 'stale' : 'lost';
      return { failure: this.#failure ?? lost(this.#error), progress };
    }
    const failure = MALFORMED.has(rstCode)
      ? new Failure('upstream_malformed', `the stream broke off: ${nameOf(rstCode)}`)
      : reset(`the upstream reset the stream: ${nameOf(rstCode)}`);
    return { failure, progress: 'final' };
  }

  /** A server that went without a word is found out before the next call waits for it. */
  onSilent(stream: Http2Stream): void {
    const nowMs = performance.now();
    const socket = this.#carrier?.socket;
    if (socket === undefined || nowMs - stream.atMs < SUSPECT_MS) return;
    if (socket.bytesRead === stream.bytesBefore && this.#ask(nowMs)) this.#isSuspect = true;
  }

  #ask(nowMs: number): boolean {
    const session = this.#session;
    const socket = this.#carrier?.socket;
    const liveness = this.#liveness;
    if (session === undefined || socket === undefined || session.destroyed) return false;
    liveness.observe(socket.bytesRead, nowMs);
    if (!liveness.mayAsk(nowMs)) return false;
    const isSent = session.ping((error) => {
      if (error !== null || this.#isGone) return;
      liveness.answered(socket.bytesRead, performance.now());
      this.#isSuspect = false;
      this.#owner.onRoom(this);
    });
    if (isSent) liveness.asked(nowMs);
    return isSent;
  }

  // --- the session -----------------------------------------------------------------------------------------------------

  #opened(carrier: Carrier, leftMs: number): void {
    this.#carrier = carrier;
    const { socket, alpn } = carrier;
    if (this.scheme === 'https' && alpn !== 'h2') {
      socket.on('error', ignore);
      return this.#end(new Failure('upstream_malformed', 'the upstream does not speak HTTP/2 (ALPN)'));
    }
    const session = connect(`${this.scheme}://upstream.invalid`, {
      ...OPTIONS,
      createConnection: () => socket,
    });
    this.#session = session;
    session.on('error', (error) => {
      this.#error = error;
    });
    session.once('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW);
    });
    session.on('remoteSettings', (settings) => this.#settled(settings));
    session.on('ping', () => this.#countControlFrame());
    session.on('goaway', (code, lastStream) => this.#goneAway(code, lastStream));
    session.on('close', () => this.#closed());
    socket.on('close', () => this.#closed());
    // A server begins with its SETTINGS (RFC 9113 3.4): what answers anything else gets no byte of a request.
    this.#settingsTimer = setTimeout(
      () => this.#end(new Failure('upstream_connect_timeout', 'the upstream sent no SETTINGS')),
      Math.max(1, leftMs),
    );
  }

  #settled({ maxConcurrentStreams }: Settings): void {
    if (this.#isGone) return;
    this.#maxStreams = maxConcurrentStreams ?? MAX_STREAMS;
    if (this.#isUp) {
      this.#countControlFrame();
      this.#owner.onRoom(this);
      return;
    }
    clearTimeout(this.#settingsTimer);
    this.#isUp = true;
    this.idleSinceMs = performance.now();
    this.#owner.onConnected(this);
  }

  #countControlFrame(): void {
    if (++this.#controlFrames <= MAX_CONTROL_FRAMES) return;
    this.#end(new Failure('upstream_malformed', 'a flood of PING or SETTINGS'));
  }

  #goneAway(code: number, lastStream: number): void {
    this.#lastStream = Math.min(this.#lastStream, lastStream);
    this.#isRetired = true;
    if (code !== constants.NGHTTP2_NO_ERROR) this.#failure ??= reset(`GOAWAY: ${nameOf(code)}`);
    // Not here: node:http2 is about to close what is above the last stream, each with its own word.
    setImmediate(() => this.#isUp && this.#streams.size === 0 && this.destroy());
  }

  #closed(): void {
    const error = this.#error;
    const isProtocol = error?.code === 'ERR_HTTP2_ERROR' || error?.code === 'ERR_HTTP2_SESSION_ERROR';
    this.#end(isProtocol ? new Failure('upstream_malformed', error.message, { cause: error }) : undefined);
  }

  #end(failure?: Failure): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#failure ??= failure;
    clearTimeout(this.#settingsTimer);
    this.#opening.cancel();
    this.#session?.destroy();
    this.#carrier?.socket.destroy();
    if (this.#isUp) this.#owner.onGone(this);
    else this.#owner.onRefused(this, this.#failure ?? lost(this.#error));
  }
}

const ignore = (): void => undefined;
const reset = (message: string): Failure => new Failure('upstream_reset', message);
const givenUp = (): Failure => reset('the connection was given up');
const isLoss = (failure: Failure): boolean => failure.code === 'upstream_reset';

const lost = (error: Error | undefined): Failure =>
  new Failure(
    'upstream_reset',
    error?.message ?? 'the connection closed',
    error === undefined ? {} : { cause: error },
  );

/** Errors that tell of octets that are no answer; the rest is a server that gave up. */
const MALFORMED: ReadonlySet<number> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
]);

const CODES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];
const nameOf = (code: number): string => CODES[code] ?? `error ${code}`;
