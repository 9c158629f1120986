import type { EndpointSocket } from '../config/endpoint-socket.js';
import type { WorkloadMethod } from '../identity/workload-proto.js';
import type { Reading } from '../identity/workload-update.js';
import { Backoff } from './backoff.js';
import type { Pacing } from './pacing.js';
import { readInSlices } from './read-in-slices.js';
import { decodeMessage, openCall, reactionTo, type WorkloadCall } from './workload-call.js';
import { type CallEnd, describeEnd } from './workload-channel.js';

/** An agent that has not said anything by then hangs. SPIRE answers at once, be it with PermissionDenied. */
const FIRST_MESSAGE_MS = 10_000;
/** At most one message is read in this time; of those that come meanwhile the newest counts. */
const REST_MS = 100;
/** A server may close the stream and be called again at once, but not more often than this. */
const RECONNECT_AT_ONCE_MS = 10_000;

export type StreamPhase = 'idle' | 'connecting' | 'open' | 'waiting' | 'stopped' | 'closed';

export interface StreamSpec<M extends object, T> {
  readonly socket: EndpointSocket;
  readonly method: WorkloadMethod;
  read(message: M): Reading<T>;
}

export interface StreamEvents<T> {
  onValue(value: T): void;
  /** What was read before still stands. */
  onProblem(problem: string): void;
  /** We are entitled to nothing any more (Workload API 5.2.1). */
  onDenied(problem: string): void;
}

/** Keeps one stream of the Workload API open: reads its newest message, comes back when it ends, at a bearable pace. */
export class WorkloadStream<M extends object, T> {
  #phase: StreamPhase = 'idle';
  #call: WorkloadCall | undefined;
  #takeBackTimer: (() => void) | undefined;
  #takeBackRest: (() => void) | undefined;
  #newest: Buffer | undefined;
  #end: CallEnd | undefined;
  #isReading = false;
  #reconnectedAtMs = Number.NEGATIVE_INFINITY;
  readonly #backoff: Backoff;

  constructor(
    private readonly spec: StreamSpec<M, T>,
    private readonly events: StreamEvents<T>,
    private readonly nowMs: () => number,
    private readonly pacing: Pacing,
  ) {
    this.#backoff = new Backoff(() => pacing.draw());
  }

  get method(): WorkloadMethod {
    return this.spec.method;
  }

  get phase(): StreamPhase {
    return this.#phase;
  }

  open(): void {
    this.#phase = 'connecting';
    const { socket, method } = this.spec;
    const call = openCall(socket, method, {
      onMessage: (bytes) => this.#take(bytes),
      onEnd: (end) => this.#finish(end),
    });
    this.#call = call;
    this.#takeBackTimer = this.pacing.schedule(FIRST_MESSAGE_MS, () => {
      call.cancel();
      const details = `nothing came within ${FIRST_MESSAGE_MS / 1000} s; is it the socket of a SPIFFE agent?`;
      this.#finish({ code: DEADLINE_EXCEEDED, details });
    });
  }

  close(): void {
    this.#drop();
    this.#phase = 'closed';
  }

  #drop(): void {
    this.#call?.cancel();
    this.#call = undefined;
    this.#takeBackTimer?.();
    this.#takeBackRest?.();
    this.#takeBackRest = undefined;
    this.#newest = undefined;
    this.#end = undefined;
  }

  #take(bytes: Buffer): void {
    this.#takeBackTimer?.();
    this.#phase = 'open';
    this.#newest = bytes;
    this.#advance();
  }

  #finish(end: CallEnd): void {
    this.#takeBackTimer?.();
    this.#call = undefined;
    this.#end = end;
    // What we are no longer entitled to is not read first.
    if (reactionTo(end) === 'denied') this.#newest = undefined;
    this.#advance();
  }

  /** The next thing to do: a message that came whole is read before the end that followed it counts. */
  #advance(): void {
    if (this.#isReading || this.#phase === 'closed') return;
    const bytes = this.#newest;
    if (bytes !== undefined && (this.#takeBackRest === undefined || this.#end !== undefined)) {
      this.#newest = undefined;
      void this.#read(bytes);
    } else if (bytes === undefined && this.#end !== undefined) {
      const end = this.#end;
      this.#end = undefined;
      this.#react(end);
    }
  }

  async #read(bytes: Buffer): Promise<void> {
    this.#isReading = true;
    const message = decodeMessage<M>(this.spec.method, bytes);
    const isWanted = (): boolean => this.#phase !== 'closed' && !this.#isDenied();
    const value = message.ok ? await readInSlices(this.spec.read(message.value), isWanted) : message;
    this.#isReading = false;
    if (value === undefined || !isWanted()) return this.#advance();
    this.#rest();
    if (value.ok) {
      this.#backoff.reset();
      this.events.onValue(value.value);
    } else this.events.onProblem(`a message was refused, the last good one stays: ${value.error}`);
    this.#advance();
  }

  #isDenied(): boolean {
    return this.#end !== undefined && reactionTo(this.#end) === 'denied';
  }

  #rest(): void {
    this.#takeBackRest?.();
    this.#takeBackRest = this.pacing.schedule(REST_MS, () => {
      this.#takeBackRest = undefined;
      this.#advance();
    });
  }

  #react(end: CallEnd): void {
    const reaction = reactionTo(end);
    if (reaction === 'stop') {
      this.#phase = 'stopped';
      this.events.onProblem(`${describeEnd(end)}; it is not asked again`);
      return;
    }
    this.#phase = 'waiting';
    if (reaction === 'reconnect' && this.#mayReconnectAtOnce()) return this.#openAfter(0);
    if (reaction === 'denied') this.events.onDenied(describeEnd(end));
    else if (reaction === 'retry') this.events.onProblem(describeEnd(end));
    else this.events.onProblem('the server keeps closing the stream');
    this.#openAfter(this.#backoff.nextMs());
  }

  #mayReconnectAtOnce(): boolean {
    const nowMs = this.nowMs();
    // A clock that was set back gives a delay here, never a loop.
    if (nowMs - this.#reconnectedAtMs < RECONNECT_AT_ONCE_MS) return false;
    this.#reconnectedAtMs = nowMs;
    return true;
  }

  #openAfter(delayMs: number): void {
    if (this.#phase === 'closed') return; // an event's listener may have closed it
    this.#takeBackTimer = this.pacing.schedule(delayMs, () => this.open());
  }
}

const DEADLINE_EXCEEDED = 4;
