/** Run with --expose-gc as `collected-sessions.js <client|server>`: sessions of that end are collected while their streams hold fields. */
import { once } from 'node:events';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
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
  const server = createHttp2Server({ maxHeaderListPairs: 64 });
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

/** A session ends in the same breath as its stream, whose head was too long. */
async function client(): Promise<void> {
  const head = headersFrame(1, [[':status', '200'], ...many(1100)]);
  const server = createServer((socket) => {
    socket.on('error', ignore).write(settingsFrame());
    socket.once('data', () => setTimeout(() => socket.write(head), 5)); // behind the request
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  for (let i = 0; i < TIMES; i++) {
    const socket = connect(portOf(server), '127.0.0.1');
    await once(socket, 'connect');
    const session = connectHttp2('http://a', { maxHeaderListPairs: 1000, createConnection: () => socket });
    const lifetime = new Http2Lifetime(session, socket);
    const stream = session.on('error', ignore).request({ ':path': '/' });
    const native = nativeOf(stream);
    stream.on('error', ignore).resume();
    await new Promise<void>((resolve) => {
      stream.on('close', () => {
        lifetime.outlive(native);
        session.destroy();
        resolve();
      });
    });
    if (i % 10 !== 9) continue;
    await immediate();
    collect();
    await later(1);
    collect();
  }
}

await (process.argv[2] === 'client' ? client() : server());
process.exit(0); // Node frees what is left at the end of a program in an order of its own
