import { createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTlsServer,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
  type Server as TlsServer,
} from 'node:tls';
import type { Address } from '../config/config.js';
import type { Refusal } from '../reasons.js';
import type { OwnSvid, ServerCertificate, Snapshot } from '../snapshot.js';
import { Connection } from './connection.js';
import { handshakeRecord, terminatedRecord } from './connection-record.js';
import type { ListenerContext } from './context.js';
import type { Contraction } from './contraction.js';
import type { Credential } from './credential.js';
import { HttpProtocol } from './http-protocol.js';
import { LiveConnections } from './live-connections.js';
import { ownCredential } from './own-credential.js';
import { addressOf, isFromHere, rememberAddress } from './peer-address.js';
import type { PeerReader } from './ports.js';
import { Prefaces } from './preface.js';
import type { Protocol } from './protocol.js';
import { onHandshakeError, refuseHandshake } from './refused-handshake.js';
import { TcpProtocol } from './tcp-protocol.js';
import { listenOn, UnixSocket } from './unix-socket.js';

/** TLS comes from the tls folder, handed in. */
export interface ListenerTls {
  /**
   * @param alpn names of protocols, the most wanted first; none = whatever the client names is ignored.
   * @param special asked at each handshake: what those see who ask for one of its names.
   */
  serverOptions(
    own: OwnSvid,
    handshakeMs: number,
    alpn: readonly string[],
    special: () => ServerCertificate | undefined,
  ): TlsOptions;
  contextOptions(own: OwnSvid): SecureContextOptions;
  readPeer: PeerReader;
}

const SWEEP_MS = 250;
/** While closing, a connection without a request waits this long: its client may just have been about to ask. */
const CLOSING_IDLE_MS = 500;

/** One listener: accepts, keeps the live connections honest, drains. What is spoken on a connection is its protocol's. */
export class Listener {
  readonly live: LiveConnections;
  readonly #server: Server;
  /** Is handed what was accepted; listens nowhere itself. */
  readonly #tls: TlsServer;
  readonly #protocol: Protocol;
  readonly #prefaces: Prefaces;
  #own: OwnSvid;
  #sweeper: NodeJS.Timeout | undefined;
  /** Every accepted transport, handshaking ones too. */
  readonly #sockets = new Set<Socket>();
  /** Past the drain delay: nothing idle stays. */
  #closing = false;
  /** Of the start: another direction takes a restart. */
  readonly #direction: Connection['direction'];
  #unixSocket: UnixSocket | undefined;

  constructor(
    readonly context: ListenerContext,
    readonly tls: ListenerTls,
    snapshot: Snapshot,
  ) {
    this.live = new LiveConnections(context);
    this.#own = snapshot.own;
    this.#direction = snapshot.listeners.get(context.name)?.config.direction ?? 'inbound';
    const { handshakeMs } = snapshot.config.deadlines;
    this.#prefaces = new Prefaces(context);
    this.#protocol = protocolOf(context, snapshot);
    this.#server = createServer({ noDelay: true });
    const special = (): ServerCertificate | undefined =>
      (context.snapshots.current ?? snapshot).serverCertificates.get(context.name);
    this.#tls = createTlsServer(tls.serverOptions(snapshot.own, handshakeMs, this.#protocol.alpn, special));
    this.#listen();
  }

  /** @param socketMode permission bits of a unix socket. */
  async open(address: Address, socketMode = 0o600): Promise<void> {
    if (address.kind === 'unix') {
      this.#unixSocket = new UnixSocket(address.path, socketMode);
      await this.#unixSocket.listen(this.#server);
    } else await listenOn(this.#server, { host: address.host, port: address.port, backlog: 1024 });
    // Running out of descriptors must not end the process: the accept loop goes on when some are free again.
    this.#server.on('error', (error) =>
      this.context.diagnostics.error({ err: error }, 'the listener had an error'),
    );
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
  }

  /** host:port, or the socket's path. */
  get boundAddress(): string {
    const address = this.#server.address();
    if (address === null) return '';
    if (this.#unixSocket !== undefined) return this.#unixSocket.path;
    if (typeof address === 'string') return address;
    return address.family === 'IPv6'
      ? `[${address.address}]:${address.port}`
      : `${address.address}:${address.port}`;
  }

  /** A new snapshot is in force: new handshakes show the new SVID, and what it takes away ends now. */
  adopt(next: Snapshot, before: Snapshot, contraction: Contraction): void {
    if (next.own !== this.#own) {
      this.#own = next.own;
      this.#tls.setSecureContext(this.tls.contextOptions(next.own));
      if (this.#direction === 'outbound') this.live.rehome(ownCredential(next.own, this.context.credentials));
    }
    this.live.rejudge(next, before, contraction);
    if (this.#direction === 'outbound' && isSomebodyElse(next, before))
      this.live.endAll('not_ready', contraction, next.config.deadlines.accessEndMs);
  }

  /** Still serving, but every answer says `Connection: close`. */
  beginDrain(): void {
    this.context.draining = true;
  }

  /** No new connections; idle ones closed; resolves when the last is gone or `deadlineMs` cut the rest. */
  async drain(deadlineMs: number): Promise<void> {
    this.context.draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#unixSocket?.remove();
    this.#closing = true;
    this.live.closeIdle();
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    const timer = setTimeout(() => {
      this.live.destroyAll();
      setImmediate(() => {
        for (const socket of this.#sockets) socket.destroy(); // half-way through a handshake
      });
    }, deadlineMs);
    await closed;
    await this.live.emptied();
    this.#protocol.close();
    clearTimeout(timer);
    clearInterval(this.#sweeper);
  }

  #listen(): void {
    this.#server.on('connection', (socket: Socket) => this.#onAccept(socket));
    this.#tls.on('secureConnection', (socket: TLSSocket) => this.#onSecure(socket));
    this.#tls.on('tlsClientError', (error: Error, socket: TLSSocket) =>
      onHandshakeError(this.context, error, socket),
    );
  }

  #onAccept(socket: Socket): void {
    rememberAddress(socket);
    const snapshot = this.context.snapshots.current;
    const isOutbound = this.#direction === 'outbound';
    if (isOutbound && this.#unixSocket === undefined && !isFromHere(socket)) {
      socket.destroy(); // whoever gets in here speaks as us
      return refuseHandshake(this.context, 'peer_not_local', '', addressOf(socket));
    }
    if (snapshot?.isOwnWithdrawn && !isOutbound) {
      socket.destroy(); // a handshake would show an SVID that is not ours to show
      return refuseHandshake(this.context, 'not_ready', 'our own SVID was withdrawn', addressOf(socket));
    }
    const limit = snapshot?.config.limits.connections ?? 0;
    if (this.#sockets.size >= limit) {
      socket.destroy(); // before any handshake is paid for
      const detail = `${limit} connections are open`;
      return refuseHandshake(this.context, 'connection_limit', detail, addressOf(socket));
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (isOutbound) this.#onOwn(socket);
    else this.#prefaces.read(socket, () => this.#tls.emit('connection', socket));
  }

  /** A connection of our own workload: it is us, by the SVID that we have now. */
  #onOwn(socket: Socket): void {
    const { snapshots, credentials } = this.context;
    const snapshot = snapshots.current;
    const connection = this.#connect(socket, ownCredential(snapshot?.own ?? this.#own, credentials));
    if (snapshot !== undefined) connection.judge(snapshot, connection.openedAtMs);
    this.#protocol.take(connection);
  }

  #connect(socket: Socket, credential: Credential | undefined): Connection {
    const { ids, clock } = this.context;
    const address = addressOf(socket);
    const connection = new Connection(
      ids.next(),
      socket,
      address,
      credential,
      clock.nowMs(),
      this.#direction,
      this.context.name,
    );
    this.live.add(connection);
    socket.once('close', () => this.#onClosed(connection));
    return connection;
  }

  #onSecure(socket: TLSSocket): void {
    const { context } = this;
    const presented = this.tls.readPeer(socket);
    const credential = presented && context.credentials.find(presented);
    const connection = this.#connect(socket, credential);
    const snapshot = context.snapshots.current;
    const judged = snapshot && connection.judge(snapshot, connection.openedAtMs);
    const refusal = judged ?? (snapshot && this.#turnAwayBeyondShare(connection, snapshot));
    if (refusal !== undefined) context.credentials.discardUnvouched(credential);
    // A refused certificate still gets one request in, so that its owner reads the reason in a 403 and not in a torn socket.
    context.metrics.countHandshake(context.name, refusal ? 'refused' : 'accepted', refusal?.reason ?? '');
    this.#protocol.take(connection);
  }

  /** One workload, broken or hostile, must not take every connection there is (P112). It is told at once, and hung up on. */
  #turnAwayBeyondShare(connection: Connection, snapshot: Snapshot): Refusal | undefined {
    const { connectionsPerPrincipal, connectionsWithoutCertificate } = snapshot.config.limits;
    const isUnnamed = connection.credential === undefined;
    const limit = isUnnamed ? connectionsWithoutCertificate : connectionsPerPrincipal;
    if (this.live.takeShare(connection, limit)) return undefined;
    const whose = isUnnamed ? 'without a certificate' : 'of one identity';
    const refusal: Refusal = { reason: 'connection_limit', detail: `${limit} connections ${whose}` };
    connection.turnAway(refusal);
    const answer = (): void => this.#protocol.turnAway(connection, refusal.reason);
    if (!this.context.records.confirms) answer();
    else this.#recordRefused(connection, (isKept) => (isKept ? answer() : connection.reset()));
    return refusal;
  }

  #recordRefused(connection: Connection, confirmed?: (isKept: boolean) => void): void {
    connection.isRecorded = true;
    const { records, name, clock, snapshots } = this.context;
    records.write(handshakeRecord(name, connection, snapshots.current, clock.nowMs()), confirmed);
  }

  #onClosed(connection: Connection): void {
    if (!connection.isSevered) {
      connection.closed();
      return this.#recordClosed(connection);
    }
    connection.goneAtMs = this.context.clock.nowMs();
    connection.terminatedBy?.cause.offWire();
    this.live.afterEnds((untilTickMs) => {
      const isTold = connection.closed(untilTickMs);
      if (isTold) this.#recordClosed(connection);
      return isTold;
    });
  }

  #recordClosed(connection: Connection): void {
    this.live.remove(connection);
    const { records, name, clock, metrics } = this.context;
    // One that was let in and ended later has its record of that, and its handshake was no refusal.
    if (
      connection.requests === 0 &&
      connection.refusal !== undefined &&
      connection.terminatedBy === undefined
    ) {
      if (!connection.isRecorded) this.#recordRefused(connection);
      metrics.countRefusal(name, connection.refusal.reason);
    }
    if (connection.terminatedBy !== undefined) {
      records.write(terminatedRecord(name, connection, connection.goneAtMs ?? clock.nowMs()));
      metrics.countTerminated(connection.terminatedBy.reason);
    }
  }

  #sweep(): void {
    const snapshot = this.context.snapshots.current;
    if (snapshot === undefined) return;
    const { idleMs } = snapshot.config.deadlines;
    this.live.sweep(snapshot, this.#closing ? Math.min(idleMs, CLOSING_IDLE_MS) : idleMs);
  }
}

/** What was let out as the one that we were must not go on as another, or as nobody. */
const isSomebodyElse = (next: Snapshot, before: Snapshot): boolean =>
  (next.isOwnWithdrawn && !before.isOwnWithdrawn) || next.own.id.uri !== before.own.id.uri;

function protocolOf(context: ListenerContext, snapshot: Snapshot): Protocol {
  const config = snapshot.listeners.get(context.name)?.config;
  if (config?.protocol !== 'tcp') return new HttpProtocol(context, snapshot);
  return new TcpProtocol(context, config.startTls);
}
