import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Refusal } from '../reasons.js';
import { isDeadSocket, reasonOfParserError } from './client-error.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { HttpExchange } from './http-exchange.js';
import { RefusedTurn } from './pipelined-turns.js';

/** What the HTTP parser could not read, or waited for too long: refused as the request that it would have been. */
export function onClientError(
  context: ListenerContext,
  connection: Connection | undefined,
  socket: TLSSocket,
  error: Error & { code?: string },
): void {
  if (connection === undefined || isDeadSocket(error)) return void socket.destroy();
  if (connection.closing) return; // a destroy here would take the answer with it that is on its way
  connection.closing = true;
  const refusal = { reason: reasonOfParserError(error), detail: error.code ?? '' };
  const { last } = connection.turns;
  if (last?.isWhole === false) {
    last.fault = refusal; // the body of one that waits was malformed
    return;
  }
  const unfinished = [...connection.open].find(
    (exchange) => exchange instanceof HttpExchange && exchange.isReceiving,
  );
  if (unfinished instanceof HttpExchange) {
    // its body was malformed, or ended too early because its client has gone (P120)
    if (error.code === 'HPE_INVALID_EOF_STATE') return unfinished.refuse('client_aborted', refusal.detail);
    return unfinished.refuse(refusal.reason, refusal.detail);
  }
  if (error.code === 'HPE_CLOSED_CONNECTION') return void (!connection.isBusy && socket.destroy());
  if (refusal.reason === 'request_timeout' && connection.isSilent) return connection.close();
  refuseInTurn(context, connection, refusal);
}

/** Answers go out in order: behind one that is still under way, a refusal waits. */
export function refuseInTurn(
  context: ListenerContext,
  connection: Connection,
  refusal: Refusal,
  request?: IncomingMessage,
): void {
  connection.closing = true;
  const turn = new RefusedTurn(context, connection, refusal, request);
  if (!connection.isBusy) turn.take();
  else connection.turns.wait(turn);
}
