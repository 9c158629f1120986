import { isIPv4, type Socket } from 'node:net';
import type { ProxiedAddresses } from '../message/proxy-protocol.js';

/** Asked when it is accepted: after a reset the kernel no longer tells. */
const acceptedFrom = Symbol('acceptedFrom');
/** What a trusted load balancer says of it. */
const toldBy = Symbol('toldBy');
type Transport = Socket & { [acceptedFrom]?: string; [toldBy]?: ProxiedAddresses };

/** Remembers where an accepted transport comes from. */
export function rememberAddress(transport: Transport): void {
  transport[acceptedFrom] = addressOf(transport);
}

/** A load balancer in front has said whose connection it is. */
export function rememberTold(transport: Transport, told: ProxiedAddresses): void {
  transport[acceptedFrom] = told.source.address;
  transport[toldBy] = told;
}

/** Of a transport or of the TLS on it; an IPv4 address without its IPv6 form; empty for a unix socket. */
export function addressOf(socket: Socket): string {
  const known = (transportOf(socket) ?? (socket as Transport))[acceptedFrom];
  return known ?? plainAddress(socket.remoteAddress) ?? '';
}

/** Both ends as the client sees them; undefined for a unix socket, or one that is gone. */
export function addressesOf(socket: Socket): ProxiedAddresses | undefined {
  const transport = transportOf(socket) ?? (socket as Transport);
  if (transport[toldBy] !== undefined) return transport[toldBy];
  const { remotePort, localPort } = transport;
  const source = plainAddress(transport.remoteAddress);
  const destination = plainAddress(transport.localAddress);
  if (source === undefined || destination === undefined) return undefined;
  return {
    source: { address: source, port: remotePort ?? 0 },
    destination: { address: destination, port: localPort ?? 0 },
  };
}

const plainAddress = (address: string | undefined): string | undefined =>
  address?.startsWith('::ffff:') === true && address.includes('.') ? address.slice(7) : address;

/** From this very machine, whatever address it listens on: only its own processes have a loopback address to come from. */
export function isFromHere(socket: Socket): boolean {
  const address = addressOf(socket);
  return address === '::1' || (isIPv4(address) && address.startsWith('127.'));
}

/** What is under TLS. */
export const transportOf = (socket: Socket): Transport | undefined =>
  (socket as { _parent?: Transport | null })._parent ?? undefined;
