import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One request as the service got it. */
export interface ServedRequest {
  readonly method: string;
  readonly path: string;
  readonly remoteUser: string | undefined;
  readonly spiffeId: string | undefined;
  readonly atMs: number;
}

/** An invoice service of the old kind: plain HTTP, no certificates; it believes whatever stands in X-Remote-User. */
export class LegacyService {
  readonly served: ServedRequest[] = [];
  readonly #server = createServer((request, response) => this.#answer(request, response));

  async open(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '' } = request;
    const remoteUser = textOf(request.headers['x-remote-user']);
    const spiffeId = textOf(request.headers['x-spiffe-id']);
    this.served.push({ method, path: url, remoteUser, spiffeId, atMs: performance.now() });
    request.resume();
    request.once('end', () => {
      const body = `${JSON.stringify({ resource: url, total: '42.00 EUR', youAre: remoteUser ?? 'nobody' })}\n`;
      const id = request.headers['x-request-id'];
      if (id !== undefined) response.setHeader('x-request-id', id);
      response.writeHead(method === 'POST' ? 201 : 200, { 'content-type': 'application/json' }).end(body);
    });
  }
}

const textOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value.join(', ') : value;
