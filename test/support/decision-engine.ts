import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';

export interface Asked {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what is there, not at types
  readonly input: any;
}

export type Reply = (asked: Asked, response: ServerResponse, socket: Socket) => void;

let decisions = 0;

/** Answers as OPA does, with a decision id. */
export const says =
  (result: unknown): Reply =>
  (_asked, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({ decision_id: `d-${++decisions}`, ...(result === undefined ? {} : { result }) }),
    );
  };

/** Answers with these bytes and this status, whatever they are. */
export const writes =
  (body: string, status = 200): Reply =>
  (_asked, response) => {
    response.writeHead(status).end(body);
  };

/** A real HTTP server that speaks OPA's data API, as far as it is used: POST with an input, answered by the test. */
export class DecisionEngine {
  readonly asked: Asked[] = [];
  readonly sockets = new Set<Socket>();
  reply: Reply = says(true);
  readonly server: Server;

  constructor(tls?: { readonly cert: string; readonly key: string }) {
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      this.#take(request, response);
    this.server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
    this.server.keepAliveTimeout = 0;
    this.server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  async open(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    return this;
  }

  async openAt(path: string): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(path, resolve));
    return this;
  }

  get port(): number {
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/v1/data/countersign/decision`;
  }

  dropConnections(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.dropConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { input } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as Pick<Asked, 'input'>;
      const asked = { path: request.url ?? '', headers: request.headers, input };
      this.asked.push(asked);
      this.reply(asked, response, request.socket);
    });
  }
}
