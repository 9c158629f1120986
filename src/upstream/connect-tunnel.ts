import type { ConnectRequest, TunnelHandler, TunnelledCall } from '../listener/ports.js';
import { ByteTunnel } from './byte-tunnel.js';
import { TunnelCall, type TunnelLease, type TunnelRoad } from './tunnel-call.js';
import { TunnelReader } from './tunnel-reader.js';

/** Bytes of any kind, both ways. */
export function openConnection(
  road: TunnelRoad,
  request: ConnectRequest,
  handler: TunnelHandler,
): TunnelledCall {
  return new ConnectTunnel(road, request, handler);
}

class ConnectTunnel extends TunnelCall {
  readonly #request: ConnectRequest;
  readonly #reader: TunnelReader;

  constructor(road: TunnelRoad, request: ConnectRequest, handler: TunnelHandler) {
    const reader = new TunnelReader();
    const { connectMs } = request;
    super(handler, road, { onread: reader.onread, ...(connectMs === undefined ? {} : { connectMs }) });
    this.#request = request;
    this.#reader = reader;
  }

  isCutShort(side: 'client' | 'upstream'): boolean {
    const from = side === 'client' ? this.#request : this.lease?.carrier;
    return from?.isCutShort?.() === true;
  }

  protected begin({ carrier: { socket } }: TunnelLease): void {
    const { opening, socket: client } = this.#request;
    const tunnel = new ByteTunnel(client, socket, this);
    this.tunnel = tunnel;
    this.handler.onOpen(() => {
      if (this.isOver) return;
      this.hasBegun = true;
      if (opening !== undefined) socket.write(opening);
      tunnel.begin(this.#reader);
    });
  }
}
