import type { ForwardCall, ForwardHandler, ForwardRequest } from '../listener/ports.js';
import { Failure } from '../reasons.js';

/** Where a call waits until a connection takes it, and what it is told when it is given up. */
export interface CallQueue {
  abandon(call: UpstreamCall): void;
}

/** The connection that a call is on. */
export interface CallCarrier {
  resume(): void;
  abandon(): void;
}

/** One forwarded request, from the queue to its end. After that its handler hears nothing more. */
export class UpstreamCall implements ForwardCall {
  hasBegun = false;
  carrier: CallCarrier | undefined;
  hasRetried = false;
  /** Of its arrival among those that wait. */
  order = 0;
  #finished = false;

  constructor(
    /** Whose it is: callers take turns. */
    readonly caller: string,
    readonly request: ForwardRequest,
    readonly handler: ForwardHandler,
    readonly queue: CallQueue,
  ) {}

  get isFinished(): boolean {
    return this.#finished;
  }

  /** Safe to be sent twice (RFC 9110 9.2.2), and there is nothing of it that is sent already. */
  get isRepeatable(): boolean {
    const { method, body } = this.request;
    return body === undefined && (method === 'GET' || method === 'HEAD' || method === 'OPTIONS');
  }

  /** To be asked right before its first octet is written. */
  mayBegin(): boolean {
    if (this.#finished) return false;
    try {
      if (this.handler.mayBegin() && !this.#finished) return true;
      this.#finish();
    } catch (cause) {
      this.fail(new Failure('internal_error', 'a request could not be judged again', { cause }));
    }
    return false;
  }

  resume(): void {
    this.carrier?.resume();
  }

  abort(): void {
    if (this.#finished) return;
    this.#finish();
    if (this.carrier === undefined) this.queue.abandon(this);
    else this.carrier.abandon();
  }

  end(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.handler.onEnd();
  }

  fail(failure: Failure): void {
    if (this.#finished) return;
    this.#finish();
    this.handler.onFailure(failure);
  }

  /** Of a body that is not sent nothing more is wanted: its client may have to be read to the end. */
  #finish(): void {
    this.#finished = true;
    this.request.body?.destroy();
  }
}
