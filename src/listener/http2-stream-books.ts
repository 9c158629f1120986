import type { ServerHttp2Session } from 'node:http2';

/** Above this a gap is no row of refused streams but a client that skips ids: one record says so. */
const MAX_GAP = 64;

/**
 * Streams that nghttp2 refuses by itself (malformed fields, lists that are too long) never reach Node's events, but their
 * ids are spent: what is missing in the row was refused. A client that skips ids (RFC 9113 5.1.1 lets it) is taken for one
 * that sent such streams; those that we know of never do.
 */
export class StreamBooks {
  /** All up to here have their exchange or were told. */
  #lastId = -1;
  #asked: { readonly id: number; readonly sinceMs: number } | undefined;
  /** The client has answered since: a head that is under way would have been in the way of that. */
  #isAnswered = false;
  readonly #session: ServerHttp2Session;
  readonly #onUnseen: (reason: 'request_malformed' | 'request_timeout') => void;

  constructor(
    session: ServerHttp2Session,
    onUnseen: (reason: 'request_malformed' | 'request_timeout') => void,
  ) {
    this.#session = session;
    this.#onUnseen = onUnseen;
  }

  /** Node's own ways to a session's end all lead through `destroy`, after which it cannot be asked any more. */
  watchEnd(): void {
    const session = this.#session;
    const destroy = session.destroy;
    session.destroy = (...args: Parameters<typeof destroy>) => {
      this.close();
      destroy.apply(session, args);
    };
  }

  /** A stream has become a request. @returns false where it was told of already. */
  open(id: number): boolean {
    if (id <= this.#lastId) return false;
    this.#tellUpTo(id - 2, 'request_malformed');
    this.#lastId = id;
    return true;
  }

  /** Periodic. @param headMs how long a head may take to arrive. */
  sweep(tickMs: number, headMs: number): void {
    const id = this.#lastSeen();
    if (id <= this.#lastId) {
      this.#asked = undefined;
      return;
    }
    if (this.#asked?.id !== id) {
      this.#asked = { id, sinceMs: tickMs };
      this.#isAnswered = false;
      const asked = this.#asked;
      this.#session.ping(() => {
        if (this.#asked === asked) this.#isAnswered = true;
      });
    } else if (this.#isAnswered) this.#tellUpTo(id, 'request_malformed');
    else if (tickMs - this.#asked.sinceMs >= headMs) this.#tellUpTo(id, 'request_timeout');
  }

  /** Nothing more comes. */
  close(): void {
    this.#tellUpTo(this.#lastSeen(), 'request_malformed');
  }

  /** The last stream whose head has at least begun. */
  #lastSeen(): number {
    if (this.#session.destroyed) return this.#lastId;
    return this.#session.state.lastProcStreamID ?? this.#lastId;
  }

  #tellUpTo(id: number, reason: 'request_malformed' | 'request_timeout'): void {
    const missing = Math.min(MAX_GAP, (id - this.#lastId) / 2);
    if (missing < 1) return;
    this.#lastId = id;
    for (let i = 1; i <= missing; i++) this.#onUnseen(i === missing ? reason : 'request_malformed');
  }
}
