import type { Outcome } from '../audit/record.js';
import { formatGrpcProblem, grpcStatusOf, grpcTrailers, readGrpcStatus } from '../message/grpc.js';
import { formatProblem } from '../message/problem.js';
import { rewriteResponseHeaders, rewriteResponseTrailers } from '../message/rewrite-response.js';
import { Failure, meaningOf, type Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { AdmittedExchange } from './admitted-exchange.js';
import type { AnswerSender, ClientMessage } from './client-message.js';
import type { Connection, OpenExchange } from './connection.js';
import type { ListenerContext } from './context.js';
import { HttpDeadlines, type Overdue, type Standing } from './http-deadlines.js';
import { callWatchOf, isEventStream, longWatchOf } from './long-exchange.js';
import { type Admitted, admit, firstByteMsOf, forwardRequest, outgoingHeaders } from './pipeline.js';
import type { ForwardCall, ForwardHandler } from './ports.js';
import { type BodyFault, RequestBody } from './request-body.js';

/** Open for so long it gets a record of its start. */
const START_RECORD_MS = 1000;

/** One HTTP request and its answer, whatever version carries them. */
export class HttpExchange extends AdmittedExchange implements ForwardHandler, AnswerSender, OpenExchange {
  readonly #client: ClientMessage;
  #body: RequestBody | undefined;
  #call: ForwardCall | undefined;
  #forwardedMs = 0;
  #takenBytes = 0;
  #admitted: Admitted | undefined;
  readonly #deadlines = new HttpDeadlines(this.startedMs);
  #expectsContinue = false;
  #done = false;

  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    client: ClientMessage,
  ) {
    super(listener, connection, snapshot, client.request.method, client.request.url);
    this.#client = client;
    client.attach(this);
    connection.open.add(this);
    connection.requests++;
  }

  /** Its access ends it at once. */
  get longLived(): boolean {
    return this.#deadlines.isLong;
  }

  protected override get isUnderWay(): boolean {
    return this.#call?.hasBegun === true && !this.longLived;
  }

  protected get isOver(): boolean {
    return this.#done;
  }

  /** Runs the pipeline. `expectsContinue`: the client waits for a 100 before it sends its body (RFC 9110 10.1.1). */
  run(expectsContinue: boolean): void {
    this.#expectsContinue = expectsContinue;
    this.runWith(() => admit(this, this.#client.request));
  }

  /** No 100 is sent before. */
  protected goOn(admitted: Admitted): void {
    if (this.head?.maxForwards === 0) return this.#answerAsFinalRecipient();
    if (this.#expectsContinue || (this.head?.httpVersion === '2' && this.head.expectsContinue))
      this.#client.sendContinue();
    this.#forward(admitted);
  }

  #forward(admitted: Admitted): void {
    const head = this.head!;
    const { route, permit, snapshot } = admitted;
    const { limits, deadlines } = snapshot.config;
    if (this.#client.isGrpc) {
      const long = callWatchOf(this.startedMs, head, admitted);
      if (long === undefined) return this.refuse('header_malformed', 'grpc-timeout');
      this.#deadlines.stayOpen(long);
    }
    const headers = outgoingHeaders(this, head, admitted);
    if (head.body.kind !== 'none') {
      const limit = route.bodyBytes ?? limits.bodyBytes;
      const declared = head.httpVersion === '2' && head.body.kind === 'length' ? head.body.length : undefined;
      this.#body = new RequestBody(this.#client, limit, (fault) => this.#broken(fault), declared);
    }
    const request = forwardRequest(head, headers, this.#body, route.deadlines?.upstreamConnectMs);
    this.#admitted = admitted;
    this.#forwardedMs = performance.now();
    const bodyMs = route.deadlines?.bodyMs ?? deadlines.bodyMs;
    this.#deadlines.forwarded(bodyMs, firstByteMsOf(admitted));
    this.#call = this.listener.upstream.forward(permit, request, this);
  }

  /** In HTTP/2 its end may also be ours to say: of frames that do not fit together. */
  #broken(fault: BodyFault): void {
    const isOurs = fault === 'client_aborted' && this.#client.brokeProtocol;
    this.refuse(isOurs ? 'framing_ambiguous' : fault);
  }

  onEarlyHints(rawHeaders: readonly string[]): void {
    this.#client.sendEarlyHints(rawHeaders);
  }

  onHead(status: number, rawHeaders: readonly string[]): boolean {
    if (this.#done) return true;
    this.upstreamMs = performance.now() - this.#forwardedMs;
    const rewritten = rewriteResponseHeaders(rawHeaders, {
      plan: this.snapshot!.forwardPlan,
      httpVersion: this.server?.httpVersion ?? '1.1',
    });
    if (!rewritten.ok) {
      this.#call?.abort();
      this.refuse('upstream_malformed', rewritten.error);
      return true;
    }
    const { headers, contentLength } = rewritten.value;
    this.status = status;
    if (contentLength !== undefined && status !== 204) headers.push('content-length', String(contentLength)); // RFC 9110 8.6
    headers.push(...this.limitHeaders());
    if (this.#mustClose()) this.#sayLast(headers);
    const isBodiless = this.head?.method === 'HEAD' || status === 304 || status === 204;
    if (this.#client.isGrpc) this.grpcStatus = readGrpcStatus(headers);
    else if (isEventStream(headers)) this.#deadlines.stayOpen(longWatchOf(this.startedMs, this.#admitted!));
    const length = isBodiless ? undefined : contentLength; // else it tells of a body that does not come
    // A call that ends with its head has its status there: nothing may come between head and end.
    this.#client.begin(status, headers, this.grpcStatus === undefined ? length : 0, this.isRecordedFirst);
    if (length === undefined && !isBodiless && this.grpcStatus === undefined) this.#client.flush();
    return true;
  }

  #sayLast(headers: string[]): void {
    this.#client.sayLast(headers);
    this.connection.endAfterAnswer();
  }

  onData(chunk: Buffer): boolean {
    if (this.#done) return true;
    this.responseBytes += chunk.length;
    return this.#client.write(chunk);
  }

  clientStalls(): void {
    this.#deadlines.clientStalls();
  }

  clientMoves(): void {
    this.#deadlines.clientMoves();
    this.#call?.resume();
  }

  onTrailers(rawTrailers: readonly string[]): void {
    if (this.#done || !this.#client.takesTrailers) return;
    const trailers = rewriteResponseTrailers(rawTrailers, this.snapshot!.forwardPlan);
    if (trailers === undefined) {
      this.#call?.abort();
      return this.onFailure(new Failure('upstream_malformed', 'malformed trailers'));
    }
    if (this.#client.isGrpc) this.grpcStatus = readGrpcStatus(trailers);
    this.#client.setTrailers(trailers);
  }

  onEnd(): void {
    if (!this.#done) this.#end();
  }

  onFailure(failure: Failure): void {
    if (this.#done) return;
    if (!this.#client.hasAnswered) return this.refuse(failure.code, failure.message);
    this.outcome = 'upstream_cut_short';
    this.setRefusal(failure.code, failure.message);
    if (!this.#endCall(failure.code)) this.#destroy(); // cut short is a reset, never a clean end (RFC 9112 8)
  }

  /** A gRPC call whose answer has begun ends with a status of ours behind it; false where that is not possible. */
  #endCall(reason: Reason): boolean {
    const client = this.#client;
    if (!client.isGrpc || client.isStalled || this.#done) return false;
    this.grpcStatus = grpcStatusOf(reason);
    client.setTrailers(grpcTrailers(reason));
    this.#end();
    return true;
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
    if (this.#client.request.http2 !== undefined)
      this.#deadlines.watchOverEnd(this.snapshot?.config.deadlines.bodyMs ?? 0);
    if (this.outcome === 'complete') this.#deadlines.clientStalls(); // until all is out
    this.#client.end(this.#isUnread, text);
    // A refusal is whole now: the client is told at once that no more is taken.
    if (this.#client.lingering !== undefined && this.reason !== undefined && this.connection.closing)
      this.connection.socket.end();
  }

  /** One more than its connection may have. */
  refuseStream(): void {
    this.setRefusal('stream_limit', '');
    this.outcome = 'refused';
    this.#destroy();
  }

  /** Octets of the body that came since the last time. */
  takeReceived(): number {
    const bytes = this.#body?.bytes ?? 0;
    const fresh = bytes - this.#takenBytes;
    this.#takenBytes = bytes;
    return fresh;
  }

  /** More of its body may come. */
  get #isUnread(): boolean {
    return !this.#client.isWhole && this.head?.body.kind !== 'none';
  }

  override refuse(reason: Reason, detail = ''): void {
    if (this.#done) return;
    this.setRefusal(reason, detail);
    this.stopAsking();
    this.#call?.abort();
    // A permit that nothing was sent under is taken back: `allow` in a record means that the upstream may have seen it.
    if (this.#call?.hasBegun !== true && !reason.startsWith('upstream_')) this.permit = undefined;
    this.outcome = outcomeOf(reason);
    if (meaningOf(reason).status === 0 || this.#client.hasAnswered) return this.#destroy();
    const { isGrpc } = this.#client;
    const problem = (isGrpc ? formatGrpcProblem : formatProblem)(reason, this.id, this.refusalHeaders);
    if (isGrpc) this.grpcStatus = grpcStatusOf(reason);
    this.status = problem.status;
    const headers = [...problem.headers];
    if (!isGrpc) headers.push('content-length', String(Buffer.byteLength(problem.body)));
    const closes = this.#client.endsConnection(reason, problem.close || this.#isUnread);
    if (closes || this.isLastOfStranger || this.#mustClose()) this.#sayLast(headers);
    else if (this.holdBackMs > 0) this.#client.holdBack(this.connection, this.holdBackMs);
    this.#client.begin(problem.status, headers, isGrpc ? 0 : undefined);
    const isBodiless = isGrpc || this.#client.request.method === 'HEAD';
    const body = isBodiless ? undefined : problem.body;
    this.responseBytes = body === undefined ? 0 : Buffer.byteLength(body);
    this.#end(body);
  }

  /** Max-Forwards: 0 (RFC 9110 7.6.2): allowed by policy, and this proxy is the last to answer. */
  #answerAsFinalRecipient(): void {
    this.status = 204;
    const headers: string[] = [];
    if (this.#mustClose()) this.#client.sayLast(headers);
    this.#client.begin(204, headers);
    this.#end();
  }

  #mustClose(): boolean {
    return this.listener.draining || this.connection.endsWith(this.startedMs, this.snapshot);
  }

  cut(reason: Reason): void {
    if (this.#client.isOut) return;
    this.setRefusal(reason, '');
    this.outcome = reason === 'access_ended' ? 'access_ended' : 'deadline_exceeded';
    this.#call?.abort();
    if (this.#client.isGrpc && !this.#client.hasAnswered) return this.#refuseCall(reason);
    if (!this.#endCall(reason)) this.#destroy();
  }

  sever(): void {
    if (this.#done || this.#client.isOut) return;
    this.setRefusal('access_ended', '');
    this.outcome = 'access_ended';
    this.#done = true;
  }

  /** A call that has no answer yet is told in the answer. */
  #refuseCall(reason: Reason): void {
    if (this.#done) return;
    const { status, headers } = formatGrpcProblem(reason, this.id);
    this.status = status;
    this.grpcStatus = grpcStatusOf(reason);
    this.#client.begin(status, [...headers], 0);
    this.#end();
  }

  #destroy(): void {
    this.#done = true;
    this.#client.reset(this.connection, this.reason);
  }

  limitTo(untilTickMs: number): void {
    this.#deadlines.limitTo(untilTickMs);
  }

  /** Its body has not arrived whole. */
  get isReceiving(): boolean {
    return !this.#client.isWhole;
  }

  sweep(tickMs: number): void {
    const [deadlines, client] = [this.#deadlines, this.#client];
    if (deadlines.isAccessOver(tickMs)) return this.cut('access_ended');
    const { lingering } = client;
    if (lingering?.isUnderWay === true) {
      if (lingering.isOver(tickMs)) this.connection.socket.destroy(); // the answer is out: no reset behind it
      return;
    }
    if (!deadlines.isRunning || client.isOut) return;
    if (deadlines.isClientTooSlow(tickMs)) return this.cut('deadline_exceeded');
    if (this.#done) return;
    if (this.longLived && this.phase === undefined && tickMs - this.startedMs >= START_RECORD_MS)
      this.recordStart(
        () => undefined,
        () => this.#destroy(),
      );
    const overdue = deadlines.overdue(tickMs, this.#standing);
    if (overdue !== undefined) this.#endOverdue(overdue);
  }

  get #standing(): Standing {
    const waitsSinceMs = this.#call?.hasBegun === false ? this.#forwardedMs : undefined;
    return {
      body: this.#body,
      isAnswered: this.status !== 0,
      responseBytes: this.responseBytes,
      waitsSinceMs,
    };
  }

  #endOverdue(overdue: Overdue): void {
    if (overdue.kind === 'cut') return this.cut('deadline_exceeded');
    if (overdue.kind === 'refuse') return this.refuse(overdue.reason, overdue.detail);
    const { kind, failure } = overdue;
    this.#call?.abort(kind === 'silent' ? failure : undefined);
    this.onFailure(failure);
  }

  /** The response is out, or its connection is gone. */
  connectionClosed(): void {
    if (this.connection.isSevered) return; // it is called again
    this.stopAsking();
    this.requestBytes = this.#body?.bytes ?? 0;
    if (!this.#client.isOut) {
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
