import { TLSSocket } from 'node:tls';
import { EndWatch } from '../end-watch.js';
import { CONNECT, connectHead } from '../message/connect-head.js';
import { formatProxyHeader } from '../message/proxy-protocol.js';
import type { Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { addressesOf } from './peer-address.js';
import type { Admitted } from './pipeline.js';
import { admitConnection } from './tcp-admission.js';
import { TunnelExchange } from './tunnel-exchange.js';

/** One TCP connection, judged as a whole. */
export class TcpExchange extends TunnelExchange {
  /** Of a plain connection of our own workload an end is an end. */
  readonly #ends: EndWatch | undefined;
  readonly #tellWhy: (reason: Reason, id: string) => void;

  /** @param tellWhy ends a connection that nothing was answered on, with as many words as its protocol has. */
  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    tellWhy: (reason: Reason, id: string) => void,
  ) {
    super(listener, connection, snapshot, CONNECT, '/');
    const { socket } = connection;
    this.#ends = socket instanceof TLSSocket ? new EndWatch(socket) : undefined;
    this.#tellWhy = tellWhy;
    this.socket.allowHalfOpen = true; // who says nothing may want to hear something, though the upstream is yet to be reached
    this.head = connectHead(connection.tls.serverName ?? '');
  }

  override get protocol(): 'tcp' {
    return 'tcp';
  }

  run(): void {
    this.runWith(() => admitConnection(this, this.head!));
  }

  protected openTunnel({ permit, route, snapshot }: Admitted): void {
    const connectMs = route.deadlines?.upstreamConnectMs;
    const isAnnounced = snapshot.config.upstreams.get(route.upstream)?.proxyProtocol === 'v2';
    this.call = this.listener.upstream.connect(
      permit,
      {
        socket: this.socket,
        opening: isAnnounced ? this.#announcement(permit.request.principal.uri) : undefined,
        isCutShort: () => this.#ends?.isCutShort === true,
        ...(connectMs === undefined ? {} : { connectMs }),
      },
      this,
    );
  }

  #announcement(spiffeId: string): Buffer {
    const { tls, socket } = this.connection;
    return formatProxyHeader({
      addresses: addressesOf(socket),
      spiffeId,
      authority: tls.serverName,
      id: this.id,
      tlsVersion: tls.version,
    });
  }

  /** Nothing but the end of each way says that all of it came. */
  protected override get isAbandoned(): boolean {
    const { readableEnded, writableFinished } = this.socket;
    return this.reason === undefined && !(this.hasBegun && readableEnded && writableFinished);
  }

  override refuse(reason: Reason, detail = ''): void {
    if (this.reason !== undefined) return;
    this.withdraw(reason, detail);
    this.answer(() => this.#tellWhy(reason, this.id));
  }
}
