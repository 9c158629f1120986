import type { IncomingMessage, ServerResponse } from 'node:http';
import { formatProblem } from '../message/problem.js';
import { rewriteRequest } from '../message/rewrite-request.js';
import { rewriteResponseHeaders } from '../message/rewrite-response.js';
import { Failure, type Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection, OpenExchange } from './connection.js';
import type { ListenerContext } from './context.js';
import { Exchange } from './exchange.js';
import { type Admitted, admit, isAdmitted, rewriteContext } from './pipeline.js';
import type { ForwardCall, ForwardHandler } from './ports.js';
import { ProgressWatch } from './progress-watch.js';
import { RequestBody } from './request-body.js';

/** A refused request's body is read and thrown away up to here, so that the answer is not lost to a reset; then the connection goes. */
const LINGER_BYTES = 256 * 1024;
const LINGER_MS = 1000;
/** Bodies up to this size are sent together with their head. */
const MAX_INLINE_BYTES = 8192;

const exchangeOf = Symbol('exchange');
type Response = ServerResponse & { [exchangeOf]?: HttpExchange };

/** One HTTP/1.1 request and its answer. */
export class HttpExchange extends Exchange implements ForwardHandler, OpenExchange {
  readonly longLived = false;
  readonly #request: IncomingMessage;
  readonly #response: Response;
  #body: RequestBody | undefined;
  #call: ForwardCall | undefined;
  #held: Buffer | undefined;
  #contentLength: number | undefined;
  #forwardedMs = 0;
  /** Set once it is forwarded. */
  #progress: ProgressWatch | undefined;
  #awaitsDrain = false;
  #lingerUntilMs = 0;
  #cutAtMs = Number.POSITIVE_INFINITY;
  #done = false;

  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    super(listener, connection, snapshot, request.method, request.url);
    this.#request = request;
    this.#response = response;
    this.#response[exchangeOf] = this;
    response.on('close', onResponseClose);
    connection.open.add(this);
    connection.requests++;
  }

  /** Runs the pipeline. `expectsContinue`: the client waits for a 100 before it sends its body (RFC 9110 10.1.1). */
  run(expectsContinue: boolean): void {
    try {
      const answer = admit(this, this.#request);
      if (!isAdmitted(answer)) return this.refuse(answer.reason, answer.detail);
      if (this.head?.maxForwards === 0) return this.#answerAsFinalRecipient();
      if (expectsContinue) this.#response.writeContinue();
      this.#forward(answer);
    } catch (cause) {
      this.listener.diagnostics.error({ err: cause, id: this.id }, 'a request failed inside the proxy');
      this.refuse('internal_error');
    }
  }

  #forward(admitted: Admitted): void {
    const head = this.head!;
    const { config } = admitted.snapshot;
    const { route, permit } = admitted;
    const rewritten = rewriteRequest(head, rewriteContext(this, admitted));
    this.traceId = rewritten.traceId;
    if (head.body.kind !== 'none') {
      this.#body = new RequestBody(this.#request, route.bodyBytes ?? config.limits.bodyBytes, (fault) =>
        this.#bodyFault(fault),
      );
    }
    this.#forwardedMs = performance.now();
    const upstream = config.upstreams.get(route.upstream);
    const firstByteMs =
      route.deadlines?.upstreamFirstByteMs ??
      upstream?.timeouts.responseMs ??
      config.deadlines.upstreamFirstByteMs;
    this.#progress = new ProgressWatch(
      this.startedMs,
      route.deadlines?.bodyMs ?? config.deadlines.bodyMs,
      firstByteMs,
    );
    const { target } = head;
    this.#call = this.listener.upstream.forward(
      permit,
      {
        method: head.method,
        target: target.query === '' ? target.path : target.path + target.query,
        authority: target.authority,
        headers: rewritten.headers,
        body: this.#body,
        bodyLength: head.body.kind === 'length' ? head.body.length : undefined,
      },
      this,
    );
  }

  // --- the upstream's answer -------------------------------------------------------------------------------------------

  /** A request that waited for a connection, or is sent again, is judged again: what is true now decides. */
  mayBegin(): boolean {
    if (this.#done) return false;
    const { connection, listener } = this;
    const snapshot = listener.snapshots.current;
    const nowMs = listener.clock.nowMs();
    const refusal =
      snapshot === undefined
        ? { reason: 'not_ready' as const, detail: '' }
        : connection.judge(snapshot, nowMs);
    if (refusal !== undefined) this.refuse(refusal.reason, refusal.detail);
    else if (snapshot !== this.snapshot && !this.isStillAllowed(snapshot!, nowMs))
      this.refuse('policy_denied');
    return !this.#done;
  }

  onEarlyHints(rawHeaders: readonly string[]): void {
    const links = linksOf(rawHeaders);
    try {
      if (links.length > 0 && !this.#response.headersSent && this.head?.httpVersion === '1.1') {
        this.#response.writeEarlyHints({ link: links });
      }
    } catch {
      // A Link that Node will not write is a hint that is not given.
    }
  }

  onHead(status: number, rawHeaders: readonly string[]): boolean {
    if (this.#done) return true;
    this.upstreamMs = performance.now() - this.#forwardedMs;
    const rewritten = rewriteResponseHeaders(rawHeaders, { plan: this.snapshot!.forwardPlan });
    if (!rewritten.ok) {
      this.#call?.abort();
      this.refuse('upstream_malformed', rewritten.error);
      return true;
    }
    const { headers, contentLength } = rewritten.value;
    this.status = status;
    this.#contentLength = this.head?.method === 'HEAD' || status === 304 ? undefined : contentLength;
    if (contentLength !== undefined && status !== 204) headers.push('content-length', String(contentLength)); // RFC 9110 8.6
    if (this.#mustClose()) {
      headers.push('connection', 'close');
      this.connection.endAfterAnswer();
    }
    this.#response.writeHead(status, headers);
    if (this.#contentLength === undefined && this.head?.method !== 'HEAD') this.#response.flushHeaders();
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (this.#done) return true;
    this.responseBytes += chunk.length;
    if (this.#contentLength === chunk.length) {
      this.#held = chunk; // whole body in one piece: goes out with its head
      return true;
    }
    if (this.#response.write(chunk)) return true;
    if (!this.#awaitsDrain) {
      this.#awaitsDrain = true;
      this.#progress?.clientStalls();
      this.#response.once('drain', () => {
        this.#awaitsDrain = false;
        this.#progress?.clientMoves();
        this.#call?.resume();
      });
    }
    return false;
  }

  onEnd(): void {
    if (this.#done) return;
    this.#progress?.clientStalls(); // until all is out
    const held = this.#held;
    // As latin1 text a small body goes out in one piece with its head: one buffer, one write, one TLS record.
    this.#end(
      held !== undefined && held.length <= MAX_INLINE_BYTES ? held.toString('latin1') : held,
      'latin1',
    );
  }

  onFailure(failure: Failure): void {
    if (this.#done) return;
    if (!this.#response.headersSent) return this.refuse(failure.code, failure.message);
    this.outcome = 'upstream_cut_short';
    this.setRefusal(failure.code, failure.message);
    this.#destroy(); // a message cut short is a reset, never a clean end (RFC 9112 8)
  }

  /** The answer is whole; what is left of an unread request body is thrown away or ends the connection. */
  #end(last: Buffer | string | undefined, encoding: BufferEncoding = 'utf8'): void {
    this.#done = true;
    if (this.#request.complete || this.head?.body.kind === 'none') this.#response.end(last, encoding);
    else this.#linger(last, encoding);
  }

  // --- our own answers and ends ----------------------------------------------------------------------------------------

  override refuse(reason: Reason, detail = ''): void {
    if (this.#done) return;
    this.setRefusal(reason, detail);
    this.#call?.abort();
    // A permit that nothing was sent under is taken back: `allow` in a record means that the upstream may have seen it.
    if (this.#call?.hasBegun !== true && !reason.startsWith('upstream_')) this.permit = undefined;
    this.outcome = this.#outcomeOf(reason);
    const problem = formatProblem(reason, this.id);
    if (problem.status === 0 || this.#response.headersSent) return this.#destroy();
    this.status = problem.status;
    const unread = !this.#request.complete && this.head?.body.kind !== 'none';
    const headers = [...problem.headers, 'content-length', String(Buffer.byteLength(problem.body))];
    if (problem.close || unread || this.#mustClose()) {
      headers.push('connection', 'close');
      this.connection.endAfterAnswer();
    }
    this.#response.writeHead(problem.status, headers);
    const body = this.#request.method === 'HEAD' ? undefined : problem.body;
    this.responseBytes = body === undefined ? 0 : Buffer.byteLength(body);
    this.#end(body);
  }

  #outcomeOf(reason: Reason): 'upstream_failed' | 'client_aborted' | 'refused' {
    if (reason === 'client_aborted') return reason;
    return reason.startsWith('upstream_') ? 'upstream_failed' : 'refused';
  }

  /** Max-Forwards: 0 (RFC 9110 7.6.2): allowed by policy, and this proxy is the last to answer. */
  #answerAsFinalRecipient(): void {
    this.status = 204;
    this.#response.writeHead(204, this.#mustClose() ? ['connection', 'close'] : []);
    this.#end(undefined);
  }

  /** Sends the answer whole but leaves the message open while the client may still be sending; else our close resets it. */
  #linger(last: Buffer | string | undefined, encoding: BufferEncoding): void {
    if (last === undefined) this.#response.flushHeaders();
    else this.#response.write(last, encoding);
    // A refusal is whole now: the client is told at once that no more is taken.
    if (this.reason !== undefined && this.connection.closing) this.connection.socket.end();
    this.#lingerUntilMs = performance.now() + LINGER_MS;
    let dropped = 0;
    const end = (): void => {
      this.#lingerUntilMs = 0;
      this.#response.end();
    };
    this.#request.on('data', (chunk: Buffer) => {
      dropped += chunk.length;
      if (dropped > LINGER_BYTES) end();
    });
    this.#request.once('end', end);
    this.#request.once('close', end);
    this.#request.resume();
  }

  #mustClose(): boolean {
    const { connection, listener, snapshot } = this;
    if (listener.draining || connection.refusal !== undefined || connection.terminatedBy !== undefined)
      return true;
    if (connection.closing && connection.turns.size === 0) return true;
    if (snapshot === undefined) return true;
    const { limits, deadlines } = snapshot.config;
    return (
      (limits.requestsPerConnection > 0 && connection.requests >= limits.requestsPerConnection) ||
      this.startedMs - connection.openedTickMs >= deadlines.connectionAgeMs
    );
  }

  #bodyFault(fault: 'body_too_large' | 'client_aborted'): void {
    this.refuse(fault);
  }

  cut(reason: Reason): void {
    if (this.#response.writableFinished) return;
    this.setRefusal(reason, '');
    this.outcome = reason === 'access_ended' ? 'access_ended' : 'deadline_exceeded';
    this.#call?.abort();
    this.#destroy();
  }

  #destroy(): void {
    this.#done = true;
    this.connection.endAfterAnswer();
    this.connection.reset();
  }

  limitTo(untilTickMs: number): void {
    this.#cutAtMs = Math.min(this.#cutAtMs, untilTickMs);
  }

  /** Its body has not arrived whole. */
  get isReceiving(): boolean {
    return !this.#request.complete;
  }

  sweep(tickMs: number): void {
    if (tickMs >= this.#cutAtMs) return this.cut('access_ended');
    if (this.#lingerUntilMs !== 0) {
      if (tickMs >= this.#lingerUntilMs) this.connection.socket.destroy(); // the answer is out: no reset behind it
      return;
    }
    const progress = this.#progress;
    if (progress === undefined || this.#response.writableFinished) return;
    if (progress.isClientTooSlow(tickMs)) return this.cut('deadline_exceeded');
    if (this.#done) return;
    const body = this.#body;
    if (body?.complete === false && progress.isBodyTooSlow(tickMs, body.bytes)) {
      return body.isFull
        ? this.refuse('upstream_timeout', 'the upstream took the body too slowly')
        : this.refuse('request_timeout', 'the body came too slowly');
    }
    if (progress.isUpstreamSilent(tickMs, body?.complete !== false, this.status !== 0, this.responseBytes)) {
      this.#call?.abort();
      this.onFailure(new Failure('upstream_timeout', 'the upstream was silent'));
    }
  }

  /** The response is out, or its connection is gone. */
  connectionClosed(): void {
    this.requestBytes = this.#body?.bytes ?? 0;
    if (!this.#response.writableFinished) {
      if (this.reason === undefined) {
        this.outcome = 'client_aborted';
        this.setRefusal('client_aborted', '');
      }
      if (this.#call?.hasBegun !== true) this.permit = undefined; // the upstream has seen nothing of it
      this.#call?.abort();
      this.#body?.destroy();
    }
    this.#done = true;
    this.finish();
  }
}

function linksOf(rawHeaders: readonly string[]): string[] {
  const links: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === 'link') links.push(rawHeaders[i + 1]!);
  }
  return links;
}

function onResponseClose(this: Response): void {
  this[exchangeOf]?.connectionClosed();
}
