import type { Failure } from '../reasons.js';
import type { Connector } from './connector.js';
import type { UpstreamCall } from './upstream-call.js';

/** The connections to one target, and the calls that wait for one. */
export interface CallPool {
  /** Open or opening. */
  readonly connections: number;
  /** @param isAfresh not on a connection that is there already: what closed one may have closed them all. */
  start(call: UpstreamCall, isAfresh: boolean): void;
  /** A call that waits is given up. */
  abandon(call: UpstreamCall): void;
  /** Ends the connections that must carry no more: at once where the server is not trusted now, else after what is on them. */
  judge(): void;
  /** No longer configured: what was given to it is finished, then its connections close. */
  close(): void;
  /** Everything ends now: what is in flight and what waits fails. */
  destroy(): void;
}

export interface PoolOptions {
  readonly connector: Connector;
  /** Where a request says nothing else. */
  readonly connectMs: number;
  readonly maxConnections: number;
  /** A connection could not be opened. What waited for it hears of that by itself. */
  readonly onRefused: (failure: Failure) => void;
}
