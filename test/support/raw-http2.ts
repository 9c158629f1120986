import { createServer, type Server, type Socket } from 'node:net';
import {
  FLAG,
  FRAME,
  type Frame,
  FrameReader,
  headersFrame,
  PREFACE,
  pingFrame,
  settingsAck,
  settingsFrame,
} from './http2-frames.js';

/** What one client of a raw server sent, and what it is to hear. */
export class RawHttp2Connection {
  /** All but PING, SETTINGS and WINDOW_UPDATE, in their order. */
  readonly frames: Frame[] = [];
  pings = 0;
  pongs = 0;
  acknowledged = 0;
  isClosed = false;

  constructor(readonly socket: Socket) {}

  send(...frames: readonly Buffer[]): this {
    this.socket.write(Buffer.concat(frames));
    return this;
  }

  /** Of one stream. */
  framesOf(stream: number): Frame[] {
    return this.frames.filter((frame) => frame.stream === stream);
  }

  /** DATA of one stream, joined. */
  bodyOf(stream: number): string {
    const pieces = this.framesOf(stream).filter(({ type }) => type === FRAME.data);
    return Buffer.concat(pieces.map(({ payload }) => payload)).toString('latin1');
  }

  /** The client said that its request is whole. */
  hasEnded(stream: number): boolean {
    return this.framesOf(stream).some(
      ({ type, flags }) => (type === FRAME.data || type === FRAME.headers) && (flags & FLAG.endStream) !== 0,
    );
  }

  /** The error code that the client reset the stream with. */
  resetOf(stream: number): number | undefined {
    return this.framesOf(stream)
      .find(({ type }) => type === FRAME.rstStream)
      ?.payload.readUInt32BE();
  }
}

type OnFrame = (connection: RawHttp2Connection, frame: Frame) => void;

/** A server of HTTP/2 that says what its script says, frame by frame (RFC 9113). */
export class RawHttp2Server {
  readonly connections: RawHttp2Connection[] = [];
  /** Sent first on each connection. */
  greeting: readonly Buffer[] = [settingsFrame()];
  answersPings = true;
  answersSettings = true;
  /** HEADERS, DATA and RST_STREAM as they come. */
  onFrame: OnFrame = answerOk;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async close(): Promise<void> {
    for (const { socket } of this.connections) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    const connection = new RawHttp2Connection(socket);
    const reader = new FrameReader();
    let preface: Buffer = Buffer.alloc(0);
    this.connections.push(connection);
    connection.send(...this.greeting);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connection.isClosed = true;
    });
    socket.on('data', (chunk: Buffer) => {
      let fresh: Buffer = chunk;
      if (preface.length < PREFACE.length) {
        preface = Buffer.concat([preface, chunk]);
        fresh = preface.subarray(PREFACE.length);
        preface = preface.subarray(0, PREFACE.length);
      }
      for (const frame of reader.push(fresh)) this.#take(connection, frame);
    });
  }

  #take(connection: RawHttp2Connection, frame: Frame): void {
    const isAck = (frame.flags & FLAG.ack) !== 0;
    switch (frame.type) {
      case FRAME.settings:
        if (isAck) connection.acknowledged++;
        else if (this.answersSettings) connection.send(settingsAck());
        return;
      case FRAME.ping:
        if (isAck) connection.pongs++;
        else connection.pings++;
        if (!isAck && this.answersPings) connection.send(pingFrame(frame.payload, FLAG.ack));
        return;
      case FRAME.windowUpdate:
        return;
      default:
        // As real servers do: Node 20 tells nobody that it has given up a connection.
        if (frame.type === FRAME.goaway && frame.payload.readUInt32BE(4) !== 0) connection.socket.end();
        connection.frames.push(frame);
        this.onFrame(connection, frame);
    }
  }
}

/** 200 without content, when the request is whole. */
export function answerOk(connection: RawHttp2Connection, frame: Frame): void {
  if (frame.type === FRAME.rstStream || (frame.flags & FLAG.endStream) === 0) return;
  connection.send(headersFrame(frame.stream, [[':status', '200']], FLAG.endStream));
}

/** Sends these as soon as a request begins. @param of makes the frames for its stream. */
export const sayAtHead =
  (of: (stream: number) => readonly Buffer[]): OnFrame =>
  (connection, { type, stream }) => {
    if (type === FRAME.headers) connection.send(...of(stream));
  };
