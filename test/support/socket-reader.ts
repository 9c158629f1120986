import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';

/** A log collector's unix socket: takes connections and keeps what comes over each. */
export class SocketReader {
  /** What came over each connection, oldest first. */
  readonly received: string[] = [];
  readonly sockets = new Set<Socket>();
  isReading = true;
  readonly #server: Server;

  constructor(readonly path: string) {
    this.#server = createServer((socket) => {
      const number = this.received.push('') - 1;
      this.sockets.add(socket);
      socket.setEncoding('utf8');
      socket.on('data', (text: string) => {
        this.received[number] += text;
      });
      socket.on('error', () => undefined);
      socket.on('close', () => this.sockets.delete(socket));
      if (!this.isReading) socket.pause();
    });
  }

  async open(): Promise<this> {
    rmSync(this.path, { force: true });
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
    return this;
  }

  get text(): string {
    return this.received.join('');
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  /** What the connections are read from now on. */
  read(): void {
    this.isReading = true;
    for (const socket of this.sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
