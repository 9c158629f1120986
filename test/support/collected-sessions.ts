/** Run with --expose-gc: a server's sessions are collected while streams of theirs hold fields. */
import { once } from 'node:events';
import { createServer } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { setImmediate as immediate, setTimeout as later } from 'node:timers/promises';
import { Http2Lifetime, nativeOf } from '../../src/http2-lifetime.js';
import { FLAG, FRAME, frame, headersFrame, PREFACE, SETTING, settingsFrame } from './http2-frames.js';

const TIMES = 30;
const many = (count: number) => Array.from({ length: count }, (_, i) => [`x-${i}`, 'v'] as const);
const ignore = (): void => undefined;
const collect = (): void => (globalThis as { gc?: () => void }).gc?.();
const portOf = (server: { address(): unknown }): number => (server.address() as { port: number }).port;

/** Fields that are too many end a stream whose data wait for the socket. */
async function server(): Promise<void> {
  const server = createServer({ maxHeaderListPairs: 64 });
  let lifetime: Http2Lifetime | undefined;
  server.on('sessionError', ignore);
  server.on('session', (session) => {
    lifetime = new Http2Lifetime(session, session.socket as Socket);
  });
  server.on('stream', (stream) => {
    const native = nativeOf(stream);
    const of = lifetime;
    stream.on('error', ignore).on('close', () => of?.outlive(native));
    stream.respond({ ':status': 200 });
    stream.write(Buffer.alloc(8_000_000));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const request = [':method POST', ':scheme http', ':authority a', ':path /'].map(
    (line) => line.split(' ') as [string, string],
  );
  for (let i = 0; i < TIMES; i++) {
    const socket = connect(portOf(server), '127.0.0.1').on('error', ignore).pause();
    socket.write(PREFACE);
    socket.write(settingsFrame([[SETTING.initialWindowSize, 2 ** 31 - 1]]));
    socket.write(frame(FRAME.windowUpdate, 0, 0, Buffer.from([0x7f, 0, 0, 0])));
    socket.write(headersFrame(1, request));
    await later(10);
    socket.write(headersFrame(1, many(100), FLAG.endStream));
    await later(10);
    socket.resetAndDestroy();
    await once(socket, 'close');
    await immediate();
    collect();
  }
}

await server();
process.exit(0); // Node frees what is left at the end of a program in an order of its own
