import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { answerOnSocket } from './answer.js';
import { onClientError, refuseInTurn } from './client-fault.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { HttpExchange } from './http-exchange.js';
import { HttpVersionReader } from './http-version.js';
import { Http1Message } from './http1-message.js';
import { Http2Acceptor } from './http2-acceptor.js';
import { RequestTurn } from './pipelined-turns.js';
import type { Protocol } from './protocol.js';
import { UpgradeExchange } from './upgrade-exchange.js';

const connectionOf = Symbol('connection');
type Peer = TLSSocket & { [connectionOf]?: Connection };

/** HTTP/1.1 and HTTP/2 on connections that somebody else accepts. */
export class HttpProtocol implements Protocol {
  readonly alpn: readonly string[];
  readonly #server: Server;
  readonly #http2: Http2Acceptor | undefined;

  constructor(
    readonly context: ListenerContext,
    { config: { deadlines, limits, listeners } }: Snapshot,
  ) {
    const takesHttp2 = listeners.find(({ name }) => name === context.name)?.http2 !== false;
    this.alpn = takesHttp2 ? ['h2', 'http/1.1'] : ['http/1.1'];
    if (takesHttp2) this.#http2 = new Http2Acceptor(context, limits);
    const server = createServer({
      maxHeaderSize: limits.headerBytes,
      headersTimeout: deadlines.headMs,
      requestTimeout: 0, // bodies have their own deadline, by route
      keepAliveTimeout: 0, // idle connections are closed by the sweep
      connectionsCheckingInterval: Math.max(50, Math.min(1000, deadlines.headMs / 4)),
      requireHostHeader: false, // checked, with a reason and a record, by parseRequestHead
    });
    server.maxHeadersCount = 0; // Node would drop the rest silently; limits.headerCount refuses instead
    server.timeout = 0;
    server.on('clientError', (error: Error, socket) =>
      onClientError(context, (socket as Peer)[connectionOf], socket as Peer, error),
    );
    server.on('request', (request, response) => this.#onRequest(request, response, false));
    server.on('checkContinue', (request, response) => this.#onRequest(request, response, true));
    server.on('checkExpectation', (request, response) => this.#onRequest(request, response, false));
    server.on('upgrade', (request, stream, head: Buffer) => this.#onUpgrade(request, stream, head));
    server.on('connect', (request, stream, head: Buffer) => this.#onUpgrade(request, stream, head));
    server.emit('listening'); // it never does, and would not watch over the deadline of heads otherwise
    this.#server = server;
  }

  take(connection: Connection): void {
    const socket = connection.socket as Peer;
    const http2 = this.#http2;
    if (http2 !== undefined && connection.direction === 'outbound') this.#tellApart(connection, http2);
    else if (http2 !== undefined && socket.alpnProtocol === 'h2') http2.take(connection);
    else this.#takeHttp1(connection);
  }

  #takeHttp1(connection: Connection): void {
    const socket = connection.socket as Peer;
    socket[connectionOf] = connection;
    this.#server.emit('connection', socket);
  }

  /** In plaintext, HTTP/2 is what begins like it: nothing else settles it (RFC 9113 3.3). */
  #tellApart(connection: Connection, http2: Http2Acceptor): void {
    const { context } = this;
    const socket = connection.socket as Peer;
    const headMs = context.snapshots.current?.config.deadlines.headMs ?? 0;
    new HttpVersionReader(socket, headMs, {
      onHttp2: () => http2.take(connection),
      onHttp1: () => {
        this.#takeHttp1(connection);
        socket.resume();
      },
      onNothing: (code) =>
        onClientError(context, connection, socket, Object.assign(new Error('no request'), { code })),
    });
  }

  turnAway({ socket, id }: Connection, reason: Reason): void {
    if ((socket as Peer).alpnProtocol !== 'h2') answerOnSocket(socket, reason, id); // GOAWAY is its answer
  }

  close(): void {
    this.#server.close(() => undefined);
    this.#http2?.close();
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
    const message = new Http1Message(request, response);
    new HttpExchange(context, connection, context.snapshots.current, message).run(expectsContinue);
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
    const { snapshots } = this.context;
    new UpgradeExchange(this.context, connection, snapshots.current, request, head).run(request);
  }
}

/** With the socket Node hands over its own ears: the answer in front would never hear that there is room for more. */
function keepFlowing(socket: TLSSocket & { _httpMessage?: ServerResponse | null }): void {
  socket.on('error', () => socket.destroy());
  socket.on('drain', () => {
    if (!socket.writableNeedDrain) socket._httpMessage?.emit('drain');
  });
}
