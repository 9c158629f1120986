import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Readable } from 'node:stream';
import { rewriteUpgradeHeaders } from '../message/rewrite-request.js';
import { rewriteResponseHeaders } from '../message/rewrite-response.js';
import { meaningOf, type Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { answerOnSocket } from './answer.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { type Admitted, admit, rewriteContext } from './pipeline.js';
import type { UpgradeHandler } from './ports.js';
import { TunnelExchange } from './tunnel-exchange.js';

const MAX_REFUSAL_BYTES = 64 * 1024;

/** A WebSocket: a request that becomes a tunnel when the upstream says so. */
export class UpgradeExchange extends TunnelExchange implements UpgradeHandler {
  /** What the client sent behind its head; until it is passed on. */
  #first: Buffer | undefined;
  /** By then the client has taken an answer that is no tunnel (a tick). */
  #takenByMs = Number.POSITIVE_INFINITY;

  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    request: IncomingMessage,
    first: Buffer,
  ) {
    super(listener, connection, snapshot, request.method, request.url);
    this.#first = first;
  }

  run(request: IncomingMessage): void {
    this.runWith(() => admit(this, request));
  }

  protected openTunnel(answer: Admitted): void {
    // The parser hands the socket over for HTTP/1.0 too, where Upgrade means nothing (RFC 9110 7.8) and was not judged.
    if (this.head?.upgrade === undefined) {
      this.permit = undefined;
      return this.refuse('upgrade_refused', 'not an upgrade of HTTP/1.1');
    }
    if (answer.snapshot.config.upstreams.get(answer.route.upstream)?.protocol === 'http2') {
      this.permit = undefined;
      return this.refuse('upgrade_refused', `${answer.route.upstream} speaks HTTP/2 alone`);
    }
    const rewritten = rewriteUpgradeHeaders(this.head, rewriteContext(this, answer));
    this.traceId = rewritten.traceId;
    const { target } = this.head;
    const first = this.#first ?? Buffer.alloc(0);
    this.#first = undefined;
    const connectMs = answer.route.deadlines?.upstreamConnectMs;
    this.call = this.listener.upstream.upgrade(
      answer.permit,
      {
        target: target.path + target.query,
        authority: target.authority,
        headers: rewritten.headers,
        socket: this.socket,
        head: first,
        ...(connectMs === undefined ? {} : { connectMs }),
      },
      this,
    );
  }

  fieldsToClient(rawHeaders: readonly string[]): readonly string[] | undefined {
    const rewritten = rewriteResponseHeaders(rawHeaders, { plan: this.snapshot!.forwardPlan });
    return rewritten.ok
      ? [...rewritten.value.headers, 'connection', 'Upgrade', 'upgrade', 'websocket']
      : undefined;
  }

  override onOpen(begin: () => void): void {
    this.status = 101;
    super.onOpen(begin);
  }

  /** Relays an answer that is no upgrade, with framing of our own, and closes: nothing after it is piped (P089). */
  onRefused(
    status: number,
    rawHeaders: readonly string[],
    body: Readable & { readonly complete: boolean },
  ): void {
    const rewritten = rewriteResponseHeaders(rawHeaders, { plan: this.snapshot!.forwardPlan });
    if (!rewritten.ok) {
      body.destroy();
      return this.refuse('upstream_malformed', rewritten.error);
    }
    const chunks: Buffer[] = [];
    let size = 0;
    body.on('data', (chunk: Buffer) => {
      if (this.reason !== undefined) return;
      size += chunk.length;
      if (size > MAX_REFUSAL_BYTES) this.refuse('upstream_malformed', `more than ${MAX_REFUSAL_BYTES} bytes`);
      else chunks.push(chunk);
    });
    body.once('close', () => {
      if (this.reason !== undefined) return;
      // with framing of our own, what was cut short would look whole (RFC 9112 8)
      if (!body.complete) this.refuse('upstream_reset', 'its answer to the upgrade was cut short');
      else this.#relay(status, rewritten.value.headers, Buffer.concat(chunks));
    });
  }

  #relay(status: number, headers: readonly string[], body: Buffer): void {
    this.status = status;
    this.responseBytes = body.length;
    this.#takenByMs = performance.now() + this.snapshot!.config.deadlines.bodyMs;
    this.answer(() => this.#write(status, headers, body));
  }

  #write(status: number, headers: readonly string[], body: Buffer): void {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
    for (let i = 0; i < headers.length; i += 2) {
      if (headers[i]!.toLowerCase() !== 'content-length') head += `${headers[i]}: ${headers[i + 1]}\r\n`;
    }
    this.socket.write(
      Buffer.from(`${head}content-length: ${body.length}\r\nconnection: close\r\n\r\n`, 'latin1'),
    );
    this.socket.end(body);
    this.socket.destroySoon();
  }

  override refuse(reason: Reason, detail = ''): void {
    this.withdraw(reason, detail);
    this.status = meaningOf(reason).status;
    this.answer(() => answerOnSocket(this.socket, reason, this.id, this.refusalHeaders));
  }

  override sweep(tickMs: number): void {
    if (!this.isOpen && tickMs >= this.#takenByMs) return this.cut('deadline_exceeded');
    super.sweep(tickMs);
  }

  protected override get isAbandoned(): boolean {
    return super.isAbandoned && (this.isOpen || this.status === 0 || !this.socket.writableFinished);
  }
}
