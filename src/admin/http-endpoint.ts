import { chmodSync, rmSync, statSync } from 'node:fs';
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import { isIP } from 'node:net';
import type { Address } from '../config/config.js';

export type Handler = (request: IncomingMessage, response: ServerResponse, url: URL) => void | Promise<void>;

/** A small plain-HTTP server of fixed paths for operators: bounded, and closed to pages that a browser brings from elsewhere. */
export class HttpEndpoint {
  readonly #server: Server;

  /**
   * @param routes `METHOD /path` to handler; a path that ends in `/*` takes any last segment.
   * @param hosts Under which names it may be asked.
   */
  constructor(
    readonly name: string,
    readonly routes: ReadonlyMap<string, Handler>,
    readonly hosts: 'local' | 'any',
  ) {
    this.#server = createServer(
      { maxHeaderSize: 8192, headersTimeout: 5000, requestTimeout: 10_000, keepAliveTimeout: 5000 },
      (request, response) => void this.#handle(request, response),
    );
    this.#server.maxConnections = 256;
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  async open(address: Address): Promise<void> {
    if (address.kind === 'unix') removeStaleSocket(address.path);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      const done = (): void => {
        this.#server.off('error', reject);
        this.#server.on('error', () => undefined);
        resolve();
      };
      if (address.kind === 'unix') {
        this.#server.listen({ path: address.path }, () => {
          try {
            chmodSync(address.path, 0o600);
            done();
          } catch (cause) {
            reject(cause as Error); // whoever may connect must be known
          }
        });
      } else this.#server.listen({ host: address.host, port: address.port }, done);
    });
  }

  get boundAddress(): string {
    const address = this.#server.address();
    if (address === null) return '';
    if (typeof address === 'string') return address;
    return address.family === 'IPv6'
      ? `[${address.address}]:${address.port}`
      : `${address.address}:${address.port}`;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('cache-control', 'no-store');
    response.setHeader('x-content-type-options', 'nosniff');
    request.resume(); // a handler that wants the body asks for it before anything of it can have flowed by
    try {
      const url = new URL(request.url ?? '/', 'http://admin');
      if (this.hosts === 'local' && !isLocalHost(request.headers.host))
        return sendText(response, 421, 'ask by address, or by localhost\n');
      const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
      const path = this.#pathOf(url.pathname);
      const handler = this.routes.get(`${method} ${path}`);
      if (handler === undefined) {
        const known = [...this.routes.keys()].some((key) => key.endsWith(` ${path}`));
        return sendText(response, known ? 405 : 404, known ? 'method not allowed\n' : 'not found\n');
      }
      if (method !== 'GET' && isFromPage(request)) return sendText(response, 403, 'not from a page\n');
      await handler(request, response, url);
    } catch {
      if (!response.headersSent) sendText(response, 500, 'internal error\n');
      else response.destroy();
    }
  }

  #pathOf(pathname: string): string {
    const folder = `${pathname.slice(0, pathname.lastIndexOf('/') + 1)}*`;
    return [...this.routes.keys()].some((key) => key.endsWith(` ${folder}`)) ? folder : pathname;
  }
}

export function sendText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: object,
  type = 'application/json',
): void {
  response.writeHead(status, { 'content-type': type }).end(`${JSON.stringify(value, null, 2)}\n`);
}

/** RFC 9457; `more` are members of our own. */
export function sendProblem(
  response: ServerResponse,
  status: number,
  detail: string,
  more: object = {},
): void {
  const title = STATUS_CODES[status] ?? '';
  sendJson(
    response,
    status,
    { type: 'about:blank', title, status, detail, ...more },
    'application/problem+json',
  );
}

/** The whole body, or undefined where it is longer than `limitBytes`. Throws where it was cut short: what came of it is no order. */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= limitBytes) chunks.push(chunk);
    });
    request.once('end', resolve);
    request.once('close', () => reject(new Error('the request was cut short')));
  });
  return bytes > limitBytes ? undefined : Buffer.concat(chunks);
}

/** DNS rebinding: a page from elsewhere reaches loopback under its own name, so names other than localhost are not served. */
function isLocalHost(host: string | undefined): boolean {
  if (host === undefined || host === '') return true;
  const name = host.startsWith('[') ? host.slice(1, host.indexOf(']')) : host.replace(/:\d*$/, '');
  return name === 'localhost' || isIP(name) !== 0 || name.endsWith('.localhost');
}

/** A browser says where a request comes from; a tool does not. */
const isFromPage = (request: IncomingMessage): boolean =>
  request.headers.origin !== undefined || (request.headers['sec-fetch-site'] ?? 'none') !== 'none';

function removeStaleSocket(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isSocket()) rmSync(path);
}
