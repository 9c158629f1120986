import type { ForwardCall, ForwardHandler, ForwardRequest } from '../listener/ports.js';
import { Failure, type FailureCode } from '../reasons.js';

/** The connection that a call is on. */
export interface CallCarrier {
  resume(): void;
  abandon(): void;
}

/** How far a call had come when what carried it failed. */
export type Progress =
  /** No connection could be opened: nothing was sent. */
  | 'unsent'
  /** The server says that it has done nothing with it (GOAWAY, REFUSED_STREAM), and nothing of a body was taken. */
  | 'unprocessed'
  /** The connection had carried others before, and was lost before anything of this answer: it may have been dead already. */
  | 'stale'
  /** A new connection was lost after it was sent, before anything of its answer. */
  | 'lost'
  /** Anything else: it must not be sent again. */
  | 'final';

/** The target that a call was given to. */
export interface CallPlace {
  /** It was given up while it waited. */
  abandon(call: UpstreamCall): void;
  /** It is no longer a call of this target. */
  left(): void;
  succeeded(): void;
  failed(failure: Failure): void;
}

/** Whose calls they are, and who may send one of them once more. */
export interface CallRouter {
  /** @returns false where that was all. */
  reroute(call: UpstreamCall, failure: Failure, progress: Progress): boolean;
}

/** What tells something about the server. */
const TRANSPORT: ReadonlySet<FailureCode> = new Set<FailureCode>([
  'upstream_reset',
  'upstream_timeout',
  'upstream_malformed',
]);

/** One forwarded request, from the queue to its end. After that its handler hears nothing more. */
export class UpstreamCall implements ForwardCall {
  hasBegun = false;
  carrier: CallCarrier | undefined;
  place: CallPlace | undefined;
  /** Places that failed it. */
  tried: CallPlace[] | undefined;
  retries = 0;
  /** Of its arrival among those that wait. */
  order = 0;
  #isAnswered = false;
  #finished = false;

  constructor(
    /** Whose it is: callers take turns. */
    readonly caller: string,
    readonly request: ForwardRequest,
    readonly handler: ForwardHandler,
    readonly router: CallRouter,
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

  /** @param silence why, where it is the server's fault. */
  abort(silence?: Failure): void {
    if (this.#finished) return;
    const { carrier, place } = this;
    if (silence !== undefined && this.hasBegun && !this.#isAnswered) place?.failed(silence);
    this.#finish();
    if (carrier === undefined) place?.abandon(this);
    else carrier.abandon();
  }

  /** The head of the answer. @returns false to pause until `resume`. */
  onHead(status: number, fields: readonly string[]): boolean {
    this.#isAnswered = true;
    return this.handler.onHead(status, fields);
  }

  end(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.place?.succeeded();
    this.place?.left();
    this.handler.onEnd();
  }

  fail(failure: Failure, progress: Progress = 'final'): void {
    if (this.#finished) return;
    const tells = failure.code === 'upstream_malformed' || (!this.#isAnswered && progress !== 'stale');
    if (tells && progress !== 'unprocessed' && TRANSPORT.has(failure.code)) this.place?.failed(failure);
    if (progress !== 'final' && this.router.reroute(this, failure, progress)) return;
    this.#finish();
    this.handler.onFailure(failure);
  }

  /** Of a body that is not sent nothing more is wanted: its client may have to be read to the end. */
  #finish(): void {
    this.#finished = true;
    this.place?.left();
    this.request.body?.destroy();
  }
}
