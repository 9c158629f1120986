import { Failure } from '../reasons.js';
import type { LongWatch } from './long-watch.js';
import { ProgressWatch } from './progress-watch.js';
import type { RequestBody } from './request-body.js';

/** How far one exchange has come, at the moment of asking. Ticks, milliseconds. */
export interface Standing {
  readonly body: RequestBody | undefined;
  readonly isAnswered: boolean;
  readonly responseBytes: number;
  /** Since when it waits for a connection to the upstream; undefined where it does not. */
  readonly waitsSinceMs: number | undefined;
}

/** What has taken too long: `cut` where the client or the stream is to blame, else what is to be said of it. */
export type Overdue =
  | { readonly kind: 'cut' }
  | {
      readonly kind: 'refuse';
      readonly reason: 'upstream_timeout' | 'request_timeout';
      readonly detail: string;
    }
  | { readonly kind: 'silent' | 'given up'; readonly failure: Failure };

const CUT: Overdue = { kind: 'cut' };

/** The deadlines of one HTTP request and its answer. */
export class HttpDeadlines {
  /** Set once it is forwarded. */
  #progress: ProgressWatch | undefined;
  /** Set for what may stay open: the deadlines of requests are not for it. */
  #long: LongWatch | undefined;
  #cutAtMs = Number.POSITIVE_INFINITY;

  constructor(readonly startedMs: number) {}

  /** It may stay open. */
  get isLong(): boolean {
    return this.#long !== undefined;
  }

  /** Something of it can be too slow. */
  get isRunning(): boolean {
    return this.#progress !== undefined;
  }

  stayOpen(long: LongWatch): void {
    this.#long = long;
  }

  forwarded(bodyMs: number, firstByteMs: number): void {
    this.#progress = new ProgressWatch(this.startedMs, bodyMs, firstByteMs);
  }

  /** A stream that is not read must not stay: on its connection nothing else would end it. */
  watchOverEnd(bodyMs: number): void {
    this.#progress ??= new ProgressWatch(this.startedMs, bodyMs, bodyMs);
    this.#progress.clientStalls();
  }

  clientStalls(): void {
    this.#progress?.clientStalls();
  }

  clientMoves(): void {
    this.#progress?.clientMoves();
  }

  /** No longer than that, whatever it is. */
  limitTo(untilTickMs: number): void {
    this.#cutAtMs = Math.min(this.#cutAtMs, untilTickMs);
  }

  isAccessOver(tickMs: number): boolean {
    return tickMs >= this.#cutAtMs;
  }

  isClientTooSlow(tickMs: number): boolean {
    return this.#progress?.isClientTooSlow(tickMs) === true;
  }

  /** What is over, if anything; each look moves what it has seen move. */
  overdue(tickMs: number, standing: Standing): Overdue | undefined {
    const [progress, long] = [this.#progress, this.#long];
    if (progress === undefined) return undefined;
    return long === undefined
      ? overdueRequest(progress, tickMs, standing)
      : overdueLong(long, progress, tickMs, standing);
  }
}

function overdueRequest(
  progress: ProgressWatch,
  tickMs: number,
  { body, isAnswered, responseBytes }: Standing,
): Overdue | undefined {
  if (body?.complete === false && progress.isBodyTooSlow(tickMs, body.bytes)) {
    return body.isFull
      ? { kind: 'refuse', reason: 'upstream_timeout', detail: 'the upstream took the body too slowly' }
      : { kind: 'refuse', reason: 'request_timeout', detail: 'the body came too slowly' };
  }
  if (!progress.isUpstreamSilent(tickMs, body?.complete !== false, isAnswered, responseBytes))
    return undefined;
  return { kind: 'silent', failure: new Failure('upstream_timeout', 'the upstream was silent') };
}

function overdueLong(
  long: LongWatch,
  progress: ProgressWatch,
  tickMs: number,
  { body, responseBytes, waitsSinceMs }: Standing,
): Overdue | undefined {
  const over = long.expired(tickMs, responseBytes + (body?.bytes ?? 0));
  if (over === 'stream') return CUT;
  const waits = waitsSinceMs !== undefined && progress.isOverdue(tickMs, waitsSinceMs);
  if (over === undefined && !waits) return undefined;
  const why = waits ? 'no connection to the upstream was free' : 'grpc-timeout is over';
  return { kind: 'given up', failure: new Failure('upstream_timeout', why) };
}
