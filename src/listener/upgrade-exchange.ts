import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { rewriteUpgradeHeaders } from '../message/rewrite-request.js';
import { rewriteResponseHeaders } from '../message/rewrite-response.js';
import { type Failure, meaningOf, type Reason, type Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { answerOnSocket } from './answer.js';
import type { Connection, OpenExchange } from './connection.js';
import type { ListenerContext } from './context.js';
import { EngineWatch } from './engine-watch.js';
import { Exchange } from './exchange.js';
import { isRouteAsked } from './external-question.js';
import { type Admitted, admit, isAdmitted, isPending, type Pending, rewriteContext } from './pipeline.js';
import type { ForwardCall, UpgradeHandler } from './ports.js';

const MAX_REFUSAL_BYTES = 64 * 1024;

/** A WebSocket: the same admission as any request, then a tunnel that is ended the moment its access is. */
export class UpgradeExchange extends Exchange implements UpgradeHandler, OpenExchange {
  #call: ForwardCall | undefined;
  #open = false;
  /** The client was told of the tunnel. */
  #begun = false;
  #tunnelIdleMs = 3_600_000;
  #movedAtMs = 0;
  #movedBytes = 0;
  /** What an external engine once allowed is asked about again. */
  readonly #watch = new EngineWatch();
  /** By then the client has taken an answer that is no tunnel (a tick). */
  #takenByMs = Number.POSITIVE_INFINITY;
  readonly #readBefore: number;
  readonly #writtenBefore: number;

  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    readonly request: IncomingMessage,
    readonly socket: TLSSocket,
    readonly first: Buffer,
  ) {
    super(listener, connection, snapshot, request.method, request.url);
    this.#readBefore = socket.bytesRead;
    this.#writtenBefore = socket.bytesWritten;
    connection.open.add(this);
    connection.requests++;
    connection.closing = true; // no HTTP follows on this connection
    socket.once('close', () => this.connectionClosed());
    socket.on('error', () => socket.destroy());
  }

  get longLived(): boolean {
    return true;
  }

  run(): void {
    try {
      const answer = admit(this, this.request);
      if (isPending(answer)) void this.#askFirst(answer);
      else this.#goOn(answer);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /** What the client sends meanwhile stays in its socket. */
  async #askFirst(pending: Pending): Promise<void> {
    try {
      const answer = await this.ask(pending, false);
      if (this.reason !== undefined || this.socket.destroyed) return;
      this.#watch.answered(answer, this.snapshot!, performance.now());
      this.#goOn(this.admitAnswered(pending, answer));
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #goOn(answer: Admitted | Refusal): void {
    if (!isAdmitted(answer)) return this.refuse(answer.reason, answer.detail);
    // The parser hands the socket over for HTTP/1.0 too, where Upgrade means nothing (RFC 9110 7.8) and was not judged.
    if (this.head?.upgrade === undefined) {
      this.permit = undefined;
      return this.refuse('upgrade_refused', 'not an upgrade of HTTP/1.1');
    }
    this.#openTunnel(answer);
  }

  #openTunnel(answer: Admitted): void {
    const { config } = answer.snapshot;
    const rewritten = rewriteUpgradeHeaders(this.head!, rewriteContext(this, answer));
    this.traceId = rewritten.traceId;
    this.#tunnelIdleMs = answer.route.deadlines?.tunnelIdleMs ?? config.deadlines.tunnelIdleMs;
    const { target } = this.head!;
    this.#call = this.listener.upstream.upgrade(
      answer.permit,
      {
        target: target.path + target.query,
        authority: target.authority,
        headers: rewritten.headers,
        socket: this.socket,
        head: this.first,
      },
      this,
    );
  }

  #fail(cause: unknown): void {
    this.listener.diagnostics.error({ err: cause, id: this.id }, 'an upgrade failed inside the proxy');
    this.refuse('internal_error');
  }

  /** A tunnel that waited for its connection is judged again: what is true now decides. */
  mayBegin(): boolean {
    if (this.reason !== undefined) return false;
    const refusal = this.judgeAgain();
    if (refusal !== undefined) this.refuse(refusal.reason, refusal.detail);
    return refusal === undefined;
  }

  fieldsToClient(rawHeaders: readonly string[]): readonly string[] | undefined {
    const rewritten = rewriteResponseHeaders(rawHeaders, { plan: this.snapshot!.forwardPlan });
    return rewritten.ok
      ? [...rewritten.value.headers, 'connection', 'Upgrade', 'upgrade', 'websocket']
      : undefined;
  }

  onOpen(begin: () => void): void {
    this.#open = true;
    this.status = 101;
    this.upstreamMs = performance.now() - this.startedMs;
    this.#movedAtMs = performance.now();
    const tell = (): void => {
      this.#begun = true;
      begin();
    };
    this.recordStart(tell, () => this.#reset());
  }

  #reset(): void {
    this.#call?.abort();
    this.connection.reset();
  }

  /** An answer that is no tunnel, once its record is kept. */
  #answer(send: () => void): void {
    if (this.isRecordedFirst) this.recordFirst(send, () => this.#reset());
    else send();
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
    this.#answer(() => this.#write(status, headers, body));
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

  onFailure(failure: Failure): void {
    this.refuse(failure.code, failure.message);
  }

  onClose(): void {
    this.socket.destroySoon();
  }

  override refuse(reason: Reason, detail = ''): void {
    this.setRefusal(reason, detail);
    this.stopAsking();
    this.outcome = this.permit === undefined ? 'refused' : 'upstream_failed';
    this.status = meaningOf(reason).status;
    this.#call?.abort();
    this.#answer(() => answerOnSocket(this.socket, reason, this.id, this.refusalHeaders));
  }

  cut(reason: Reason): void {
    this.setRefusal(reason, '');
    this.outcome = reason === 'deadline_exceeded' ? 'deadline_exceeded' : 'access_ended';
    this.#call?.abort();
    this.socket.destroy();
  }

  limitTo(): void {
    this.cut('access_ended');
  }

  sweep(tickMs: number): void {
    if (!this.#open) {
      if (tickMs >= this.#takenByMs) this.cut('deadline_exceeded');
      return;
    }
    this.#lookToEngine(tickMs);
    const moved = this.socket.bytesRead + this.socket.bytesWritten;
    if (moved !== this.#movedBytes) {
      this.#movedBytes = moved;
      this.#movedAtMs = tickMs;
    } else if (tickMs - this.#movedAtMs >= this.#tunnelIdleMs) this.cut('deadline_exceeded');
  }

  #lookToEngine(tickMs: number): void {
    const { permit, route, connection } = this;
    const snapshot = this.listener.snapshots.current;
    if (snapshot?.config.externalDecision === undefined || permit === undefined || route === undefined)
      return;
    if (connection.credential?.svid === undefined) return; // its end is under way
    if (!isRouteAsked(snapshot, route) || !this.#watch.isDue(tickMs, snapshot)) return;
    const asks = { ...permit.request, nowMs: this.listener.clock.nowMs() };
    void this.#askAgain({ asks, route, snapshot });
  }

  async #askAgain(pending: Pending): Promise<void> {
    try {
      const answer = await this.ask(pending, true);
      const over = this.#watch.answered(answer, pending.snapshot, performance.now());
      if (over !== undefined && this.reason === undefined && !this.socket.destroyed) this.cut(over);
    } catch (cause) {
      this.listener.diagnostics.error({ err: cause, id: this.id }, 'a tunnel could not be asked about');
      this.cut('internal_error');
    }
  }

  connectionClosed(): void {
    this.stopAsking();
    if (this.#open) {
      this.requestBytes = this.socket.bytesRead - this.#readBefore;
      this.responseBytes = this.socket.bytesWritten - this.#writtenBefore;
    }
    if (
      this.reason === undefined &&
      !this.#begun &&
      (this.#open || this.status === 0 || !this.socket.writableFinished)
    ) {
      this.outcome = 'client_aborted';
      this.setRefusal('client_aborted', '');
    }
    this.#call?.abort();
    this.finish();
  }
}
