import type { Reason } from '../reasons.js';
import type { Connection } from './connection.js';

/** What is spoken on the connections of one listener. */
export interface Protocol {
  /** Names that TLS offers (RFC 7301), the most wanted first. */
  readonly alpn: readonly string[];
  /** An accepted connection, whose credential was judged: a refused one still gets its one answer. */
  take(connection: Connection): void;
  /** Tells a client that is not even listened to why, as far as the protocol has words for it, and hangs up. */
  turnAway(connection: Connection, reason: Reason): void;
  /** The last connection is gone. */
  close(): void;
}
