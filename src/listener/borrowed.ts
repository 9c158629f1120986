import type { Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection, OpenExchange } from './connection.js';

/** An exchange that rests on more than its connection's credential: on a token, or on somebody's word on whom it is for. */
export interface BorrowingExchange extends OpenExchange {
  readonly connection: Connection;
  /** Why it rests on nothing any more, or undefined. @param nowMs Unix. */
  judgeBorrowed(snapshot: Snapshot, nowMs: number): Refusal | undefined;
}
