import { isIPv4, type Socket } from 'node:net';

/** Asked when it is accepted: after a reset the kernel no longer tells. */
const acceptedFrom = Symbol('acceptedFrom');
type Transport = Socket & { [acceptedFrom]?: string };

/** Remembers where an accepted transport comes from. */
export function rememberAddress(transport: Transport): void {
  transport[acceptedFrom] = addressOf(transport);
}

/** Of a transport or of the TLS on it; an IPv4 address without its IPv6 form; empty for a unix socket. */
export function addressOf(socket: Socket): string {
  const known = (transportOf(socket) ?? (socket as Transport))[acceptedFrom];
  if (known !== undefined) return known;
  const address = socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}

/** From this very machine, whatever address it listens on: only its own processes have a loopback address to come from. */
export function isFromHere(socket: Socket): boolean {
  const address = addressOf(socket);
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** What is under TLS. */
export const transportOf = (socket: Socket): Transport | undefined =>
  (socket as { _parent?: Transport | null })._parent ?? undefined;
