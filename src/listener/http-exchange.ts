import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Outcome } from '../audit/record.js';
import { formatProblem } from '../message/problem.js';
import { rewriteResponseHeaders } from '../message/rewrite-response.js';
import { Failure, type Reason, type Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { type AnswerSender, AnswerStream } from './answer-stream.js';
import type { Connection, OpenExchange } from './connection.js';
import type { ListenerContext } from './context.js';
import { passEarlyHints } from './early-hints.js';
import { Exchange } from './exchange.js';
import {
  type Admitted,
  admit,
  firstByteMsOf,
  forwardRequest,
  isAdmitted,
  isPending,
  outgoingHeaders,
  type Pending,
} from './pipeline.js';
import type { ForwardCall, ForwardHandler } from './ports.js';
import { ProgressWatch } from './progress-watch.js';
import { RequestBody } from './request-body.js';

const exchangeOf = Symbol('exchange');
type Response = ServerResponse & { [exchangeOf]?: HttpExchange };

/** One HTTP/1.1 request and its answer. */
export class HttpExchange extends Exchange implements ForwardHandler, AnswerSender, OpenExchange {
  readonly longLived = false;
  readonly #request: IncomingMessage;
  readonly #response: Response;
  readonly #answer: AnswerStream;
  #body: RequestBody | undefined;
  #call: ForwardCall | undefined;
  #forwardedMs = 0;
  /** Set once it is forwarded. */
  #progress: ProgressWatch | undefined;
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
    this.#answer = new AnswerStream(request, response, this);
    this.#response[exchangeOf] = this;
    response.on('close', onResponseClose);
    connection.open.add(this);
    connection.requests++;
  }

  /** Runs the pipeline. `expectsContinue`: the client waits for a 100 before it sends its body (RFC 9110 10.1.1). */
  run(expectsContinue: boolean): void {
    try {
      const answer = admit(this, this.#request);
      if (isPending(answer)) void this.#askFirst(answer, expectsContinue);
      else this.#goOn(answer, expectsContinue);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /** Meanwhile nothing of the body is read, no 100 is sent, and what is pipelined behind waits. */
  async #askFirst(pending: Pending, expectsContinue: boolean): Promise<void> {
    try {
      const answer = await this.ask(pending, false);
      if (!this.#done) this.#goOn(this.admitAnswered(pending, answer), expectsContinue);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #goOn(answer: Admitted | Refusal, expectsContinue: boolean): void {
    if (!isAdmitted(answer)) return this.refuse(answer.reason, answer.detail);
    if (this.head?.maxForwards === 0) return this.#answerAsFinalRecipient();
    if (expectsContinue) this.#response.writeContinue();
    this.#forward(answer);
  }

  #fail(cause: unknown): void {
    this.listener.diagnostics.error({ err: cause, id: this.id }, 'a request failed inside the proxy');
    this.refuse('internal_error');
  }

  #forward(admitted: Admitted): void {
    const head = this.head!;
    const { route, permit, snapshot } = admitted;
    const { limits, deadlines } = snapshot.config;
    const headers = outgoingHeaders(this, head, admitted);
    if (head.body.kind !== 'none') {
      const limit = route.bodyBytes ?? limits.bodyBytes;
      this.#body = new RequestBody(this.#request, limit, (fault) => this.refuse(fault));
    }
    const request = forwardRequest(head, headers, this.#body, route.deadlines?.upstreamConnectMs);
    this.#forwardedMs = performance.now();
    const bodyMs = route.deadlines?.bodyMs ?? deadlines.bodyMs;
    this.#progress = new ProgressWatch(this.startedMs, bodyMs, firstByteMsOf(admitted));
    this.#call = this.listener.upstream.forward(permit, request, this);
  }

  /** A request that waited for a connection, or is sent again, is judged again: what is true now decides. */
  mayBegin(): boolean {
    if (this.#done) return false;
    const refusal = this.judgeAgain();
    if (refusal !== undefined) this.refuse(refusal.reason, refusal.detail);
    return !this.#done;
  }

  onEarlyHints(rawHeaders: readonly string[]): void {
    if (this.head?.httpVersion === '1.1') passEarlyHints(this.#response, rawHeaders);
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
    if (contentLength !== undefined && status !== 204) headers.push('content-length', String(contentLength)); // RFC 9110 8.6
    headers.push(...this.limitHeaders());
    if (this.#mustClose()) {
      headers.push('connection', 'close');
      this.connection.endAfterAnswer();
    }
    const isBodiless = this.head?.method === 'HEAD' || status === 304 || status === 204;
    const length = isBodiless ? undefined : contentLength; // else it tells of a body that does not come
    this.#answer.begin(status, headers, length, this.isRecordedFirst);
    if (length === undefined && !isBodiless) this.#response.flushHeaders();
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (this.#done) return true;
    this.responseBytes += chunk.length;
    return this.#answer.write(chunk);
  }

  clientStalls(): void {
    this.#progress?.clientStalls();
  }

  clientMoves(): void {
    this.#progress?.clientMoves();
    this.#call?.resume();
  }

  onTrailers(): void {
    // HTTP/1.1 clients get none
  }

  onEnd(): void {
    if (!this.#done) this.#end();
  }

  onFailure(failure: Failure): void {
    if (this.#done) return;
    if (!this.#response.headersSent) return this.refuse(failure.code, failure.message);
    this.outcome = 'upstream_cut_short';
    this.setRefusal(failure.code, failure.message);
    this.#destroy(); // a message cut short is a reset, never a clean end (RFC 9112 8)
  }

  /** The answer is whole. */
  #end(text?: string): void {
    this.#done = true;
    if (!this.isRecordedFirst) return this.#send(text);
    this.requestBytes = this.#body?.bytes ?? 0;
    this.recordFirst(
      () => this.#send(text),
      () => this.#destroy(),
    );
  }

  /** What is left of an unread request body is thrown away or ends the connection. */
  #send(text: string | undefined): void {
    if (this.outcome === 'complete') this.#progress?.clientStalls(); // until all is out
    this.#answer.end(this.#isUnread, text);
    // A refusal is whole now: the client is told at once that no more is taken.
    if (this.#answer.lingering !== undefined && this.reason !== undefined && this.connection.closing)
      this.connection.socket.end();
  }

  /** More of its body may come. */
  get #isUnread(): boolean {
    return !this.#request.complete && this.head?.body.kind !== 'none';
  }

  override refuse(reason: Reason, detail = ''): void {
    if (this.#done) return;
    this.setRefusal(reason, detail);
    this.stopAsking();
    this.#call?.abort();
    // A permit that nothing was sent under is taken back: `allow` in a record means that the upstream may have seen it.
    if (this.#call?.hasBegun !== true && !reason.startsWith('upstream_')) this.permit = undefined;
    this.outcome = outcomeOf(reason);
    const problem = formatProblem(reason, this.id, this.refusalHeaders);
    if (problem.status === 0 || this.#response.headersSent) return this.#destroy();
    this.status = problem.status;
    const headers = [...problem.headers, 'content-length', String(Buffer.byteLength(problem.body))];
    if (problem.close || this.#isUnread || this.#mustClose()) {
      headers.push('connection', 'close');
      this.connection.endAfterAnswer();
    } else if (this.holdBackMs > 0) this.connection.holdBack(this.holdBackMs);
    this.#answer.begin(problem.status, headers);
    const body = this.#request.method === 'HEAD' ? undefined : problem.body;
    this.responseBytes = body === undefined ? 0 : Buffer.byteLength(body);
    this.#end(body);
  }

  /** Max-Forwards: 0 (RFC 9110 7.6.2): allowed by policy, and this proxy is the last to answer. */
  #answerAsFinalRecipient(): void {
    this.status = 204;
    this.#answer.begin(204, this.#mustClose() ? ['connection', 'close'] : []);
    this.#end();
  }

  #mustClose(): boolean {
    return this.listener.draining || this.connection.endsWith(this.startedMs, this.snapshot);
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
    const { lingering } = this.#answer;
    if (lingering?.isUnderWay === true) {
      if (lingering.isOver(tickMs)) this.connection.socket.destroy(); // the answer is out: no reset behind it
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
      const silence = new Failure('upstream_timeout', 'the upstream was silent');
      this.#call?.abort(silence);
      this.onFailure(silence);
    }
  }

  /** The response is out, or its connection is gone. */
  connectionClosed(): void {
    this.stopAsking();
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

function outcomeOf(reason: Reason): Outcome {
  if (reason === 'client_aborted') return reason;
  return reason.startsWith('upstream_') ? 'upstream_failed' : 'refused';
}

function onResponseClose(this: Response): void {
  this[exchangeOf]?.connectionClosed();
}
