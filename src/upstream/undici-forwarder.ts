import { type Client, type Dispatcher, errors, Pool } from 'undici';
import type { ForwardCall, ForwardHandler, ForwardRequest } from '../listener/ports.js';
import { Failure } from '../reasons.js';
import { type ConnectionUser, PooledClient, UPSTREAM_RESET } from './pooled-client.js';

/** More informational answers than this before the final one is an attack or a broken upstream. */
const MAX_INFORMATIONAL = 16;
const MAX_HEAD_BYTES = 64 * 1024;

export interface PoolOptions {
  readonly origin: string;
  readonly connectMs: number;
  readonly maxConnections: number;
}

/** So many requests may wait for a connection of one upstream: what is abandoned there is freed only when its turn comes. */
const MAX_QUEUED = 1024;

/** A pool, and how many requests were given to it that no connection has taken yet, abandoned ones too. */
export interface UpstreamPool {
  readonly pool: Pool;
  waiting: number;
}

/** A keep-alive pool to one upstream (RFC 9112 9.3), one request at a time on each connection. */
export function createPool(options: PoolOptions): UpstreamPool {
  const pool = new Pool(options.origin, {
    connections: options.maxConnections,
    pipelining: 1,
    factory: (origin, clientOptions) =>
      new PooledClient(origin, clientOptions as Client.Options, options.connectMs),
    bodyTimeout: 0, // the exchange watches it: only there is it known whose fault a silence is
    headersTimeout: 0, // set on each request: routes differ
    maxHeaderSize: MAX_HEAD_BYTES,
    strictContentLength: true,
    clientTtl: null,
  });
  return { pool, waiting: 0 };
}

/** Forwards over the pool. A safe request without a body that met a dead pooled connection is sent once more (RFC 9110 9.2.2). */
export function forwardOverPool(
  upstream: UpstreamPool,
  request: ForwardRequest,
  handler: ForwardHandler,
): ForwardCall {
  const attempt = new Attempt(upstream, request, handler);
  if (upstream.waiting < MAX_QUEUED) attempt.dispatch();
  else handler.onFailure(new Failure('upstream_overloaded', `${MAX_QUEUED} requests wait for the upstream`));
  return attempt;
}

const isRetryable = (request: ForwardRequest): boolean =>
  request.body === undefined &&
  (request.method === 'GET' || request.method === 'HEAD' || request.method === 'OPTIONS');

/** undici's handler for one request. The raw-header form is used: parsed header objects would cost again as much. */
class Attempt implements ForwardCall, ConnectionUser {
  connection: PooledClient | undefined;
  hasBegun = false;
  #abort: ((error?: Error) => void) | undefined;
  #informational = 0;
  #headSeen = false;
  #waits = false;
  #finished = false;
  #retried = false;

  constructor(
    readonly upstream: UpstreamPool,
    readonly request: ForwardRequest,
    readonly handler: ForwardHandler,
  ) {}

  dispatch(): void {
    const { request } = this;
    // Host is the one that was judged (RFC 9112 3.2.2); left out, the pool would write the upstream's own address.
    const headers = ['host', request.authority, ...request.headers];
    const options: Dispatcher.DispatchOptions = {
      path: request.target,
      method: request.method as Dispatcher.HttpMethod,
      headers,
      body: request.body ?? null,
      headersTimeout: request.firstByteMs,
    };
    this.upstream.waiting++;
    this.#waits = true;
    try {
      this.upstream.pool.dispatch(options, this as unknown as Dispatcher.DispatchHandler);
    } catch (cause) {
      this.onError(cause as Error);
    }
  }

  abort(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#abort?.();
  }

  resume(): void {
    if (!this.#finished) this.connection?.release();
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#waitsNoMore();
    if (this.#finished) return abort();
    this.#abort = abort;
    if (!this.handler.mayBegin()) {
      this.#finished = true;
      return abort();
    }
    this.hasBegun = true;
  }

  onHeaders(status: number, rawHeaders: Buffer[], _resume: () => void, statusText: string): boolean {
    if (this.#finished) return true;
    if (status < 200) {
      if (++this.#informational > MAX_INFORMATIONAL) {
        this.#fail(new Failure('upstream_malformed', 'too many informational answers'));
      } else if (status === 103) this.handler.onEarlyHints(rawHeaders);
      return true;
    }
    this.#headSeen = true;
    if (!this.handler.onHead(status, rawHeaders, statusText)) this.connection?.hold();
    // These end with their head (RFC 9112 6.3), and a 304 may tell a length; the pool takes that for a body cut short.
    if ((status === 204 || status === 304) && !this.#finished) {
      this.#finished = true;
      this.handler.onEnd();
    }
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (!this.#finished && !this.handler.onData(chunk)) this.connection?.hold();
    return true;
  }

  onComplete(): void {
    const { connection } = this;
    if (connection !== undefined) {
      connection.served++;
      connection.release(); // the next request on it must not find the brake on
    }
    if (this.#finished) return;
    this.#finished = true;
    this.handler.onEnd();
  }

  #waitsNoMore(): void {
    if (!this.#waits) return;
    this.#waits = false;
    this.upstream.waiting--;
  }

  onError(error: Error): void {
    this.#waitsNoMore();
    if (this.#finished) return;
    const wasUsed = this.connection !== undefined && this.connection.served > 0;
    if (
      wasUsed &&
      !this.#headSeen &&
      !this.#retried &&
      isDeadConnection(error) &&
      isRetryable(this.request)
    ) {
      this.#retried = true;
      this.dispatch(); // asks `mayBegin` again
      return;
    }
    this.#fail(failureOf(error, this.#headSeen));
  }

  #fail(failure: Failure): void {
    this.#finished = true;
    this.#abort?.(failure);
    this.handler.onFailure(failure);
  }
}

function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? '';
}

const isDeadConnection = (error: Error): boolean =>
  (error instanceof errors.SocketError && error.message === 'other side closed') ||
  codeOf(error) === UPSTREAM_RESET ||
  codeOf(error) === 'EPIPE';

function failureOf(error: Error, headSeen: boolean): Failure {
  const code = codeOf(error);
  const cause = { cause: error };
  if (code === 'UND_ERR_CONNECT_TIMEOUT') {
    return new Failure('upstream_connect_timeout', 'connecting took too long', cause);
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return new Failure('upstream_timeout', 'no answer in time', cause);
  if (
    error instanceof errors.HTTPParserError || // its code is not always set
    code === 'UND_ERR_HEADERS_OVERFLOW' ||
    code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'
  ) {
    return new Failure('upstream_malformed', error.message, cause);
  }
  if (error instanceof errors.SocketError && error.message.startsWith('bad ')) {
    return new Failure('upstream_malformed', error.message, cause);
  }
  if (
    code === 'ECONNREFUSED' ||
    code === 'ENOTFOUND' ||
    code === 'EHOSTUNREACH' ||
    code === 'ENETUNREACH' ||
    code === 'EAI_AGAIN'
  ) {
    return new Failure('upstream_unreachable', error.message, cause);
  }
  return new Failure(headSeen || code !== '' ? 'upstream_reset' : 'internal_error', error.message, cause);
}
