import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls';
import type { Address } from '../config/config.js';
import type { Refusal } from '../reasons.js';
import type { OwnSvid, Snapshot } from '../snapshot.js';
import { answerOnSocket } from './answer.js';
import { onClientError, refuseInTurn } from './client-fault.js';
import { Connection } from './connection.js';
import { handshakeRecord, terminatedRecord } from './connection-record.js';
import type { ListenerContext } from './context.js';
import type { Contraction } from './contraction.js';
import { HttpExchange } from './http-exchange.js';
import { LiveConnections } from './live-connections.js';
import { addressOf, rememberAddress } from './peer-address.js';
import { RequestTurn } from './pipelined-turns.js';
import type { PeerReader } from './ports.js';
import { onHandshakeError, refuseHandshake } from './refused-handshake.js';
import { UpgradeExchange } from './upgrade-exchange.js';

/** TLS comes from the tls folder, handed in. */
export interface ListenerTls {
  serverOptions(own: OwnSvid, handshakeMs: number): TlsOptions;
  contextOptions(own: OwnSvid): SecureContextOptions;
  readPeer: PeerReader;
}

const connectionOf = Symbol('connection');
type Peer = TLSSocket & { [connectionOf]?: Connection };

const SWEEP_MS = 250;
/** While closing, a connection without a request waits this long: its client may just have been about to ask. */
const CLOSING_IDLE_MS = 500;

/** An inbound HTTPS/1.1 listener: accepts, keeps the live connections honest, drains. */
export class HttpListener {
  readonly live: LiveConnections;
  readonly #server: Server;
  #own: OwnSvid;
  #sweeper: NodeJS.Timeout | undefined;
  /** Every accepted transport, handshaking ones too. */
  readonly #sockets = new Set<Socket>();
  /** Past the drain delay: nothing idle stays. */
  #closing = false;

  constructor(
    readonly context: ListenerContext,
    readonly tls: ListenerTls,
    snapshot: Snapshot,
  ) {
    this.live = new LiveConnections(context);
    this.#own = snapshot.own;
    const { deadlines, limits } = snapshot.config;
    this.#server = createServer({
      ...tls.serverOptions(snapshot.own, deadlines.handshakeMs),
      maxHeaderSize: limits.headerBytes,
      headersTimeout: deadlines.headMs,
      requestTimeout: 0, // bodies have their own deadline, by route
      keepAliveTimeout: 0, // idle connections are closed by the sweep
      connectionsCheckingInterval: Math.max(50, Math.min(1000, deadlines.headMs / 4)),
      requireHostHeader: false, // checked, with a reason and a record, by parseRequestHead
      noDelay: true,
    });
    this.#server.maxHeadersCount = 0; // Node would drop the rest silently; limits.headerCount refuses instead
    this.#server.timeout = 0;
    this.#listen();
  }

  async open(address: Address): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      const target =
        address.kind === 'unix'
          ? { path: address.path }
          : { host: address.host, port: address.port, backlog: 1024 };
      this.#server.listen(target, () => {
        this.#server.off('error', reject);
        // Running out of descriptors must not end the process: the accept loop goes on when some are free again.
        this.#server.on('error', (error) =>
          this.context.diagnostics.error({ err: error }, 'the listener had an error'),
        );
        resolve();
      });
    });
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
  }

  /** host:port, or the socket's path. */
  get boundAddress(): string {
    const address = this.#server.address();
    if (address === null) return '';
    if (typeof address === 'string') return address;
    return address.family === 'IPv6'
      ? `[${address.address}]:${address.port}`
      : `${address.address}:${address.port}`;
  }

  /** A new snapshot is in force: new handshakes show the new SVID, and what it takes away ends now. */
  adopt(next: Snapshot, before: Snapshot, contraction: Contraction): void {
    if (next.own !== this.#own) {
      this.#own = next.own;
      this.#server.setSecureContext(this.tls.contextOptions(next.own));
    }
    this.live.rejudge(next, before, contraction);
  }

  /** Still serving, but every answer says `Connection: close`. */
  beginDrain(): void {
    this.context.draining = true;
  }

  /** No new connections; idle ones closed; resolves when the last is gone or `deadlineMs` cut the rest. */
  async drain(deadlineMs: number): Promise<void> {
    this.context.draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#closing = true;
    this.live.closeIdle();
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
    const timer = setTimeout(() => {
      this.live.destroyAll();
      for (const socket of this.#sockets) socket.destroy(); // half-way through a handshake
    }, deadlineMs);
    await closed;
    await this.live.emptied();
    clearTimeout(timer);
    clearInterval(this.#sweeper);
  }

  #listen(): void {
    const server = this.#server;
    server.on('connection', (socket: Socket) => this.#onAccept(socket));
    server.on('secureConnection', (socket: TLSSocket) => this.#onSecure(socket));
    server.on('tlsClientError', (error: Error, socket: TLSSocket) =>
      onHandshakeError(this.context, error, socket),
    );
    server.on('clientError', (error: Error, socket) =>
      onClientError(this.context, (socket as Peer)[connectionOf], socket as Peer, error),
    );
    server.on('request', (request, response) => this.#onRequest(request, response, false));
    server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    server.on('checkExpectation', (request, response) => this.#onRequest(request, response, false));
    server.on('upgrade', (request, stream, head: Buffer) => this.#onUpgrade(request, stream, head));
    server.on('connect', (request, stream, head: Buffer) => this.#onUpgrade(request, stream, head));
  }

  #onAccept(socket: Socket): void {
    rememberAddress(socket);
    const snapshot = this.context.snapshots.current;
    if (snapshot?.isOwnWithdrawn) {
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
  }

  #onSecure(socket: Peer): void {
    const { context } = this;
    const now = context.clock.nowMs();
    const presented = this.tls.readPeer(socket);
    const credential = presented && context.credentials.find(presented);
    const connection = new Connection(context.ids.next(), socket, addressOf(socket), credential, now);
    socket[connectionOf] = connection;
    this.live.add(connection);
    socket.once('close', () => this.#onClosed(connection));
    const snapshot = context.snapshots.current;
    const refusal =
      snapshot && (connection.judge(snapshot, now) ?? this.#turnAwayBeyondShare(connection, snapshot));
    if (refusal !== undefined) context.credentials.discardUnvouched(credential);
    // A refused certificate still gets one request in, so that its owner reads the reason in a 403 and not in a torn socket.
    context.metrics.countHandshake(context.name, refusal ? 'refused' : 'accepted', refusal?.reason ?? '');
  }

  /** One workload, broken or hostile, must not take every connection there is (P112). It is told at once, and hung up on. */
  #turnAwayBeyondShare(connection: Connection, snapshot: Snapshot): Refusal | undefined {
    const limit = snapshot.config.limits.connectionsPerPrincipal;
    if (this.live.takeShare(connection, limit)) return undefined;
    const refusal: Refusal = { reason: 'connection_limit', detail: `${limit} connections of one identity` };
    connection.turnAway(refusal);
    const answer = (): void => answerOnSocket(connection.socket, refusal.reason, connection.id);
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
    this.live.remove(connection);
    connection.closed();
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
      records.write(terminatedRecord(name, connection, clock.nowMs()));
      metrics.countTerminated(connection.terminatedBy.reason);
    }
  }

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = (request.socket as Peer)[connectionOf];
    // After an answer that closes, later bytes are never acted on, whatever the parser made of them (P067, P087).
    if (connection === undefined || connection.closing) return;
    const { context } = this;
    if (connection.isBusy) {
      connection.turns.wait(new RequestTurn(context, connection, request, response, expectsContinue));
      return;
    }
    new HttpExchange(context, connection, context.snapshots.current, request, response).run(expectsContinue);
  }

  /** The socket is the request's own: for an upgrade with a body, newer Node versions hand over a stand-in. */
  #onUpgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    const socket = request.socket as Peer;
    if (stream !== socket) stream.on('error', () => undefined); // ends with the socket, and says so
    const connection = socket[connectionOf];
    if (connection === undefined || connection.closing) return void socket.destroy();
    if (connection.open.size > 0 || connection.turns.size > 0) {
      keepFlowing(socket);
      const reason = request.method === 'CONNECT' ? 'method_not_allowed' : 'upgrade_refused';
      const detail = 'came before the request in front of it was answered';
      return refuseInTurn(this.context, connection, { reason, detail }, request);
    }
    new UpgradeExchange(
      this.context,
      connection,
      this.context.snapshots.current,
      request,
      socket,
      head,
    ).run();
  }

  #sweep(): void {
    const snapshot = this.context.snapshots.current;
    if (snapshot === undefined) return;
    const { idleMs } = snapshot.config.deadlines;
    this.live.sweep(snapshot, this.#closing ? Math.min(idleMs, CLOSING_IDLE_MS) : idleMs);
  }
}

/** With the socket Node hands over its own ears: the answer in front would never hear that there is room for more. */
function keepFlowing(socket: TLSSocket & { _httpMessage?: ServerResponse | null }): void {
  socket.on('error', () => socket.destroy());
  socket.on('drain', () => {
    if (!socket.writableNeedDrain) socket._httpMessage?.emit('drain');
  });
}
