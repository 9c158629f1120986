import {
  type ClientHttp2Session,
  connect,
  constants,
  type OutgoingHttpHeaders,
  type Settings,
} from 'node:http2';
import { Http2Lifetime } from '../http2-lifetime.js';
import { Failure } from '../reasons.js';
import type { Alpn, Carrier, Connector, Opening } from './connector.js';
import { type CallFailure, givenUp, judgeClose, lost, nameOfCode, reset } from './http2-closes.js';
import { Http2Liveness } from './http2-liveness.js';
import { Http2Stream, type StreamOwner } from './http2-stream.js';
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
  maxHeaderListPairs: 1000,
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
  #lifetime: Http2Lifetime | undefined;
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
  /** Pieces of answers. */
  #heard = 0;
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
    const { server } = this.#carrier!;
    call.handler.onServer({ ...server, httpVersion: '2' });
    call.hasBegun = true;
    const stream = this.#session!.request(fields, { endStream: body === undefined || bodyLength === 0 });
    const carrier = new Http2Stream(this, stream, call, performance.now(), this.#heard);
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

  onHeard(): void {
    this.#heard++;
  }

  onAnswered(): void {
    this.#served++;
  }

  onStreamClosed(stream: Http2Stream): void {
    this.#streams.delete(stream);
    if (!stream.isEndOfStream) this.#lifetime?.outlive(stream.native);
    if (this.#isGone) return;
    if (this.#streams.size === 0) {
      this.idleSinceMs = performance.now();
      if (this.#isRetired) return this.destroy();
    }
    this.#owner.onRoom(this);
  }

  failureOf(stream: Http2Stream, rstCode: number): CallFailure {
    return judgeClose({
      rstCode,
      isAnswering: stream.isAnswering,
      isAboveLast: stream.id > this.#lastStream,
      isConnectionGone: this.#isGone || this.#session?.destroyed === true,
      connectionFailure: this.#failure ?? (this.#error && lost(this.#error)),
      hasServed: this.#served > 0,
    });
  }

  onConnectionError(error: Error): void {
    this.#error ??= error;
  }

  /**
   * What went without a word is found out before the next calls wait for it: a server, or, on Node 20, a session that nghttp2 has
   * given up for what it read, which reads and says nothing from then on.
   */
  onSilent(stream: Http2Stream): void {
    const nowMs = performance.now();
    if (nowMs - stream.atMs < SUSPECT_MS) return;
    this.#ask(nowMs);
    if (this.#liveness.isAsking && this.#heard === stream.heardBefore) this.#isSuspect = true;
  }

  #ask(nowMs: number): void {
    const session = this.#session;
    const socket = this.#carrier?.socket;
    const liveness = this.#liveness;
    if (session === undefined || socket === undefined || session.destroyed) return;
    liveness.observe(socket.bytesRead, nowMs);
    if (!liveness.mayAsk(nowMs)) return;
    const isSent = session.ping((error) => {
      if (error !== null || this.#isGone) return;
      liveness.answered(socket.bytesRead, performance.now());
      this.#isSuspect = false;
      this.#owner.onRoom(this);
    });
    if (isSent) liveness.asked(nowMs);
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
    this.#lifetime = new Http2Lifetime(session, socket);
    session.on('error', (error) => this.onConnectionError(error));
    socket.on('error', (error) => this.onConnectionError(error));
    session.once('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(CONNECTION_WINDOW);
    });
    session.on('remoteSettings', (settings) => this.#settled(settings));
    session.on('ping', () => this.#countControlFrame());
    session.on('goaway', (code, lastStream) => this.#goneAway(code, lastStream));
    session.on('close', () => this.#end());
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
    if (code !== constants.NGHTTP2_NO_ERROR) this.#failure ??= reset(`GOAWAY: ${nameOfCode(code)}`);
    // Not here: node:http2 is about to close what is above the last stream, each with its own word.
    setImmediate(() => this.#isUp && this.#streams.size === 0 && this.destroy());
  }

  #end(failure?: Failure): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#failure ??= failure ?? lost(this.#error);
    clearTimeout(this.#settingsTimer);
    this.#opening.cancel();
    this.#session?.destroy();
    this.#carrier?.socket.destroy();
    if (this.#isUp) this.#owner.onGone(this);
    else this.#owner.onRefused(this, this.#failure);
  }
}

const ignore = (): void => undefined;
