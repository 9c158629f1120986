import type { Http2Session, Http2Stream } from 'node:http2';
import type { Socket } from 'node:net';

/** Node keeps its native objects under symbols of this name. */
const HANDLE = 'kHandle';
let handleSymbol: symbol | undefined;

/** Holds a session's native object for as long as that of a stream of it is there. */
const sessions = new FinalizationRegistry<object>(() => undefined);

/**
 * Keeps a session's native object until those of its streams are gone. Collected before them, while one holds fields that never came to
 * JavaScript (too many, half a block), it aborts the process: `Assertion failed: current_nghttp2_memory_ == 0` (Node 20 to 26). Its peer
 * can bring that about: a stream that ends with data on their way to the socket is left to the garbage collector.
 */
export class Http2Lifetime {
  readonly #session: object | undefined;

  constructor(session: Http2Session, socket: Socket) {
    const native = nativeOf(session);
    this.#session = native;
    // What ends with the connection is freed an immediate later, or two where that was begun by one.
    socket.once('close', () => setImmediate(() => setImmediate(keep, native)));
  }

  /** @param stream the native object of one that has closed before its peer's side had ended. */
  outlive(stream: object | undefined): void {
    if (this.#session !== undefined && stream !== undefined) sessions.register(stream, this.#session);
  }
}

/** Of one that is open; undefined where Node has no such thing (any more). */
export function nativeOf(owner: Http2Session | Http2Stream): object | undefined {
  handleSymbol ??= Object.getOwnPropertySymbols(owner).find(({ description }) => description === HANDLE);
  if (handleSymbol === undefined) return undefined;
  const native: unknown = Reflect.get(owner, handleSymbol);
  return typeof native === 'object' && native !== null ? native : undefined;
}

const keep = (_native: object | undefined): void => undefined;
