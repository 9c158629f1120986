import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import type { Identity } from './raw-client.js';

/** What came of one request; `status` 0 = no answer began. */
export class Http2Answer {
  status = 0;
  headers: IncomingHttpHeaders = {};
  body = '';
  trailers: IncomingHttpHeaders = {};
  readonly informational: IncomingHttpHeaders[] = [];
  /** Its end was said: it is whole. */
  isWhole = false;
  /** Code of its reset; 0 = none. */
  code = 0;
  readonly done: Promise<this>;

  constructor(readonly stream: ClientHttp2Stream) {
    stream.on('response', (headers) => {
      this.headers = headers;
      this.status = Number(headers[':status']);
    });
    stream.on('headers', (headers) => this.informational.push(headers));
    stream.on('trailers', (trailers) => {
      this.trailers = trailers;
    });
    stream.on('data', (chunk: Buffer) => {
      this.body += chunk.toString('latin1');
    });
    stream.on('error', () => undefined);
    stream.on('end', () => {
      this.isWhole = this.status !== 0 && !stream.aborted;
    });
    this.done = new Promise((resolve) => {
      stream.on('close', () => {
        this.code = stream.rstCode ?? 0;
        this.isWhole &&= this.code === 0;
        resolve(this);
      });
    });
  }
}

/** Node's own client of HTTP/2, as the callers of the test world. */
export class Http2Client {
  private constructor(readonly session: ClientHttp2Session) {}

  static async open(port: number, identity?: Identity): Promise<Http2Client> {
    const session = connect(`https://127.0.0.1:${port}`, {
      servername: 'svc.test',
      rejectUnauthorized: false,
      ...(identity === undefined ? {} : { cert: identity.chainPem, key: identity.keyPem }),
    });
    session.on('error', () => undefined);
    await once(session, 'connect');
    return new Http2Client(session);
  }

  /** A body that is left out ends with the head; null leaves it open. */
  send(path: string, fields: OutgoingHttpHeaders = {}, body: string | null = ''): Http2Answer {
    const stream = this.session.request(
      { ':authority': 'svc.test', ':path': path, ...fields },
      { endStream: body === '' },
    );
    if (body !== null && body !== '') stream.end(body);
    return new Http2Answer(stream);
  }

  ask(path: string, fields: OutgoingHttpHeaders = {}, body = ''): Promise<Http2Answer> {
    return this.send(path, fields, body).done;
  }

  /** Of a gRPC call that says nothing. */
  call(path: string): Promise<Http2Answer> {
    return this.ask(
      path,
      { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' },
      '\0\0\0\0\0',
    );
  }

  get isOpen(): boolean {
    return !this.session.closed && !this.session.destroyed;
  }

  async untilClosed(): Promise<void> {
    if (!this.session.destroyed) await once(this.session, 'close');
  }

  destroy(): void {
    this.session.destroy();
  }
}
