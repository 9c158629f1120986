import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Refusal } from '../reasons.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { HttpExchange } from './http-exchange.js';
import { Http1Message } from './http1-message.js';
import { MalformedExchange } from './malformed-exchange.js';
import type { Turn } from './turns.js';

/** A request that came before the one in front of it was answered. */
export class RequestTurn implements Turn {
  fault: Refusal | undefined;

  constructor(
    readonly context: ListenerContext,
    readonly connection: Connection,
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    readonly expectsContinue: boolean,
  ) {}

  get isWhole(): boolean {
    return this.request.complete;
  }

  take(): void {
    const exchange = this.#begin();
    if (this.fault === undefined) return exchange.run(this.expectsContinue);
    this.connection.endAfterAnswer();
    exchange.refuse(this.fault.reason, this.fault.detail);
  }

  drop(): void {
    this.#begin().connectionClosed();
  }

  #begin(): HttpExchange {
    const { context, connection, request, response } = this;
    const message = new Http1Message(request, response);
    return new HttpExchange(context, connection, context.snapshots.current, message);
  }
}

/** What follows an unanswered request and is no request, or would take the connection over: refused, in its turn. */
export class RefusedTurn implements Turn {
  readonly isWhole = true;
  fault: Refusal | undefined;

  constructor(
    readonly context: ListenerContext,
    readonly connection: Connection,
    readonly refusal: Refusal,
    readonly request?: IncomingMessage,
  ) {}

  take(): void {
    const { context, connection, refusal, request } = this;
    new MalformedExchange(context, connection, context.snapshots.current, request).refuse(
      refusal.reason,
      refusal.detail,
    );
  }

  drop(): void {
    this.take();
  }
}
