import { setImmediate as immediate } from 'node:timers/promises';
import t from 'tap';
import { collectGarbage } from '../support/collect-garbage.js';
import { FLAG, FRAME, frame, headersFrame, SETTING, settingsFrame } from '../support/http2-frames.js';
import { RawHttp2Server, sayAtHead } from '../support/raw-http2.js';
import {
  block,
  END_HEADERS,
  END_STREAM,
  Frame,
  RawHttp2,
  requestFields,
} from '../support/raw-http2-client.js';
import { World, waitFor } from '../support/start-proxy.js';
import { Caller, openUpstream, requestOf, tcpTarget } from '../unit/upstream/caller.js';

// Node aborts the process, and with it this test, where a session is collected before a stream that holds fields (Http2Lifetime).
const TIMES = 40;
const many = (count: number) => Array.from({ length: count }, (_, i) => [`x-${i}`, 'v'] as const);

t.test(
  'a client whose last fields are too many, while its answer is on its way, ends no process',
  async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    const answer = Buffer.alloc(4_000_000);
    world.upstream.respond = (connection) => {
      if (connection.bytes.includes('POST')) {
        connection.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answer.length}\r\n\r\n`);
        connection.socket.write(answer);
        connection.bytes = '';
      }
    };
    for (let i = 0; i < TIMES; i++) {
      const client = await RawHttp2.open({ port: world.port, identity: world.web, windowSize: 2 ** 31 - 1 });
      client.frame(Frame.windowUpdate, 0, 0, Buffer.from([0x7f, 0, 0, 0]));
      client.headers(1, requestFields('POST', '/public/a'), END_HEADERS);
      await client.until(() => client.statusOf(1) === 200);
      client.socket.pause();
      client.frame(Frame.headers, i % 2 === 0 ? END_HEADERS | END_STREAM : END_STREAM, 1, block(many(400)));
      await immediate();
      client.destroy();
      if (i % 4 === 3) {
        await waitFor(() => world.exchanges.length > i);
        collectGarbage();
      }
    }
    await waitFor(() => world.exchanges.length === TIMES);
    collectGarbage();
    t.equal(world.exchanges.length, TIMES, 'one record each');
  },
);

for (const [what, fields, flags] of [
  ['too many fields', 1100, FLAG.endHeaders],
  ['half a head', 500, 0],
] as const) {
  t.test(`an upstream that sends ${what} ends no process`, async (t) => {
    const server = await new RawHttp2Server().open();
    t.teardown(() => server.close());
    server.greeting = [settingsFrame([[SETTING.maxConcurrentStreams, 1]])];
    const head = headersFrame(1, [[':status', '200'], ...many(fields)]).subarray(9);
    server.onFrame = (connection, one) => {
      sayAtHead(() => [frame(FRAME.headers, flags, one.stream, head)])(connection, one);
      if (flags === 0) setImmediate(() => connection.socket.resetAndDestroy());
    };
    for (let i = 0; i < TIMES; i++) {
      const upstream = openUpstream(t, {
        protocol: 'http2',
        targets: [tcpTarget(server.port)],
        retries: 0,
      });
      const caller = await new Caller(t).send(upstream, requestOf('GET', '/')).over;
      t.equal(caller.code, flags === 0 ? 'upstream_reset' : 'upstream_malformed');
      upstream.destroy();
      if (i % 10 === 9) {
        await immediate();
        collectGarbage();
      }
    }
    collectGarbage();
  });
}
