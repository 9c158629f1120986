import type { Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { Exchange } from './exchange.js';

/** A request of which nothing is known but that it was refused below HTTP: recorded, as its connection's. */
export class UnansweredExchange extends Exchange {
  constructor(listener: ListenerContext, connection: Connection, snapshot: Snapshot | undefined) {
    super(listener, connection, snapshot, undefined, undefined);
    connection.requests++;
  }

  override refuse(reason: Reason, detail = ''): void {
    if (this.snapshot !== undefined) this.connection.judge(this.snapshot, this.startedAtMs);
    this.setRefusal(reason, detail);
    this.outcome = 'refused';
    this.finish();
  }
}
