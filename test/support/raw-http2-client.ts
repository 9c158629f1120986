import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { Identity } from './raw-client.js';

export const Frame = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;
const ACK = 1;

export interface ReadFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export interface RawHttp2Options {
  readonly port: number;
  readonly identity?: Identity | undefined;
  /** Of each stream, for the answers; 0 = nothing is ever taken. */
  readonly windowSize?: number;
  /** Left out, nobody says that it has read the server's SETTINGS. */
  readonly acknowledges?: boolean;
  readonly answersPings?: boolean;
}

/** An HTTP/2 client that sends exactly the frames it is told to and keeps all that comes back. */
export class RawHttp2 {
  readonly frames: ReadFrame[] = [];
  closed = false;
  #rest: Buffer = Buffer.alloc(0);
  #wake: (() => void)[] = [];

  private constructor(
    readonly socket: TLSSocket,
    readonly options: RawHttp2Options,
  ) {
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.closed = true;
      this.#notify();
    });
  }

  /** Resolves when its own SETTINGS are out. No dynamic table: what comes back can be read piece by piece. */
  static async open(options: RawHttp2Options): Promise<RawHttp2> {
    const { identity, port } = options;
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: 'svc.test',
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      ...(identity === undefined ? {} : { cert: identity.chainPem, key: identity.keyPem }),
    });
    const client = new RawHttp2(socket, options);
    await once(socket, 'secureConnect');
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    client.settings([1, 0], [4, options.windowSize ?? 65_535]);
    return client;
  }

  frame(type: number, flags: number, stream: number, payload: Buffer | string = ''): void {
    this.socket.write(frameOf(type, flags, stream, payload));
  }

  settings(...values: readonly (readonly [number, number])[]): void {
    const payload = Buffer.alloc(values.length * 6);
    values.forEach(([id, value], i) => {
      payload.writeUInt16BE(id, i * 6);
      payload.writeUInt32BE(value, i * 6 + 2);
    });
    this.frame(Frame.settings, 0, 0, payload);
  }

  headers(
    stream: number,
    fields: readonly (readonly [string, string])[],
    flags = END_HEADERS | END_STREAM,
  ): void {
    this.frame(Frame.headers, flags, stream, block(fields));
  }

  get(stream: number, path = '/public/a', more: readonly (readonly [string, string])[] = []): void {
    this.headers(stream, [...requestFields('GET', path), ...more]);
  }

  reset(stream: number, code = 8): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(code);
    this.frame(Frame.reset, 0, stream, payload);
  }

  /** The status of the answer on this stream. */
  statusOf(stream: number): number | undefined {
    for (const { type, payload, stream: of } of this.frames) {
      if (type !== Frame.headers || of !== stream) continue;
      const status = statusIn(payload);
      if (status !== undefined && status >= 200) return status;
    }
    return undefined;
  }

  /** The code it was reset with. */
  resetOf(stream: number): number | undefined {
    return this.frames
      .find(({ type, stream: of }) => type === Frame.reset && of === stream)
      ?.payload.readUInt32BE(0);
  }

  get goaways(): { readonly last: number; readonly code: number }[] {
    return this.frames
      .filter(({ type }) => type === Frame.goaway)
      .map(({ payload }) => ({ last: payload.readUInt32BE(0), code: payload.readUInt32BE(4) }));
  }

  dataOf(stream: number): Buffer {
    return Buffer.concat(
      this.frames
        .filter(({ type, stream: of }) => type === Frame.data && of === stream)
        .map((f) => f.payload),
    );
  }

  /** The stream has its answer, or was reset. */
  async settled(stream: number): Promise<void> {
    await this.until(
      () =>
        this.resetOf(stream) !== undefined ||
        this.frames.some(
          ({ flags, stream: of, type }) => of === stream && type <= 1 && (flags & END_STREAM) !== 0,
        ),
    );
  }

  async until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!condition() && !this.closed) {
      const left = deadline - Date.now();
      if (left <= 0) throw new Error('what was awaited of HTTP/2 did not come');
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  async untilClosed(timeoutMs = 10_000): Promise<void> {
    await this.until(() => false, timeoutMs);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) break;
      const [type, flags] = [this.#rest[3]!, this.#rest[4]!];
      const stream = this.#rest.readUInt32BE(5);
      this.frames.push({ type, flags, stream, payload: Buffer.from(this.#rest.subarray(9, 9 + length)) });
      this.#rest = this.#rest.subarray(9 + length);
      if (type === Frame.settings && flags === 0 && this.options.acknowledges !== false)
        this.frame(Frame.settings, ACK, 0);
      if (type === Frame.ping && flags === 0 && this.options.answersPings !== false)
        this.frame(Frame.ping, ACK, 0, this.frames.at(-1)!.payload);
    }
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}

export function frameOf(type: number, flags: number, stream: number, payload: Buffer | string = ''): Buffer {
  const body = Buffer.from(payload as string);
  const head = Buffer.alloc(9);
  head.writeUIntBE(body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, body]);
}

export const requestFields = (
  method: string,
  path: string,
  authority = 'svc.test',
): (readonly [string, string])[] => [
  [':method', method],
  [':scheme', 'https'],
  [':authority', authority],
  [':path', path],
];

/** Literals without indexing (RFC 7541 6.2.2), octets as they are. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

function text(value: string): Buffer {
  const octets = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(octets.length), octets]);
}

/** RFC 7541 5.1, with a prefix of seven bits. */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value]);
  const out = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) + 128);
  out.push(rest);
  return Buffer.from(out);
}

/** RFC 7541 Appendix A, 8 to 14. */
const STATIC_STATUS = [200, 204, 206, 304, 400, 404, 500];

/** `:status` comes first; undefined for trailers. */
function statusIn(payload: Buffer): number | undefined {
  let at = 0;
  while ((payload[at]! & 0xe0) === 0x20) at++; // a change of the table's size
  const first = payload[at]!;
  if ((first & 0x80) !== 0) return STATIC_STATUS[(first & 0x7f) - 8];
  const name = first & ((first & 0x40) !== 0 ? 0x3f : 0x0f);
  if (name < 8 || name > 14) return undefined;
  const length = payload[at + 1]! & 0x7f;
  const value = payload.subarray(at + 2, at + 2 + length);
  return Number((payload[at + 1]! & 0x80) === 0 ? value.toString('latin1') : digits(value));
}

/** Three digits in the code of RFC 7541 Appendix B: 0 to 2 in five bits, 3 to 9 in six. */
function digits(value: Buffer): string {
  const bits = [...value].map((octet) => octet.toString(2).padStart(8, '0')).join('');
  let out = '';
  for (let at = 0; out.length < 3; ) {
    const short = Number.parseInt(bits.slice(at, at + 5), 2);
    if (short <= 2) {
      out += short;
      at += 5;
    } else {
      out += Number.parseInt(bits.slice(at, at + 6), 2) - 0b011001 + 3;
      at += 6;
    }
  }
  return out;
}
