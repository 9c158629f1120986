import { createServer } from 'node:http';
import WebSocket, { WebSocketServer } from 'ws';
import type { Svid } from './pki.js';

/** An upstream that says back what a WebSocket says. */
export class EchoServer {
  readonly #server = createServer();
  readonly #sockets = new WebSocketServer({ server: this.#server });

  async open(): Promise<this> {
    this.#sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`echo ${data}`)));
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  close(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
    this.#sockets.close();
    this.#server.close();
  }
}

/** A WebSocket through the proxy, open and heard once. `closed` resolves with its end. */
export async function openSocket(
  port: number,
  identity: Svid,
  path = '/ws',
): Promise<{ readonly socket: WebSocket; readonly closed: Promise<void> }> {
  const options = {
    cert: identity.chainPem,
    key: identity.keyPem,
    rejectUnauthorized: false,
    servername: 'svc.test',
    headers: { host: 'svc.test' },
  };
  const socket = new WebSocket(`wss://127.0.0.1:${port}${path}`, options);
  await new Promise<void>((resolve, reject) => {
    socket.once('open', () => resolve()).once('error', reject);
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const echo = new Promise<string>((resolve) => socket.once('message', (data) => resolve(String(data))));
  socket.send('hello');
  if ((await echo) !== 'echo hello') throw new Error('the socket does not echo');
  return { socket, closed };
}
