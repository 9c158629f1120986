import type { Socket } from 'node:net';

/** Ends it so that nobody takes what arrived for all that there was: a TCP reset, where the transport has one. */
export function resetSocket(socket: Socket): void {
  if (socket.destroyed) return;
  const transport = (socket as { _parent?: Socket })._parent ?? socket;
  try {
    // Where its end is under way the system refuses a reset (libuv, uv_tcp_close_reset), and Node would never close it.
    if (!socket.writableEnded && !socket.connecting) transport.resetAndDestroy();
  } catch {
    // a unix socket has no reset
  }
  socket.destroy();
}
