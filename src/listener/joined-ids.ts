import type { RequestFields } from '../audit/record.js';
import { isRequestId } from '../message/rewrite-request.js';
import { parseTraceparent } from '../message/trace-context.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';

/**
 * What joins the records of both sides of one call. The trace is the caller's word, and no authority; the request ID is taken
 * from trusted peers alone. A request that was refused has them too: somebody will look for it.
 */
export function joinedIds(exchange: Exchange): Pick<RequestFields, 'traceId' | 'requestId'> {
  const { head, snapshot, traceId } = exchange;
  if (head === undefined) return { traceId };
  const { traceparent, requestId } = head.received;
  const isGiven = requestId !== undefined && snapshot !== undefined && isTrustedPeer(exchange, snapshot);
  return {
    traceId: traceId ?? (traceparent === undefined ? undefined : parseTraceparent(traceparent)?.traceId),
    requestId: isGiven && isRequestId(requestId) ? requestId : undefined,
  };
}

/** Its forwarded headers and request IDs count. Nobody's on our own side: a workload beside us is not trusted for being us. */
export function isTrustedPeer(
  { connection, principal, isNamedByToken }: Exchange,
  { gateways }: Snapshot,
): boolean {
  if (gateways.size === 0 || connection.direction === 'outbound') return false;
  if (isNamedByToken) return false; // a peer is what TLS has verified, not whoever holds a token of it
  return principal?.kind === 'workload' && gateways.has(principal.id);
}
