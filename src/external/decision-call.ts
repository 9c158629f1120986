import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { ExternalDecisionConfig } from '../config/config.js';
import { err, ok, type Result } from '../reasons.js';

const MAX_BODY_BYTES = 64 * 1024;
/** Answers that say that nobody is there to answer now, whatever the question. */
const AWAY: ReadonlySet<number | undefined> = new Set([429, 502, 503, 504]);

/** Why there is no answer. `isAway`: the engine is not there, slow or overloaded, which the next question would find too. */
export interface CallProblem {
  readonly text: string;
  readonly isAway: boolean;
}

type SecureOptions = Pick<ConnectionOptions, 'rejectUnauthorized' | 'minVersion' | 'ca' | 'servername'>;

const HEADERS = {
  'content-type': 'application/json',
  accept: 'application/json',
  'accept-encoding': 'identity',
} as const;

type Outcome = Result<Buffer, CallProblem>;

const away = (text: string): { readonly ok: false; readonly error: CallProblem } =>
  err({ text, isAway: true });

/** The kept connections to one engine, and the way to ask it. */
export class EngineConnections {
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #options: RequestOptions;
  readonly #isSecure: boolean;
  readonly #timeoutMs: number;
  readonly #authority: string;
  readonly #verified: SecureOptions;

  /** @param ca PEM, in place of the public roots. */
  constructor(config: ExternalDecisionConfig, ca: Buffer | undefined) {
    const { url, socketPath, maxConcurrent, timeoutMs } = config;
    const pool = { keepAlive: true, maxSockets: maxConcurrent, maxFreeSockets: maxConcurrent };
    this.#isSecure = url.protocol === 'https:';
    this.#timeoutMs = timeoutMs;
    this.#authority = url.authority;
    this.#verified = {
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(isIP(url.host) === 0 ? { servername: url.host } : {}),
    };
    this.#agent = this.#isSecure ? new HttpsAgent({ ...pool, ...this.#verified }) : new HttpAgent(pool);
    this.#options = {
      method: 'POST',
      agent: this.#agent,
      path: url.target,
      ...(socketPath === undefined ? { host: url.host, port: url.port } : { socketPath }),
    };
  }

  /**
   * Posts `body` and gives back the body of a 200, whole and within the deadline. A kept connection that the engine had
   * given up is tried once more: the data API changes nothing, so asking twice is asking once.
   */
  async ask(body: string, signal: AbortSignal): Promise<Outcome> {
    const untilMs = performance.now() + this.#timeoutMs;
    const first = await this.#askOnce(this.#options, body, signal, untilMs);
    if (first !== 'unheard') return first;
    const fresh = { ...this.#options, ...this.#verified, agent: false };
    const second = await this.#askOnce(fresh, body, signal, untilMs);
    return second === 'unheard' ? away('the connection was closed before an answer') : second;
  }

  /** What is kept is closed; nothing may be under way. */
  close(): void {
    this.#agent.destroy();
  }

  #askOnce(
    options: RequestOptions,
    body: string,
    signal: AbortSignal,
    untilMs: number,
  ): Promise<Outcome | 'unheard'> {
    return new Promise((resolve) => {
      const send = this.#isSecure ? httpsRequest : httpRequest;
      const headers = { ...HEADERS, host: this.#authority, 'content-length': Buffer.byteLength(body) };
      const request = send({ ...options, headers });
      let isHeard = false;
      let isOver = false;
      const end = (outcome: Outcome | 'unheard'): void => {
        if (isOver) return;
        isOver = true;
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        resolve(outcome);
        if (outcome === 'unheard' || !outcome.ok) request.destroy();
      };
      const onAbort = (): void => end(err({ text: 'the client went away', isAway: false }));
      const late = (): void => end(away(`no whole answer within ${this.#timeoutMs} ms`));
      const timer = setTimeout(late, Math.max(1, untilMs - performance.now()));
      signal.addEventListener('abort', onAbort);
      request.on('error', (error: NodeJS.ErrnoException) => {
        const isStale = request.reusedSocket && !isHeard && performance.now() < untilMs;
        end(isStale ? 'unheard' : away(problemOf(error)));
      });
      request.once('response', (response) => {
        isHeard = true;
        readWhole(response, end);
      });
      if (signal.aborted) onAbort();
      else request.end(body);
    });
  }
}

function readWhole(response: IncomingMessage, end: (outcome: Outcome) => void): void {
  const { statusCode } = response;
  if (statusCode !== 200)
    return end(err({ text: `it answered ${statusCode}`, isAway: AWAY.has(statusCode) }));
  const chunks: Buffer[] = [];
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    chunks.push(chunk);
    if (size > MAX_BODY_BYTES)
      end(err({ text: `its answer is longer than ${MAX_BODY_BYTES} bytes`, isAway: false }));
  });
  response.on('end', () => {
    if (response.complete) end(ok(Buffer.concat(chunks)));
  });
  response.on('error', () => end(away('its answer was cut short')));
  response.on('close', () => end(away('its answer was cut short')));
}

/** An AggregateError of several addresses has no words of its own. */
function problemOf(error: NodeJS.ErrnoException): string {
  return error.message === '' ? (error.code ?? error.name) : error.message;
}
