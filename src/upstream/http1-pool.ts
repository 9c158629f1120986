import type { ForwardCall, ForwardHandler, ForwardRequest } from '../listener/ports.js';
import { Failure } from '../reasons.js';
import { type ConnectionOwner, Http1Connection, type UpstreamAddress } from './http1-connection.js';
import { formatRequestHead } from './request-head.js';
import { type CallQueue, UpstreamCall } from './upstream-call.js';
import { WaitingCalls } from './waiting-calls.js';

/** So many requests may wait for a connection of one upstream. */
const MAX_WAITING = 1024;
/**
 * An idle connection is kept so long where the upstream does not say for how long it keeps it: many servers close after five
 * seconds, and a request that crosses such a close is lost unless it may be sent twice (RFC 9112 9.3.1).
 */
const IDLE_MS = 4000;
/** And never longer than this, whatever the upstream says. */
const MAX_IDLE_MS = 60_000;
const SWEEP_MS = 1000;

export interface PoolOptions extends UpstreamAddress {
  readonly maxConnections: number;
}

/** The kept connections of one upstream (RFC 9112 9.3), the one used last first, and the calls that wait for one. */
export class Http1Pool implements ConnectionOwner, CallQueue {
  readonly #options: PoolOptions;
  readonly #connections = new Set<Http1Connection>();
  /** The last one became free last. */
  readonly #idle: Http1Connection[] = [];
  readonly #waiting = new WaitingCalls(MAX_WAITING);
  #connecting = 0;
  #order = 0;
  #isClosing = false;
  #isDestroyed = false;
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** @param caller whose request it is: where requests wait, callers take turns. */
  forward(caller: string, request: ForwardRequest, handler: ForwardHandler): ForwardCall {
    const call = new UpstreamCall(caller, request, handler, this);
    // Octets that came with the head may show that the body is malformed: they are read first (a tick is too early, the
    // parser lets those run after each piece), and then the upstream sees nothing of it.
    if (request.body === undefined) this.#start(call);
    else setImmediate(() => this.#start(call));
    return call;
  }

  /** No longer configured: what was given to it is finished, then its connections close. */
  close(): void {
    this.#isClosing = true;
    clearInterval(this.#sweeper);
    for (const connection of [...this.#idle]) connection.destroy();
  }

  /** Everything ends now: what is in flight and what waits fails. */
  destroy(): void {
    this.#isDestroyed = true;
    this.close();
    const waiting = [...this.#waiting];
    for (const call of waiting) this.#waiting.delete(call);
    for (const connection of [...this.#connections]) connection.destroy();
    for (const call of waiting) call.fail(upstreamGone());
  }

  abandon(call: UpstreamCall): void {
    this.#waiting.delete(call);
  }

  // --- what becomes of connections -------------------------------------------------------------------------------------

  onConnected(connection: Http1Connection): void {
    this.#connecting--;
    this.#serve(connection);
  }

  /** Fails the one that waits longest, if it waited when this connection was begun: those behind it have theirs. */
  onRefused(connection: Http1Connection, failure: Failure): void {
    this.#connecting--;
    this.#connections.delete(connection);
    const { oldest } = this.#waiting;
    if (oldest !== undefined && oldest.order <= connection.order) {
      this.#waiting.delete(oldest);
      oldest.fail(failure);
    }
    this.#openAsNeeded();
  }

  onFree(connection: Http1Connection): void {
    this.#serve(connection);
  }

  onGone(connection: Http1Connection): void {
    this.#connections.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
    this.#openAsNeeded();
  }

  /** Not to an idle connection: what closed the one may have closed them all. */
  onUnheard(call: UpstreamCall): void {
    call.hasRetried = true;
    this.#enqueue(call);
  }

  #start(call: UpstreamCall): void {
    if (call.isFinished) return;
    const connection = this.#takeIdle();
    if (connection === undefined) this.#enqueue(call);
    else if (!this.#begin(connection, call)) this.#serve(connection);
  }

  #takeIdle(): Http1Connection | undefined {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined) return undefined;
      if (connection.isUsable && performance.now() - connection.idleSinceMs < connection.idleLimitMs)
        return connection;
      connection.destroy();
    }
  }

  #enqueue(call: UpstreamCall): void {
    if (this.#isDestroyed) return call.fail(upstreamGone());
    call.order = ++this.#order;
    const crowdedOut = this.#waiting.add(call);
    if (crowdedOut !== call) this.#openAsNeeded();
    crowdedOut?.fail(new Failure('upstream_overloaded', `${MAX_WAITING} requests wait for the upstream`));
  }

  #openAsNeeded(): void {
    while (this.#connecting < this.#waiting.size && this.#connections.size < this.#options.maxConnections) {
      this.#connecting++;
      this.#connections.add(new Http1Connection(this, this.#options, this.#order));
    }
  }

  /** Gives a free connection to the next in turn that still may begin; else keeps it. */
  #serve(connection: Http1Connection): void {
    for (let call = this.#waiting.takeNext(); call !== undefined; call = this.#waiting.takeNext())
      if (this.#begin(connection, call)) return;
    this.#keep(connection);
  }

  #begin(connection: Http1Connection, call: UpstreamCall): boolean {
    const head = formatRequestHead(call.request);
    if (head === undefined) {
      call.fail(new Failure('internal_error', 'a request head that cannot be written'));
      return false;
    }
    if (!call.mayBegin()) return false;
    connection.run(call, head);
    return true;
  }

  #keep(connection: Http1Connection): void {
    const seconds = connection.keepAliveSeconds;
    // A second less than the upstream says: a request must not cross its close.
    connection.idleLimitMs = seconds === undefined ? IDLE_MS : Math.min(seconds * 1000 - 1000, MAX_IDLE_MS);
    if (this.#isClosing || connection.idleLimitMs <= 0) return connection.destroy();
    connection.idleSinceMs = performance.now();
    this.#idle.push(connection);
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const connection of [...this.#idle]) {
      if (nowMs - connection.idleSinceMs >= connection.idleLimitMs) connection.destroy();
    }
  }
}

const upstreamGone = (): Failure => new Failure('upstream_reset', 'the upstream is given up');
