import type { Connection } from './connection.js';

/** What is spoken on the connections of one listener. */
export interface Protocol {
  /** Names that TLS offers (RFC 7301), the most wanted first. */
  readonly alpn: readonly string[];
  /** An accepted connection, whose credential was judged: a refused one still gets its one answer. */
  take(connection: Connection): void;
  /** The last connection is gone. */
  close(): void;
}
