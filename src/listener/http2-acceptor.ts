import { createServer, type Http2Server } from 'node:http2';
import type { Limits } from '../config/config.js';
import type { Connection } from './connection.js';
import type { ListenerContext } from './context.js';
import { Http2Session } from './http2-session.js';

/** More fields than are allowed get this far, so that they are answered and recorded by the request that they are of. */
const SPARE_FIELDS = 64;
/** Invalid frames (RFC 9113 5.4.2 leaves stream errors to the stream) before the connection goes. */
const MAX_INVALID_FRAMES = 200;

/** HTTP/2 on connections that somebody else accepts. */
export class Http2Acceptor {
  readonly #server: Http2Server;

  constructor(
    readonly context: ListenerContext,
    readonly limits: Limits,
  ) {
    this.#server = createServer({
      settings: {
        enablePush: false,
        maxConcurrentStreams: limits.streams,
        maxHeaderListSize: limits.headerBytes + SPARE_FIELDS * limits.headerCount,
      },
      maxHeaderListPairs: limits.headerCount + SPARE_FIELDS,
      maxSessionInvalidFrames: MAX_INVALID_FRAMES,
      maxOutstandingPings: 4,
    });
    this.#server.on('sessionError', () => undefined); // each session hears its own
  }

  take(connection: Connection): void {
    const { context, limits } = this;
    const begin = (session: ConstructorParameters<typeof Http2Session>[2]): void => {
      new Http2Session(context, connection, session, limits.streams);
    };
    // Node makes the session, and tells of it, before `emit` returns.
    this.#server.once('session', begin);
    this.#server.emit('connection', connection.socket);
    this.#server.off('session', begin);
  }

  close(): void {
    this.#server.close();
  }
}
