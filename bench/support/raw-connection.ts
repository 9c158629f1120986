import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { MessageScanner } from './message-scanner.js';

export const HOST = 'billing.internal';

export interface PemIdentity {
  readonly certificate: string;
  readonly key: string;
}

/** One suite and one group for all, so that every subject does the same arithmetic. */
export function clientContext({ certificate, key }: PemIdentity): SecureContext {
  return createSecureContext({
    cert: certificate,
    key,
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256',
    ecdhCurve: 'X25519',
  });
}

/** Starts a handshake on loopback: a full one, unless a session is offered and taken. */
export function startHandshake(port: number, secureContext: SecureContext, session?: Buffer): TLSSocket {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: HOST,
    secureContext,
    ...(session === undefined ? {} : { session }),
    // Whom we load is no question here; the peer's proof of its key is checked by TLS 1.3 all the same.
    rejectUnauthorized: false,
  });
  socket.setNoDelay(true);
  return socket;
}

/** A keep-alive client connection that sends prepared bytes and counts answers. */
export class RawConnection {
  /** Called for each whole answer. */
  onAnswer: (status: number) => void = () => undefined;
  /** Called for every read, before it is scanned. */
  onBytes: () => void = () => undefined;
  /** Called once, at the first sign that the other side is done with us. */
  onEnd: (error: Error | undefined) => void = () => undefined;
  #hasEnded = false;
  readonly #scanner = new MessageScanner();

  private constructor(readonly socket: TLSSocket) {
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('end', () => this.#end(undefined));
    socket.on('error', (error) => this.#end(error));
    socket.on('close', () => this.#end(undefined));
  }

  static open(port: number, context: SecureContext): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const socket = startHandshake(port, context);
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        socket.off('error', reject);
        resolve(new RawConnection(socket));
      });
    });
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** One request and its status; 0 when the connection ended instead of an answer. */
  ask(bytes: Buffer): Promise<number> {
    if (this.#hasEnded) return Promise.resolve(0);
    return new Promise((resolve) => {
      this.onAnswer = resolve;
      this.onEnd = () => resolve(0);
      this.send(bytes);
    });
  }

  destroy(): void {
    this.#hasEnded = true;
    this.socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.onBytes();
    const complete = this.#scanner.push(chunk);
    for (let i = 0; i < complete; i++) this.onAnswer(this.#scanner.status);
  }

  #end(error: Error | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.onEnd(error);
  }
}

/** The bytes of a small GET as a service's HTTP library would send it. */
export function getRequest(path: string): Buffer {
  return Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: bench/1\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n\r\n`,
  );
}

export function postRequest(path: string, bodyBytes: number): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: bench/1\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bodyBytes}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.alloc(bodyBytes, 'x')]);
}
