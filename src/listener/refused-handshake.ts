import type { TLSSocket } from 'node:tls';
import { handshakeRecord } from './connection-record.js';
import type { ListenerContext } from './context.js';
import { addressOf, transportOf } from './peer-address.js';

export type HandshakeReason =
  | 'tls_handshake_failed'
  | 'tls_handshake_timeout'
  | 'proxy_header_malformed'
  | 'tls_required'
  | 'connection_limit'
  | 'not_ready'
  | 'peer_not_local';

/** A handshake that broke or took too long: closed, counted and recorded. */
export function onHandshakeError(context: ListenerContext, error: Error, socket: TLSSocket): void {
  const code = (error as { code?: string }).code ?? '';
  const address = addressOf(socket);
  // What TLS itself counts is decrypted bytes: none before the end of the handshake.
  const bytesRead = transportOf(socket)?.bytesRead;
  socket.destroy();
  // A TCP probe that opens and closes is no handshake.
  if (code === 'ECONNRESET' && bytesRead === 0) return;
  const reason = code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'tls_handshake_timeout' : 'tls_handshake_failed';
  refuseHandshake(context, reason, code || error.message, address);
}

/** Counts and records a handshake that came to nothing before there was a connection. */
export function refuseHandshake(
  context: ListenerContext,
  reason: HandshakeReason,
  detail: string,
  address: string,
): void {
  const { name, records, metrics, clock, ids, snapshots } = context;
  metrics.countHandshake(name, 'refused', reason);
  metrics.countRefusal(name, reason);
  const failed = {
    id: ids.next(),
    refusal: { reason, detail },
    peerAddress: address,
    tls: undefined,
    credential: undefined,
  };
  records.write(handshakeRecord(name, failed, snapshots.current, clock.nowMs()));
}
