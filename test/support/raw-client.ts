import { once } from 'node:events';
import { connect as connectPlain, type NetConnectOpts, type Socket } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Identity {
  readonly chainPem: string;
  readonly keyPem: string;
}

export interface ClientOptions extends ConnectionOptions {
  readonly identity?: Identity | undefined;
  readonly port: number;
  /** Where it comes from; on Linux all of 127.0.0.0/8 is ours. */
  readonly localAddress?: string;
}

/** A client, over TLS unless it is told otherwise, that writes exactly the bytes it is told to and keeps all that comes back. */
export class RawClient<Transport extends Socket = TLSSocket> {
  received = '';
  closed = false;
  error: Error | undefined;
  #wake: (() => void)[] = [];

  private constructor(readonly socket: Transport) {
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
      this.#notify();
    });
    socket.on('error', (error) => {
      this.error = error;
      this.#notify();
    });
    socket.on('close', () => {
      this.closed = true;
      this.#notify();
    });
  }

  /** Resolves when the handshake is over, also when it failed (see `error`, `closed`). */
  static async open(options: ClientOptions): Promise<RawClient> {
    const { identity, ...rest } = options;
    const socket = connect({
      host: '127.0.0.1',
      servername: 'svc.test',
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
      ...(identity === undefined ? {} : { cert: identity.chainPem, key: identity.keyPem }),
      ...rest,
    });
    const client = new RawClient(socket);
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => undefined);
    return client;
  }

  /** Without TLS. Resolves when it is connected, or could not be. */
  static async openPlain(where: NetConnectOpts): Promise<RawClient<Socket>> {
    const socket = connectPlain(where);
    const client = new RawClient(socket);
    await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(() => undefined);
    return client;
  }

  send(bytes: string): void {
    this.socket.write(Buffer.from(bytes, 'latin1'));
  }

  /** Sends and waits for that many whole answers, or the end of the connection. */
  async ask(bytes: string, answers = 1): Promise<Answer[]> {
    const before = parseAnswers(this.received).length;
    this.send(bytes);
    await this.until(() => parseAnswers(this.received).length >= before + answers);
    return parseAnswers(this.received).slice(before);
  }

  get answers(): Answer[] {
    return parseAnswers(this.received);
  }

  /** Resolves when the condition holds or the connection is gone; rejects after `timeoutMs`. */
  async until(condition: () => boolean, timeoutMs = 15_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!condition() && !this.closed) {
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(`nothing more came; received: ${JSON.stringify(this.received.slice(-500))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  untilClosed(timeoutMs = 15_000): Promise<void> {
    return this.until(() => this.closed, timeoutMs);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}

/** Whole final answers in what was received (1xx are skipped). Answers to HEAD are told by their method elsewhere. */
export function parseAnswers(bytes: string): Answer[] {
  const answers: Answer[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return answers;
    const [line = '', ...lines] = rest.slice(0, end).split('\r\n');
    const status = Number(line.split(' ')[1]);
    const headers: Record<string, string> = Object.create(null);
    for (const text of lines) {
      const colon = text.indexOf(':');
      const name = text.slice(0, colon).toLowerCase();
      const value = text.slice(colon + 1).trim();
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    rest = rest.slice(end + 4);
    if (status < 200) {
      if (status === 101) {
        answers.push({ status, headers, body: rest });
        return answers;
      }
      continue;
    }
    const body = takeAnswerBody(rest, headers);
    if (body === undefined) return answers;
    answers.push({ status, headers, body: body.text });
    rest = rest.slice(body.taken);
  }
}

function takeAnswerBody(
  rest: string,
  headers: Readonly<Record<string, string>>,
): { text: string; taken: number } | undefined {
  if (headers['transfer-encoding'] !== undefined) {
    let text = '';
    let at = 0;
    for (;;) {
      const lineEnd = rest.indexOf('\r\n', at);
      if (lineEnd < 0) return undefined;
      const size = Number.parseInt(rest.slice(at, lineEnd), 16);
      at = lineEnd + 2;
      if (size === 0) return rest.length >= at + 2 ? { text, taken: at + 2 } : undefined;
      if (rest.length < at + size + 2) return undefined;
      text += rest.slice(at, at + size);
      at += size + 2;
    }
  }
  const size = Number(headers['content-length'] ?? 0);
  return rest.length >= size ? { text: rest.slice(0, size), taken: size } : undefined;
}
