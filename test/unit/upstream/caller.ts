import { Readable } from 'node:stream';
import type { Test } from 'tap';
import type { UpstreamConfig, UpstreamTarget } from '../../../src/config/config.js';
import type {
  ForwardCall,
  ForwardHandler,
  ForwardRequest,
  UpstreamServer,
} from '../../../src/listener/ports.js';
import type { Failure } from '../../../src/reasons.js';
import { PlainConnector } from '../../../src/upstream/plain-connector.js';
import { Upstream, type UpstreamMetrics } from '../../../src/upstream/upstream.js';
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

/** What takes calls. */
export type Forwarder = Pick<Upstream, 'forward'>;

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

  send(pool: Forwarder, request: ForwardRequest, caller = 'spiffe://a.test/web'): this {
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
  readonly pool: Upstream;
  ask(request?: ForwardRequest): Promise<Caller>;
}

export const upstreamConfig = (change: Partial<UpstreamConfig> = {}): UpstreamConfig => ({
  name: 'svc',
  protocol: 'http1',
  targets: [],
  balance: 'round_robin',
  ejection: { failures: 5, forMs: 10_000, maxShare: 0.5 },
  retries: 1,
  timeouts: { connectMs: 2000, responseMs: 2000 },
  maxConnections: 8,
  ...change,
});

export const tcpTarget = (port: number): UpstreamTarget => ({
  address: { kind: 'tcp', host: '127.0.0.1', port },
  name: `127.0.0.1:${port}`,
});

/** What an upstream tells besides. */
export class Counts implements UpstreamMetrics {
  ejections = 0;
  retries = 0;

  countEjection(): void {
    this.ejections++;
  }

  countRetry(): void {
    this.retries++;
  }
}

export async function placeOf(
  t: Test,
  respond?: Responder,
  change: Partial<UpstreamConfig> = {},
): Promise<Place> {
  const upstream = await new RecorderUpstream().open();
  if (respond !== undefined) upstream.respond = respond;
  const pool = openUpstream(t, { targets: [tcpTarget(upstream.port)], ...change });
  t.teardown(() => upstream.close());
  const ask = (request = requestOf('GET', '/')): Promise<Caller> => new Caller(t).send(pool, request).over;
  return { upstream, pool, ask };
}

/** An upstream over plaintext; it ends with the test. */
export function openUpstream(
  t: Test,
  change: Partial<UpstreamConfig>,
  metrics: UpstreamMetrics = new Counts(),
): Upstream {
  const parts = { metrics, diagnostics: { info: ignore, warn: ignore, error: ignore } };
  const pool = new Upstream(upstreamConfig(change), parts, (target) => new PlainConnector(target));
  t.teardown(() => pool.destroy());
  return pool;
}

const ignore = (): void => undefined;
