import { Readable } from 'node:stream';
import type { Test } from 'tap';
import type {
  ForwardCall,
  ForwardHandler,
  ForwardRequest,
  UpstreamServer,
} from '../../../src/listener/ports.js';
import type { Failure } from '../../../src/reasons.js';
import { Http1Pool, type PoolOptions } from '../../../src/upstream/http1-pool.js';
import { RecorderUpstream, type Responder } from '../../support/recorder-upstream.js';

export function requestOf(
  method: string,
  target: string,
  change: Partial<ForwardRequest> = {},
): ForwardRequest {
  return {
    method,
    target,
    authority: 'svc.test',
    headers: ['x-a', '1'],
    body: undefined,
    bodyLength: undefined,
    acceptsTrailers: false,
    ...change,
  };
}

/** A POST whose body comes in these pieces. */
export const postOf = (target: string, pieces: readonly string[], bodyLength?: number): ForwardRequest =>
  requestOf('POST', target, { body: Readable.from(pieces.map((piece) => Buffer.from(piece))), bodyLength });

/** One caller: keeps what it hears, and fails the test when it hears anything after the end. */
export class Caller implements ForwardHandler {
  status = 0;
  headers: readonly string[] = [];
  trailers: readonly string[] = [];
  readonly servers: UpstreamServer[] = [];
  body = '';
  bytes = 0;
  hints = 0;
  asked = 0;
  failure: Failure | undefined;
  isOver = false;
  may: () => boolean = () => true;
  /** Whether the next piece may come at once. */
  takesMore: () => boolean = () => true;
  onBegin: () => void = () => undefined;
  call: ForwardCall | undefined;
  readonly over: Promise<this>;
  #settle: (caller: this) => void = () => undefined;

  constructor(readonly t: Test) {
    this.over = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  send(pool: Http1Pool, request: ForwardRequest, caller = 'spiffe://a.test/web'): this {
    this.call = pool.forward(caller, request, this);
    return this;
  }

  get code(): string | undefined {
    return this.failure?.code;
  }

  mayBegin(): boolean {
    this.#hear('mayBegin');
    this.asked++;
    return this.may();
  }

  onServer(server: UpstreamServer): void {
    this.#hear('onServer');
    this.servers.push(server);
  }

  onTrailers(trailers: readonly string[]): void {
    this.#hear('onTrailers');
    this.trailers = trailers;
  }

  onEarlyHints(): void {
    this.#hear('onEarlyHints');
    this.hints++;
  }

  onHead(status: number, headers: readonly string[]): boolean {
    this.#hear('onHead');
    this.status = status;
    this.headers = headers;
    this.onBegin();
    return this.takesMore();
  }

  onData(chunk: Buffer): boolean {
    this.#hear('onData');
    this.bytes += chunk.length;
    if (this.bytes < 100_000) this.body += chunk.toString('latin1');
    return this.takesMore();
  }

  onEnd(): void {
    this.#end('onEnd');
  }

  onFailure(failure: Failure): void {
    this.failure = failure;
    this.#end('onFailure');
  }

  #end(what: string): void {
    this.#hear(what);
    this.isOver = true;
    this.#settle(this);
  }

  #hear(what: string): void {
    if (this.isOver) this.t.fail(`${what} after the end`);
  }
}

export interface Place {
  readonly upstream: RecorderUpstream;
  readonly pool: Http1Pool;
  ask(request?: ForwardRequest): Promise<Caller>;
}

export async function placeOf(
  t: Test,
  respond?: Responder,
  change: Partial<PoolOptions> = {},
): Promise<Place> {
  const upstream = await new RecorderUpstream().open();
  if (respond !== undefined) upstream.respond = respond;
  const pool = new Http1Pool({
    host: '127.0.0.1',
    port: upstream.port,
    connectMs: 2000,
    maxConnections: 8,
    ...change,
  });
  t.teardown(async () => {
    pool.destroy();
    await upstream.close();
  });
  const ask = (request = requestOf('GET', '/')): Promise<Caller> => new Caller(t).send(pool, request).over;
  return { upstream, pool, ask };
}
