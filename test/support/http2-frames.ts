/** Frames of HTTP/2 by hand (RFC 9113 4, 6): raw peers say with them what no library would say. */

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const HEAD_BYTES = 9;

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FLAG = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const SETTING = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
  enableConnectProtocol: 8,
} as const;

export const ERROR = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  refusedStream: 7,
  cancel: 8,
  enhanceYourCalm: 11,
} as const;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

export const dataFrame = (stream: number, data: string | Buffer, flags = 0): Buffer =>
  frame(FRAME.data, flags, stream, typeof data === 'string' ? Buffer.from(data, 'latin1') : data);

/** @param flags END_HEADERS comes by itself. */
export const headersFrame = (
  stream: number,
  fields: readonly (readonly [string, string])[],
  flags = 0,
): Buffer => frame(FRAME.headers, flags | FLAG.endHeaders, stream, encodeFields(fields));

export const rstFrame = (stream: number, code: number): Buffer =>
  frame(FRAME.rstStream, 0, stream, uint32(code));

export const settingsFrame = (settings: readonly (readonly [number, number])[] = []): Buffer =>
  frame(
    FRAME.settings,
    0,
    0,
    Buffer.concat(
      settings.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)])),
    ),
  );

export const settingsAck = (): Buffer => frame(FRAME.settings, FLAG.ack, 0);

export const pingFrame = (opaque: Buffer = Buffer.alloc(8), flags = 0): Buffer =>
  frame(FRAME.ping, flags, 0, opaque);

export const goawayFrame = (lastStream: number, code: number): Buffer =>
  frame(FRAME.goaway, 0, 0, Buffer.concat([uint32(lastStream), uint32(code)]));

export const windowUpdateFrame = (stream: number, increment: number): Buffer =>
  frame(FRAME.windowUpdate, 0, stream, uint32(increment));

/** Literals without indexing and without Huffman (RFC 7541 6.2.2): any octets, in any order. */
export function encodeFields(fields: readonly (readonly [string, string])[]): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of fields) parts.push(Buffer.from([0]), literal(name), literal(value));
  return Buffer.concat(parts);
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, 'latin1');
  return Buffer.concat([encodeInteger(bytes.length, 7, 0), bytes]);
}

/** RFC 7541 5.1. */
export function encodeInteger(value: number, prefixBits: number, lead: number): Buffer {
  const limit = (1 << prefixBits) - 1;
  if (value < limit) return Buffer.from([lead | value]);
  const octets = [lead | limit];
  let rest = value - limit;
  while (rest >= 128) {
    octets.push((rest & 127) | 128);
    rest = Math.floor(rest / 128);
  }
  octets.push(rest);
  return Buffer.from(octets);
}

/** Cuts what a peer sends into frames, however it comes. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    while (bytes.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + bytes.readUIntBE(0, 3);
      if (bytes.length < end) break;
      frames.push({
        type: bytes[3]!,
        flags: bytes[4]!,
        stream: bytes.readUInt32BE(5) & 0x7fffffff,
        payload: bytes.subarray(HEAD_BYTES, end),
      });
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    return frames;
  }
}
