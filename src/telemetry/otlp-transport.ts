import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
  validateHeaderValue,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import { retryAfterMs } from './retry-after.js';

/** Where records are exported to, as the configuration says it. */
export interface CollectorSettings {
  readonly url: {
    readonly protocol: 'http:' | 'https:';
    readonly host: string;
    readonly port: number;
    readonly authority: string;
    readonly target: string;
  };
  readonly headers: readonly (
    | { readonly name: string; readonly value: string }
    | { readonly name: string; readonly file: string }
  )[];
  readonly caFile?: string;
  readonly timeoutMs: number;
}

/** What became of a batch. `later`: nobody took it, somebody may yet. `refused`: asking again is asking the same. */
export type SendOutcome =
  | { readonly kind: 'answered'; readonly body: Buffer; readonly contentType: string }
  | { readonly kind: 'later'; readonly why: string; readonly afterMs?: number | undefined }
  | { readonly kind: 'refused'; readonly why: string };

/** OTLP 1.x, "Retryable response codes"; all others must not be tried again. */
const LATER: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const MAX_ANSWER_BYTES = 64 * 1024;
const later = (why: string): SendOutcome => ({ kind: 'later', why });

/** One kept connection to a collector, and the way to post to it. Follows no redirect, obeys no proxy variable. */
export class OtlpTransport {
  readonly #settings: CollectorSettings;
  /** Made anew after a failure: CAs and credentials may have changed, which can be why. */
  #agent: HttpAgent | HttpsAgent | undefined;

  /** Throws where a file that it needs cannot be read: that is found at the start, not when something is to be sent. */
  constructor(settings: CollectorSettings) {
    this.#settings = settings;
    if (settings.caFile !== undefined) readFileSync(settings.caFile);
    for (const header of settings.headers) if ('file' in header) readFileSync(header.file);
  }

  /** Posts a batch. Never rejects; a credential stands in no answer. */
  async send(body: Uint8Array, signal: AbortSignal): Promise<SendOutcome> {
    let outcome: SendOutcome | 'unheard';
    try {
      const headers = await this.#headers(body.length);
      this.#agent ??= await this.#connections();
      outcome = await this.#post(this.#agent, headers, body, signal);
      // A kept connection that the collector had given up meanwhile: that is no outage.
      if (outcome === 'unheard') outcome = await this.#post(await this.#renew(), headers, body, signal);
    } catch (cause) {
      outcome = later((cause as Error).message);
    }
    if (outcome === 'unheard') outcome = later('the connection was closed before an answer');
    if (outcome.kind === 'later') this.close();
    return outcome;
  }

  close(): void {
    this.#agent?.destroy();
    this.#agent = undefined;
  }

  async #renew(): Promise<HttpAgent | HttpsAgent> {
    this.close();
    this.#agent = await this.#connections();
    return this.#agent;
  }

  async #connections(): Promise<HttpAgent | HttpsAgent> {
    const { url, caFile } = this.#settings;
    const pool = { keepAlive: true, maxSockets: 1 };
    if (url.protocol === 'http:') return new HttpAgent(pool);
    const ca = caFile === undefined ? undefined : await readFile(caFile);
    return new HttpsAgent({
      ...pool,
      rejectUnauthorized: true, // whatever NODE_TLS_REJECT_UNAUTHORIZED says
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(isIP(url.host) === 0 ? { servername: url.host } : {}),
    });
  }

  async #headers(bodyBytes: number): Promise<Record<string, string | number>> {
    const { url, headers } = this.#settings;
    const all: Record<string, string | number> = {};
    for (const header of headers) {
      const value = 'value' in header ? header.value : await readHeaderFile(header.name, header.file);
      all[header.name.toLowerCase()] = value;
    }
    return {
      ...all,
      host: url.authority,
      'content-type': 'application/x-protobuf',
      'content-length': bodyBytes,
      'accept-encoding': 'identity',
    };
  }

  #post(
    agent: HttpAgent | HttpsAgent,
    headers: Record<string, string | number>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<SendOutcome | 'unheard'> {
    const { url, timeoutMs } = this.#settings;
    return new Promise((resolve) => {
      const options: RequestOptions = { method: 'POST', agent, host: url.host, port: url.port };
      const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
      const request = send({ ...options, path: url.target, headers, signal });
      let isHeard = false;
      const end = (outcome: SendOutcome | 'unheard'): void => {
        clearTimeout(timer);
        resolve(outcome);
        if (outcome === 'unheard' || outcome.kind !== 'answered') request.destroy();
      };
      // Of the whole exchange: a collector that answers a byte a minute is none.
      const timer = setTimeout(() => end(later(`no whole answer within ${timeoutMs} ms`)), timeoutMs);
      request.on('error', (error: NodeJS.ErrnoException) => {
        const isStale = request.reusedSocket && !isHeard && !signal.aborted;
        end(isStale ? 'unheard' : later(problemOf(error)));
      });
      request.once('response', (response) => {
        isHeard = true;
        readAnswer(response, end);
      });
      request.end(body);
    });
  }
}

function readAnswer(response: IncomingMessage, end: (outcome: SendOutcome) => void): void {
  const { statusCode = 0, headers } = response;
  const why = `it answered ${statusCode}`;
  if (LATER.has(statusCode))
    return end({ kind: 'later', why, afterMs: retryAfterMs(headers['retry-after'], Date.now()) });
  if (statusCode >= 300 && statusCode < 400)
    return end({
      kind: 'refused',
      why: `${why}: redirects are not followed; name the place itself in \`url\``,
    });
  if (statusCode < 200 || statusCode > 299) return end({ kind: 'refused', why });
  const chunks: Buffer[] = [];
  let size = 0;
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES)
      end({ kind: 'refused', why: `its answer is longer than ${MAX_ANSWER_BYTES} bytes` });
    else chunks.push(chunk);
  });
  response.on('end', () => {
    if (response.complete)
      end({ kind: 'answered', body: Buffer.concat(chunks), contentType: headers['content-type'] ?? '' });
  });
  const cut = (): void => end(later('its answer was cut short'));
  response.on('error', cut);
  response.on('close', cut);
}

/** Read for every batch: what rotates is in force with the next. */
async function readHeaderFile(name: string, file: string): Promise<string> {
  const value = (await readFile(file, 'utf8')).trim();
  if (value === '') throw new Error(`header ${name}: ${file} is empty`);
  validateHeaderValue(name, value); // its error names the header alone
  return value;
}

/** An AggregateError of several addresses has no words of its own. */
function problemOf(error: NodeJS.ErrnoException): string {
  return error.message === '' ? (error.code ?? error.name) : error.message;
}
