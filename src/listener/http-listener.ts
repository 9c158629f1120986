import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Socket } from 'node:net';
import type { SecureContextOptions, TLSSocket, TlsOptions } from 'node:tls';
import type { Address } from '../config/config.js';
import type { OwnSvid, Snapshot } from '../snapshot.js';
import { isDeadSocket, reasonOfParserError } from './client-error.js';
import { Connection } from './connection.js';
import { handshakeRecord, terminatedRecord } from './connection-record.js';
import type { ListenerContext } from './context.js';
import { HttpExchange } from './http-exchange.js';
import { LiveConnections } from './live-connections.js';
import { MalformedExchange } from './malformed-exchange.js';
import type { PeerReader } from './ports.js';
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

/** An inbound HTTPS/1.1 listener: accepts, keeps the live connections honest, drains. */
export class HttpListener {
  readonly live: LiveConnections;
  readonly #server: Server;
  #own: OwnSvid;
  #sweeper: NodeJS.Timeout | undefined;
  #accepted = 0;

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
  adopt(next: Snapshot, before: Snapshot, causeMs: number): void {
    if (next.own !== this.#own) {
      this.#own = next.own;
      this.#server.setSecureContext(this.tls.contextOptions(next.own));
    }
    this.live.rejudge(next, before, causeMs);
  }

  /** Still serving, but every answer says `Connection: close`. */
  beginDrain(): void {
    this.context.draining = true;
  }

  /** No new connections; idle ones closed; resolves when the last is gone or `deadlineMs` cut the rest. */
  async drain(deadlineMs: number): Promise<void> {
    this.context.draining = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.live.closeIdle();
    const timer = setTimeout(() => this.live.destroyAll(), deadlineMs);
    await closed;
    await this.live.emptied();
    clearTimeout(timer);
    clearInterval(this.#sweeper);
  }

  #listen(): void {
    const server = this.#server;
    server.on('connection', (socket: Socket) => this.#onAccept(socket));
    server.on('secureConnection', (socket: TLSSocket) => this.#onSecure(socket));
    server.on('tlsClientError', (error: Error, socket: TLSSocket) => this.#onHandshakeError(error, socket));
    server.on('clientError', (error: Error, socket) => this.#onClientError(error, socket as Peer));
    server.on('request', (request, response) => this.#onRequest(request, response, false));
    server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    server.on('checkExpectation', (request, response) => this.#onRequest(request, response, false));
    server.on('upgrade', (request, socket, head: Buffer) => this.#onUpgrade(request, socket as Peer, head));
    server.on('connect', (request, socket, head: Buffer) => this.#onUpgrade(request, socket as Peer, head));
  }

  #onAccept(socket: Socket): void {
    const limit = this.context.snapshots.current?.config.limits.connections ?? 0;
    if (this.#accepted >= limit) {
      socket.destroy(); // before any handshake is paid for
      this.#refuseHandshake('connection_limit', `${limit} connections are open`, addressOf(socket));
      return;
    }
    this.#accepted++;
    socket.once('close', () => this.#accepted--);
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
    const refusal = snapshot && connection.judge(snapshot, now);
    // A refused certificate still gets one request in, so that its owner reads the reason in a 403 and not in a torn socket.
    context.metrics.countHandshake(context.name, refusal ? 'refused' : 'accepted', refusal?.reason ?? '');
  }

  #onClosed(connection: Connection): void {
    this.live.remove(connection);
    for (const exchange of connection.open) exchange.connectionClosed();
    const { records, name, clock, metrics } = this.context;
    if (connection.requests === 0 && connection.refusal !== undefined) {
      records.write(handshakeRecord(name, connection, this.context.snapshots.current, clock.nowMs()));
      metrics.countRefusal(name, connection.refusal.reason);
    }
    if (connection.terminatedBy !== undefined) {
      records.write(terminatedRecord(name, connection, clock.nowMs()));
      metrics.countTerminated(connection.terminatedBy.reason);
    }
  }

  #onHandshakeError(error: Error, socket: TLSSocket): void {
    const code = (error as { code?: string }).code ?? '';
    const address = addressOf(socket);
    socket.destroy();
    // A TCP probe that opens and closes is no handshake.
    if (code === 'ECONNRESET' && socket.bytesRead === 0) return;
    const reason = code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'tls_handshake_timeout' : 'tls_handshake_failed';
    this.#refuseHandshake(reason, code || error.message, address);
  }

  #refuseHandshake(
    reason: 'tls_handshake_failed' | 'tls_handshake_timeout' | 'connection_limit',
    detail: string,
    address: string,
  ): void {
    const { name, records, metrics, clock, ids, snapshots } = this.context;
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

  #onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const connection = (request.socket as Peer)[connectionOf];
    // After an answer that closes, later bytes are never acted on, whatever the parser made of them (P067, P087).
    if (connection === undefined || connection.closing) return;
    new HttpExchange(this.context, connection, this.context.snapshots.current, request, response).run(
      expectsContinue,
    );
  }

  #onUpgrade(request: IncomingMessage, socket: Peer, head: Buffer): void {
    const connection = socket[connectionOf];
    if (connection === undefined || connection.closing || connection.open.size > 0)
      return void socket.destroy();
    new UpgradeExchange(
      this.context,
      connection,
      this.context.snapshots.current,
      request,
      socket,
      head,
    ).run();
  }

  #onClientError(error: Error & { code?: string }, socket: Peer): void {
    const connection = socket[connectionOf];
    if (connection === undefined || isDeadSocket(error)) return void socket.destroy();
    if (connection.closing) {
      if (connection.open.size === 0) socket.destroy();
      return;
    }
    const unfinished = [...connection.open].find(
      (exchange) => exchange instanceof HttpExchange && exchange.isReceiving,
    );
    const reason = reasonOfParserError(error.code);
    if (unfinished instanceof HttpExchange) {
      connection.closing = true;
      return unfinished.refuse(reason, error.code); // its body was malformed
    }
    connection.closing = true;
    if (error.code === 'HPE_CLOSED_CONNECTION') return void (connection.open.size === 0 && socket.destroy());
    if (reason === 'request_timeout' && connection.isSilent) return connection.close();
    new MalformedExchange(this.context, connection, this.context.snapshots.current).refuse(
      reason,
      error.code,
    );
  }

  #sweep(): void {
    const snapshot = this.context.snapshots.current;
    if (snapshot !== undefined) this.live.sweep(snapshot);
  }
}

function addressOf(socket: Socket): string {
  const address = socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
