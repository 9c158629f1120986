import t from 'tap';
import {
  block,
  END_HEADERS,
  END_STREAM,
  Frame,
  frameOf,
  RawHttp2,
  requestFields,
} from '../support/raw-http2-client.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const HEAD = block(requestFields('GET', '/public/a'));
const POST = block([...requestFields('POST', '/public/a'), ['content-length', '3']]);
const uint32 = (value: number): Buffer => {
  const octets = Buffer.alloc(4);
  octets.writeUInt32BE(value);
  return octets;
};

/** CVE-2025-8671: frames that make the server reset the stream itself, and forget it, while its work goes on. */
const PROVOCATIONS: Readonly<Record<string, (stream: number) => Buffer[]>> = {
  'a window that overflows': (stream) => [
    frameOf(Frame.headers, END_HEADERS | END_STREAM, stream, HEAD),
    frameOf(Frame.windowUpdate, 0, stream, uint32(2 ** 31 - 1)),
  ],
  'a window that grows by nothing': (stream) => [
    frameOf(Frame.headers, END_HEADERS | END_STREAM, stream, HEAD),
    frameOf(Frame.windowUpdate, 0, stream, uint32(0)),
  ],
  'data behind the end': (stream) => [
    frameOf(Frame.headers, END_HEADERS | END_STREAM, stream, HEAD),
    frameOf(Frame.data, 0, stream, 'more'),
  ],
  'a second head behind the end': (stream) => [
    frameOf(Frame.headers, END_HEADERS | END_STREAM, stream, HEAD),
    frameOf(Frame.headers, END_HEADERS | END_STREAM, stream, HEAD),
  ],
  'more data than was declared': (stream) => [
    frameOf(Frame.headers, END_HEADERS, stream, POST),
    frameOf(Frame.data, 0, stream, 'four'),
  ],
  'trailers with a pseudo-header field': (stream) => [
    frameOf(Frame.headers, END_HEADERS, stream, POST),
    frameOf(Frame.data, 0, stream, 'xxx'),
    frameOf(Frame.headers, END_HEADERS | END_STREAM, stream, block([[':path', '/admin/x']])),
  ],
};

const isAllowed = ({ decision }: ReadRecord): boolean => decision?.effect === 'allow';

for (const [what, frames] of Object.entries(PROVOCATIONS)) {
  t.test(`${what}: the resets that it makes us send are bounded like a client’s own`, async (t) => {
    // Node 20 says GOAWAY for some of them and stays: the deadlines end that.
    const world = await World.start({ extra: 'deadlines: { idle: 1s, body: 1s }' });
    t.teardown(() => world.close());
    const client = await RawHttp2.open({ port: world.port, identity: world.web });
    for (let from = 1; from < 20_000 && !client.closed; from += 200) {
      const flood: Buffer[] = [];
      for (let id = from; id < from + 200; id += 2) flood.push(...frames(id));
      if (!client.socket.write(Buffer.concat(flood)))
        await new Promise<void>((resolve) => {
          client.socket.once('drain', resolve);
          client.socket.once('close', resolve);
        });
    }
    await client.untilClosed(20_000);
    const honest = await world.client(world.admin); // the process is there, and serves
    const [answer] = await honest.ask('GET /public/honest HTTP/1.1\r\nHost: svc.test\r\n\r\n');
    t.equal(answer?.status, 200);
    const seen = (): number => world.upstream.requests.filter(({ target }) => target === '/public/a').length;
    t.ok(seen() <= 500, `${seen()} reached the upstream`);
    await waitFor(() => world.exchanges.filter(isAllowed).length >= seen() + 1);
    t.ok(world.exchanges.length <= 1000, `${world.exchanges.length} records`);
  });
}
