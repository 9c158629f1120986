import { Failure } from '../reasons.js';
import type { CallPool, PoolOptions } from './call-pool.js';
import { Http2Connection, type Http2Owner, MAX_STREAMS } from './http2-connection.js';
import { formatRequestFields } from './http2-request-fields.js';
import type { UpstreamCall } from './upstream-call.js';
import { WaitingCalls } from './waiting-calls.js';

/** So many requests may wait for a connection to one target. */
const MAX_WAITING = 1024;
/** A connection without calls is kept so long: a server that closes it says GOAWAY first, so that nothing crosses its close. */
const IDLE_MS = 60_000;
const SWEEP_MS = 1000;

/** The connections of HTTP/2 to one target, each with many calls, and the calls that wait for room. */
export class Http2Pool implements Http2Owner, CallPool {
  readonly #options: PoolOptions;
  readonly #connections = new Set<Http2Connection>();
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
    const connection = isAfresh && this.#mayOpen ? undefined : this.#leastBusy();
    if (connection === undefined || this.#waiting.size > 0) this.#enqueue(call);
    else this.#begin(connection, call);
  }

  judge(): void {
    for (const connection of [...this.#connections]) {
      const { refusal } = connection;
      if (refusal?.code === 'upstream_untrusted') connection.destroy(refusal);
      else if (refusal !== undefined) connection.retire();
    }
  }

  close(): void {
    this.#isClosing = true;
    for (const connection of [...this.#connections])
      if (connection.open === 0 && this.#waiting.size === 0) connection.retire();
    this.#stopIfDone();
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#isClosing = true;
    const waiting = [...this.#waiting];
    for (const call of waiting) this.#waiting.delete(call);
    for (const connection of [...this.#connections]) connection.destroy();
    for (const call of waiting) call.fail(upstreamGone());
    this.#stopIfDone();
  }

  abandon(call: UpstreamCall): void {
    this.#waiting.delete(call);
  }

  // --- what becomes of connections -------------------------------------------------------------------------------------

  onConnected(connection: Http2Connection): void {
    this.#connecting--;
    const { refusal } = connection;
    if (refusal === undefined) return this.onRoom(connection);
    connection.destroy();
    // Where it is our own SVID that changed meanwhile, another connection is being opened by now, and nobody is refused.
    if (refusal.code === 'upstream_untrusted') this.#failWaiting(connection, refusal);
  }

  onRefused(connection: Http2Connection, failure: Failure): void {
    this.#connecting--;
    this.#connections.delete(connection);
    if (this.#isDestroyed) return;
    this.#options.onRefused(failure);
    this.#failWaiting(connection, failure);
    this.#openAsNeeded();
    this.#stopIfDone();
  }

  /** Those in turn that still may begin, as many as there is room for. */
  onRoom(connection: Http2Connection): void {
    while (this.#waiting.size > 0 && this.#isUsable(connection)) {
      const call = this.#waiting.takeNext();
      if (call !== undefined) this.#begin(connection, call);
    }
    if (this.#waiting.size > 0) this.#openAsNeeded();
    else if (this.#isClosing && connection.open === 0) connection.retire();
  }

  onGone(connection: Http2Connection): void {
    this.#connections.delete(connection);
    this.#openAsNeeded();
    this.#stopIfDone();
  }

  get #mayOpen(): boolean {
    return this.#connections.size < this.#options.maxConnections;
  }

  /**
   * One connection was to carry all that waited when it was begun; where others are there or on their way, only the oldest
   * has waited for this one.
   */
  #failWaiting(connection: Http2Connection, failure: Failure): void {
    const isLate = failure.code === 'upstream_connect_timeout';
    const failed: UpstreamCall[] = [];
    for (const call of this.#waiting) {
      if (call.order > connection.order || (failed.length > 0 && this.#connections.size > 0)) break;
      if (!isLate || this.#connectMs(call) <= connection.connectMs) failed.push(call);
    }
    for (const call of failed) this.#waiting.delete(call);
    for (const call of failed) call.fail(failure, 'unsent');
  }

  #connectMs(call: UpstreamCall | undefined): number {
    return call?.request.connectMs ?? this.#options.connectMs;
  }

  #leastBusy(): Http2Connection | undefined {
    let best: Http2Connection | undefined;
    for (const connection of this.#connections) {
      if (best !== undefined && connection.open >= best.open) continue;
      if (this.#isUsable(connection)) best = connection;
    }
    return best;
  }

  #isUsable(connection: Http2Connection): boolean {
    if (connection.room <= 0) return false;
    if (connection.refusal === undefined) return true;
    connection.retire();
    return false;
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
    while (this.#connecting * MAX_STREAMS < this.#waiting.size && this.#mayOpen) {
      this.#connecting++;
      this.#connections.add(new Http2Connection(this, connector, this.#connectMs(newest), this.#order));
    }
  }

  #begin(connection: Http2Connection, call: UpstreamCall): void {
    const fields = formatRequestFields(call.request, connection.scheme);
    if (fields === undefined) {
      return call.fail(new Failure('internal_error', 'a request head that cannot be written'));
    }
    if (!call.mayBegin()) return;
    try {
      connection.run(call, fields);
    } catch (cause) {
      call.fail(new Failure('internal_error', 'a request could not be sent', { cause }));
    }
  }

  #sweep(): void {
    const nowMs = performance.now();
    for (const connection of [...this.#connections]) {
      connection.sweep(nowMs);
      if (connection.open === 0 && nowMs - connection.idleSinceMs >= IDLE_MS) connection.retire();
    }
  }

  /** While there are connections they are watched, also those that only finish what they have. */
  #stopIfDone(): void {
    if (this.#isClosing && this.#connections.size === 0 && this.#waiting.size === 0)
      clearInterval(this.#sweeper);
  }
}

const upstreamGone = (): Failure => new Failure('upstream_reset', 'the upstream is given up');
