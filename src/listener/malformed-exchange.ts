import { meaningOf, type Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { answerOnSocket } from './answer.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { Exchange } from './exchange.js';

/** Bytes that never became a request: answered and recorded all the same, and the last thing read from its connection. */
export class MalformedExchange extends Exchange {
  constructor(listener: ListenerContext, connection: Connection, snapshot: Snapshot | undefined) {
    super(listener, connection, snapshot, undefined, undefined);
    connection.requests++;
  }

  override refuse(reason: Reason, detail = ''): void {
    const { connection } = this;
    if (this.snapshot !== undefined) connection.judge(this.snapshot, this.startedAtMs);
    this.setRefusal(reason, detail);
    this.outcome = 'refused';
    // Answers go out in order: behind one that is still under way there is no room for another.
    if (connection.open.size === 0) {
      this.status = meaningOf(reason).status;
      answerOnSocket(connection.socket, reason, this.id);
    }
    this.finish();
  }
}
