import type { IncomingMessage } from 'node:http';
import { meaningOf, type Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { answerOnSocket } from './answer.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { Exchange } from './exchange.js';

/** Bytes that never became a request: answered and recorded all the same, and the last thing read from its connection. */
export class MalformedExchange extends Exchange {
  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    request?: IncomingMessage,
  ) {
    super(listener, connection, snapshot, request?.method, request?.url);
    connection.requests++;
  }

  override refuse(reason: Reason, detail = ''): void {
    const { connection } = this;
    if (this.snapshot !== undefined) connection.judge(this.snapshot, this.startedAtMs);
    this.setRefusal(reason, detail);
    this.outcome = 'refused';
    if (connection.socket.destroyed) return this.finish();
    this.status = meaningOf(reason).status;
    if (this.isRecordedFirst) {
      this.recordFirst(
        () => this.#answer(reason),
        () => {
          connection.reset();
          this.finish();
        },
      );
    } else this.#answer(reason);
  }

  #answer(reason: Reason): void {
    answerOnSocket(this.connection.socket, reason, this.id);
    this.finish();
  }
}
