import { formatPostgresError } from '../message/postgres-start.js';
import { publicReason, type Reason } from '../reasons.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import type { Protocol } from './protocol.js';
import { TcpExchange } from './tcp-exchange.js';

/** Bytes of any kind: one decision a connection. */
export class TcpProtocol implements Protocol {
  readonly alpn: readonly string[];
  readonly #isPostgres: boolean;

  constructor(
    readonly context: ListenerContext,
    startTls: 'postgres' | undefined,
  ) {
    this.#isPostgres = startTls === 'postgres';
    this.alpn = this.#isPostgres ? ['postgresql'] : [];
  }

  take(connection: Connection): void {
    if (connection.closing) return; // turned away, with its record
    const tellWhy = (reason: Reason, id: string): void => this.#tellWhy(connection, reason, id);
    new TcpExchange(this.context, connection, this.context.snapshots.current, tellWhy).run();
  }

  turnAway(connection: Connection, reason: Reason): void {
    this.#tellWhy(connection, reason, connection.id);
  }

  close(): void {}

  /** Bytes that no protocol is known to understand are not sent; PostgreSQL has words for a no before its start. */
  #tellWhy(connection: Connection, reason: Reason, id: string): void {
    const { socket } = connection;
    if (this.#isPostgres && socket.writable)
      socket.write(formatPostgresError('28000', `refused by countersign: ${publicReason(reason)} (${id})`));
    connection.close();
  }
}
