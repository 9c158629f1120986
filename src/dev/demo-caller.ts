import { Agent, request } from 'node:https';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { parseCertificate } from '../identity/certificate.js';
import type { Svid } from './pki.js';

export interface CallAnswer {
  /** 0 = the connection was ended instead of an answer. */
  readonly status: number;
  /** Of a refusal, as its problem document says; of a broken connection, what Node says. */
  readonly reason: string | undefined;
  /** X-Request-Id of the answer: the `id` of the record. */
  readonly id: string | undefined;
}

export interface CallOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The proxy as a caller knows it: an address, the name its SVID must carry, the authorities that may vouch for it. */
export interface ProxyPeer {
  readonly port: number;
  readonly spiffeId: string;
  bundlePem: string;
  /** Calls that got an answer, whatever it said and whoever made them. */
  answered: number;
}

/** A workload with one keep-alive mTLS connection; it checks the proxy's SPIFFE ID as the proxy checks its own. */
export class Caller {
  #agent: Agent;
  #socket: TLSSocket | undefined;
  #pending: Promise<CallAnswer> | undefined;

  /** @param svid undefined = it shows no certificate. */
  constructor(
    readonly proxy: ProxyPeer,
    svid: Svid | undefined,
  ) {
    this.#agent = this.#createAgent(svid);
  }

  /** One call; never rejects. Calls of one caller follow each other. */
  async call(path: string, options: CallOptions = {}): Promise<CallAnswer> {
    await this.#pending;
    this.#pending = this.#send(this.#agent, path, options);
    const answer = await this.#pending;
    if (answer.status > 0) this.proxy.answered++;
    return answer;
  }

  /** From the next call on it shows this SVID, on a new connection; the old one is closed after the call in flight. */
  async renew(svid: Svid): Promise<void> {
    const old = this.#agent;
    this.#agent = this.#createAgent(svid);
    await this.#pending;
    old.destroy();
  }

  /** Resolves with performance.now() of the end of the connection that is open now. */
  connectionEnd(): Promise<number> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      if (socket === undefined || socket.destroyed) resolve(performance.now());
      else socket.once('close', () => resolve(performance.now()));
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #createAgent(svid: Svid | undefined): Agent {
    return new Agent({
      keepAlive: true,
      maxSockets: 1,
      maxCachedSessions: 0,
      ca: this.proxy.bundlePem,
      checkServerIdentity: (_host, certificate) => this.#checkProxy(certificate),
      ...(svid === undefined ? {} : { cert: svid.chainPem, key: svid.keyPem }),
    });
  }

  #checkProxy(certificate: PeerCertificate): Error | undefined {
    const parsed = parseCertificate(certificate.raw);
    const [id, ...more] = parsed.ok ? parsed.value.uriSans : [];
    return id === this.proxy.spiffeId && more.length === 0
      ? undefined
      : new Error(`the proxy shows ${id ?? 'no SPIFFE ID'}, not ${this.proxy.spiffeId}`);
  }

  #send(agent: Agent, path: string, { method = 'GET', headers = {} }: CallOptions): Promise<CallAnswer> {
    return new Promise((resolve) => {
      const outgoing = request({
        agent,
        host: '127.0.0.1',
        port: this.proxy.port,
        servername: 'localhost',
        path,
        method,
        headers,
        timeout: 10_000,
      });
      const broken = (error: Error): void => resolve({ status: 0, reason: error.message, id: undefined });
      outgoing.once('socket', (socket) => {
        this.#socket = socket as TLSSocket;
      });
      outgoing.once('timeout', () => outgoing.destroy(new Error('no answer within 10 s')));
      outgoing.once('error', broken);
      outgoing.once('response', (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk;
        });
        response.once('error', broken);
        response.once('end', () => {
          const id = response.headers['x-request-id'];
          resolve({
            status: response.statusCode ?? 0,
            reason: reasonOf(body),
            id: typeof id === 'string' ? id : undefined,
          });
        });
      });
      outgoing.end();
    });
  }
}

/** Calls again and again over one caller's connection, and counts. */
export class CallLoop {
  calls = 0;
  readonly failures: CallAnswer[] = [];
  #running = true;
  readonly #done: Promise<void>;
  #waiting: { readonly calls: number; readonly resolve: () => void }[] = [];

  constructor(
    readonly caller: Caller,
    readonly path: string,
    readonly options: CallOptions,
    readonly pauseMs: number,
  ) {
    this.#done = this.#run();
  }

  /** Resolves when the last call is answered. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  /** Resolves when so many calls were answered, or the loop ended. */
  untilCalls(calls: number): Promise<void> {
    const reached = new Promise<void>((resolve) => this.#waiting.push({ calls, resolve }));
    return Promise.race([reached, this.#done]);
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const answer = await this.caller.call(this.path, this.options);
      this.calls++;
      if (answer.status < 200 || answer.status > 299) this.failures.push(answer);
      for (const waiting of this.#waiting) if (this.calls >= waiting.calls) waiting.resolve();
      this.#waiting = this.#waiting.filter(({ calls }) => calls > this.calls);
      await new Promise((resolve) => setTimeout(resolve, this.pauseMs));
    }
  }
}

function reasonOf(body: string): string | undefined {
  try {
    const { reason } = JSON.parse(body) as { reason?: unknown };
    return typeof reason === 'string' ? reason : undefined;
  } catch {
    return undefined;
  }
}
