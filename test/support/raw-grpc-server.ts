import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

/** gRPC as bytes: for servers that a library would not let one write. */
export interface RawGrpcServer {
  /** How many calls came. */
  readonly calls: number;
}

interface Teardown {
  teardown(run: () => void): void;
}

/** The five bytes before a message (gRPC over HTTP/2), and the message or what there is of it. */
export function frame(message: Uint8Array, says: { compressed?: number; length?: number } = {}): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(says.compressed ?? 0, 0);
  head.writeUInt32BE(says.length ?? message.length, 1);
  return Buffer.concat([head, message]);
}

/** Answers every call by `script`, which does as it pleases with the stream. */
export async function startRawGrpcServer(
  t: Teardown,
  path: string,
  script: (stream: ServerHttp2Stream, call: number) => void,
): Promise<RawGrpcServer> {
  const state = { calls: 0 };
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => {});
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    script(stream, state.calls++);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return state;
}

export const grpcHeaders = {
  ':status': 200,
  'content-type': 'application/grpc',
} as const;

/** Ends the stream with these trailers after what was written. */
export function endWith(stream: ServerHttp2Stream, trailers: Record<string, string>): void {
  stream.once('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end();
}
