import { Failure } from '../reasons.js';
import type { CallPool, PoolOptions } from './call-pool.js';
import { type ConnectionOwner, Http1Connection } from './http1-connection.js';
import { formatRequestHead } from './request-head.js';
import type { UpstreamCall } from './upstream-call.js';
import { WaitingCalls } from './waiting-calls.js';

/** So many requests may wait for a connection to one target. */
const MAX_WAITING = 1024;
/**
 * An idle connection is kept so long where the upstream does not say for how long it keeps it: many servers close after five
 * seconds, and a request that crosses such a close is lost unless it may be sent twice (RFC 9112 9.3.1).
 */
const IDLE_MS = 4000;
/** And never longer than this, whatever the upstream says. */
const MAX_IDLE_MS = 60_000;
const SWEEP_MS = 1000;

/** The kept connections to one target (RFC 9112 9.3), the one used last first, and the calls that wait for one. */
export class Http1Pool implements ConnectionOwner, CallPool {
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

  get connections(): number {
    return this.#connections.size;
  }

  start(call: UpstreamCall, isAfresh: boolean): void {
    const connection = isAfresh ? undefined : this.#takeIdle();
    if (connection === undefined) this.#enqueue(call);
    else if (!this.#begin(connection, call)) this.#serve(connection);
  }

  judge(): void {
    for (const connection of [...this.#connections]) {
      const { refusal } = connection;
      if (refusal === undefined) continue;
      // Whom we do not trust now gets and gives nothing more; else what has begun is finished.
      if (refusal.code === 'upstream_untrusted' || this.#idle.includes(connection))
        connection.destroy(refusal);
    }
  }

  close(): void {
    this.#isClosing = true;
    clearInterval(this.#sweeper);
    for (const connection of [...this.#idle]) connection.destroy();
  }

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
    const { refusal } = connection;
    if (refusal === undefined) return this.#serve(connection);
    connection.destroy();
    // Where it is our own SVID that changed meanwhile, another connection is being opened by now, and nobody is refused.
    if (refusal.code === 'upstream_untrusted') this.#failOne(connection, refusal);
  }

  onRefused(connection: Http1Connection, failure: Failure): void {
    this.#connecting--;
    this.#connections.delete(connection);
    if (this.#isDestroyed) return;
    this.#options.onRefused(failure);
    this.#failOne(connection, failure);
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

  /** The oldest that waited when this connection was begun, and was to wait no longer than it took: those behind it have theirs. */
  #failOne(connection: Http1Connection, failure: Failure): void {
    const isLate = failure.code === 'upstream_connect_timeout';
    for (const call of this.#waiting) {
      if (call.order > connection.order) return;
      if (isLate && this.#connectMs(call) > connection.connectMs) continue;
      this.#waiting.delete(call);
      return call.fail(failure, 'unsent');
    }
  }

  #connectMs(call: UpstreamCall | undefined): number {
    return call?.request.connectMs ?? this.#options.connectMs;
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
    if (crowdedOut !== call) this.#openAsNeeded(call);
    crowdedOut?.fail(new Failure('upstream_overloaded', `${MAX_WAITING} requests wait for the upstream`));
  }

  /** @param newest what it is needed for. */
  #openAsNeeded(newest = this.#waiting.oldest): void {
    const { connector } = this.#options;
    while (this.#connecting < this.#waiting.size && this.#connections.size < this.#options.maxConnections) {
      this.#connecting++;
      this.#connections.add(new Http1Connection(this, connector, this.#connectMs(newest), this.#order));
    }
  }

  /** Gives a free connection to the next in turn that still may begin; else keeps it. */
  #serve(connection: Http1Connection): void {
    if (connection.refusal !== undefined) return connection.destroy();
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
