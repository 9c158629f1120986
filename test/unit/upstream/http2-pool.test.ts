import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import type { ForwardRequest } from '../../../src/listener/ports.js';
import { formatRequestFields } from '../../../src/upstream/http2-request-fields.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, openUpstream, postOf, requestOf, tcpTarget } from './caller.js';

interface Place {
  readonly sessions: number;
  answer: (stream: ServerHttp2Stream, raw: readonly string[]) => void;
  send(request?: ForwardRequest, set?: (caller: Caller) => void): Caller;
}

async function placeOf(t: Test, settings: object = {}, maxConnections = 8): Promise<Place> {
  const server: Http2Server = createServer({ settings });
  const state = { sessions: 0 };
  const open = new Set<{ destroy(): void }>();
  server.on('session', (session) => {
    state.sessions++;
    open.add(session);
    session.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const upstream = openUpstream(t, { protocol: 'http2', targets: [tcpTarget(port)], maxConnections });
  t.teardown(() => {
    for (const session of open) session.destroy();
    server.close();
  });
  const place: Place = {
    get sessions() {
      return state.sessions;
    },
    answer: (stream) => {
      stream.respond({ ':status': 200 });
      stream.end('ok');
    },
    send: (request = requestOf('GET', '/'), set) => {
      const caller = new Caller(t);
      set?.(caller);
      return caller.send(upstream, request);
    },
  };
  server.on('stream', (stream: ServerHttp2Stream, _headers: object, _flags: number, raw: string[]) => {
    stream.on('error', () => undefined);
    place.answer(stream, raw);
  });
  return place;
}

t.test(
  'calls share a connection up to what the server allows, then further ones, and then wait',
  async (t) => {
    const place = await placeOf(t, { maxConcurrentStreams: 3 }, 2);
    const held: ServerHttp2Stream[] = [];
    place.answer = (stream) => held.push(stream);
    const callers = Array.from({ length: 8 }, () => place.send());
    await waitFor(() => held.length === 6);
    t.equal(place.sessions, 2);
    t.equal(callers.filter(({ asked }) => asked === 1).length, 6, 'nobody is asked before it is their turn');
    for (let i = 0; i < 8; i++) {
      await waitFor(() => held.length > i);
      held[i]?.respond({ ':status': 200 }, { endStream: true });
    }
    for (const caller of callers) t.equal((await caller.over).status, 200);
    t.equal(place.sessions, 2);
  },
);

t.test('the upstream gets the request that was judged, and nothing that is of one hop', async (t) => {
  const place = await placeOf(t);
  let raw: readonly string[] = [];
  place.answer = (stream, fields) => {
    raw = fields;
    stream.respond({ ':status': 200 }, { endStream: true });
  };
  const headers = ['X-Latin', 'J\u00f6rg', 'x-a', '1', 'X-A', '2', 'User-Agent', 'a', 'user-agent', 'b'];
  headers.push(
    'cookie',
    'a=1',
    'Cookie',
    'b=2',
    '__proto__',
    'p',
    'x-empty',
    '',
    '1',
    'one',
    'x-space',
    ' v\t',
  );
  const request = { ...postOf('/a//b?c=%2F', ['abc'], 3), headers, acceptsTrailers: true };
  t.equal((await place.send(request).over).status, 200);
  t.strictSame(
    raw.slice(0, 8).filter((_, i) => i % 2 === 0),
    [':method', ':scheme', ':authority', ':path'],
  );
  const pairs = raw.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${raw[i + 1]}`] : []));
  t.strictSame(
    pairs.sort(),
    [
      ':authority: svc.test',
      ':method: POST',
      ':path: /a//b?c=%2F',
      ':scheme: http',
      '1: one',
      '__proto__: p',
      'content-length: 3',
      'cookie: a=1',
      'cookie: b=2',
      'te: trailers',
      'user-agent: a, b',
      'x-a: 1',
      'x-a: 2',
      'x-empty: ',
      'x-latin: J\u00f6rg',
      'x-space: v',
    ].sort(),
  );
});

t.test('a head that could become other octets or another field is never sent', async (t) => {
  const place = await placeOf(t);
  for (const change of [
    { headers: ['x-a', '1\r\nx-spiffe-id: y'] },
    { headers: ['x-a', '1\0x-spiffe-id'] },
    { headers: ['x-a', '\u560a'] },
    { headers: ['x-a\u010d', '1'] },
    { headers: ['x a', '1'] },
    { headers: ['', '1'] },
    { headers: [':path', '/admin'] },
    { headers: ['Host', 'other.test'] },
    { headers: ['Connection', 'x-a'] },
    { headers: ['Transfer-Encoding', 'chunked'] },
    { headers: ['te', 'gzip'] },
    { headers: ['content-length', '3'] },
    { target: '/a b' },
    { target: '' },
    { target: '/\u0120' },
    { method: 'GET\r\n' },
    { method: 'CONNECT' },
    { authority: 'svc.test\0' },
    { authority: '' },
  ]) {
    const caller = await place.send(requestOf('GET', '/', change)).over;
    t.equal(caller.code, 'internal_error', JSON.stringify(change));
    t.equal(caller.asked, 0);
  }
  t.equal((await place.send().over).body, 'ok');
  t.equal(formatRequestFields(requestOf('GET', '/'), 'https')?.[':scheme'], 'https');
});

t.test('trailers come before the end, and only where they were asked for', async (t) => {
  const place = await placeOf(t);
  place.answer = (stream) => {
    stream.respond({ ':status': 200 }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '5', 'grpc-message': 'no' }));
    stream.end('body');
  };
  const heard: string[] = [];
  const asks = await place.send(requestOf('POST', '/', { acceptsTrailers: true }), (caller) => {
    caller.takesMore = () => {
      // paused before the data: the trailers must not overtake them
      if (heard.push('data') === 1) setImmediate(() => caller.call?.resume());
      return heard.length > 1;
    };
  }).over;
  t.equal(asks.body, 'body');
  t.strictSame(asks.trailers, ['grpc-status', '5', 'grpc-message', 'no']);
  t.strictSame((await place.send().over).trailers, []);
});

t.test('a large body goes both ways whole, at the pace of who reads it', async (t) => {
  const place = await placeOf(t);
  place.answer = (stream) => {
    stream.respond({ ':status': 200 });
    stream.pipe(stream);
  };
  const piece = Buffer.alloc(64 * 1024, 'x');
  const count = 48;
  let pauses = 0;
  for (const bodyLength of [undefined, piece.length * count]) {
    const body = Readable.from(Array.from({ length: count }, () => piece));
    const caller = await place.send(requestOf('POST', '/', { body, bodyLength }), (one) => {
      one.takesMore = () => {
        if (++pauses % 5 !== 0) return true;
        setImmediate(() => one.call?.resume());
        return false;
      };
    }).over;
    t.equal(caller.failure, undefined);
    t.equal(caller.bytes, piece.length * count);
  }
});

t.test('an answer that nobody reads holds up no other on its connection', async (t) => {
  const place = await placeOf(t, {}, 1);
  let written = 0;
  place.answer = (stream) => {
    stream.respond({ ':status': 200 });
    const feed = (): void => {
      while (written < 64 * 1024 * 1024) {
        written += 65536;
        if (!stream.write(Buffer.alloc(65536))) return;
      }
    };
    stream.on('drain', feed);
    feed();
  };
  const stalled = place.send(requestOf('GET', '/'), (caller) => {
    caller.takesMore = () => false;
  });
  await waitFor(() => stalled.status === 200);
  const big = Buffer.alloc(4 * 1024 * 1024, 'y');
  place.answer = (stream) => {
    stream.respond({ ':status': 200 });
    stream.end(big);
  };
  t.equal((await place.send().over).bytes, big.length);
  t.ok(written < 8 * 1024 * 1024, `${written} bytes were taken of an answer that nobody reads`);
  t.equal(place.sessions, 1);
  stalled.call?.abort();
});

t.test('whoever may not begin when their turn comes is not sent', async (t) => {
  const place = await placeOf(t, { maxConcurrentStreams: 1 }, 1);
  const held: ServerHttp2Stream[] = [];
  place.answer = (stream) => held.push(stream);
  const first = place.send();
  const refused = place.send(requestOf('GET', '/refused'), (caller) => {
    caller.may = () => false;
  });
  const last = place.send();
  await waitFor(() => held.length === 1);
  held[0]?.respond({ ':status': 200 }, { endStream: true });
  await waitFor(() => held.length === 2);
  held[1]?.respond({ ':status': 204 }, { endStream: true });
  t.equal((await first.over).status, 200);
  t.equal((await last.over).status, 204);
  t.equal(refused.asked, 1);
  t.strictSame(refused.servers, []);
});

t.test('a handler that throws fails its call alone', async (t) => {
  const place = await placeOf(t);
  const caller = await place.send(requestOf('GET', '/'), (one) => {
    one.onBegin = () => {
      throw new Error('boom');
    };
  }).over;
  t.equal(caller.code, 'internal_error');
  t.equal((await place.send().over).body, 'ok');
  t.equal(place.sessions, 1);
});
