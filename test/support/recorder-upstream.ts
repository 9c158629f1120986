import { createServer, type Server, type Socket } from 'node:net';

export interface RecordedConnection {
  readonly socket: Socket;
  /** Every byte, latin1. */
  bytes: string;
  closed: boolean;
}

export type Responder = (connection: RecordedConnection, fresh: string) => void;

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers 200 `ok` to every complete head (plus its declared or chunked body) that has arrived. */
export function answerOk(connection: RecordedConnection & { answered?: number }): void {
  const requests = countRequests(connection.bytes);
  for (let i = connection.answered ?? 0; i < requests; i++) connection.socket.write(OK);
  connection.answered = requests;
}

/** The upstream of the attack corpus: a raw socket that keeps every byte of every connection. */
export class RecorderUpstream {
  readonly connections: RecordedConnection[] = [];
  readonly server: Server;
  respond: Responder = answerOk;

  constructor() {
    this.server = createServer((socket) => {
      const connection: RecordedConnection = { socket, bytes: '', closed: false };
      this.connections.push(connection);
      socket.on('data', (chunk) => {
        const fresh = chunk.toString('latin1');
        connection.bytes += fresh;
        this.respond(connection, fresh);
      });
      socket.on('error', () => undefined);
      socket.on('close', () => {
        connection.closed = true;
      });
    });
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get bytes(): string {
    return this.connections.map((connection) => connection.bytes).join('');
  }

  get requests(): ParsedRequest[] {
    return this.connections.flatMap((connection) => parseRequests(connection.bytes));
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

export interface ParsedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  readonly complete: boolean;
  header(name: string): string | undefined;
  all(name: string): string[];
}

/** An independent, strict reading of what the upstream received. */
export function parseRequests(bytes: string): ParsedRequest[] {
  const requests: ParsedRequest[] = [];
  let rest = bytes;
  while (rest.length > 0) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) break;
    const [line = '', ...lines] = rest.slice(0, end).split('\r\n');
    const [method = '', target = ''] = line.split(' ');
    const headers = lines.map((text): readonly [string, string] => {
      const colon = text.indexOf(':');
      return [text.slice(0, colon), text.slice(colon + 1).trim()];
    });
    const all = (name: string): string[] =>
      headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
    rest = rest.slice(end + 4);
    const body = takeBody(rest, all('transfer-encoding')[0], all('content-length')[0]);
    rest = rest.slice(body.taken);
    requests.push({
      method,
      target,
      headers,
      body: body.text,
      complete: body.complete,
      header: (n) => all(n)[0],
      all,
    });
    if (!body.complete) break;
  }
  return requests;
}

export const countRequests = (bytes: string): number =>
  parseRequests(bytes).filter((request) => request.complete).length;

function takeBody(
  rest: string,
  coding: string | undefined,
  length: string | undefined,
): { text: string; taken: number; complete: boolean } {
  if (coding !== undefined) return takeChunks(rest);
  const size = Number(length ?? 0);
  return { text: rest.slice(0, size), taken: Math.min(size, rest.length), complete: rest.length >= size };
}

function takeChunks(rest: string): { text: string; taken: number; complete: boolean } {
  let text = '';
  let at = 0;
  for (;;) {
    const lineEnd = rest.indexOf('\r\n', at);
    if (lineEnd < 0) return { text, taken: rest.length, complete: false };
    const size = Number.parseInt(rest.slice(at, lineEnd), 16);
    at = lineEnd + 2;
    if (size === 0) {
      const end = rest.indexOf('\r\n', at);
      if (end !== at) return { text, taken: rest.length, complete: false };
      return { text, taken: at + 2, complete: true };
    }
    if (rest.length < at + size + 2)
      return { text: text + rest.slice(at), taken: rest.length, complete: false };
    text += rest.slice(at, at + size);
    at += size + 2;
  }
}
