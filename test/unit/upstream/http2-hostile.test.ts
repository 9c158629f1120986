import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import {
  dataFrame,
  ERROR,
  FLAG,
  FRAME,
  frame,
  goawayFrame,
  headersFrame,
  pingFrame,
  rstFrame,
  SETTING,
  settingsFrame,
} from '../../support/http2-frames.js';
import { answerOk, RawHttp2Server, sayAtHead } from '../../support/raw-http2.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, openUpstream, postOf, requestOf, tcpTarget } from './caller.js';

interface Place {
  readonly server: RawHttp2Server;
  ask(request?: ReturnType<typeof requestOf>, set?: (caller: Caller) => void): Promise<Caller>;
  send(request?: ReturnType<typeof requestOf>): Caller;
}

async function placeOf(t: Test, change: Parameters<typeof openUpstream>[1] = {}): Promise<Place> {
  const server = await new RawHttp2Server().open();
  const upstream = openUpstream(t, { protocol: 'http2', targets: [tcpTarget(server.port)], ...change });
  t.teardown(() => server.close());
  const send = (request = requestOf('GET', '/')): Caller => new Caller(t).send(upstream, request);
  const ask: Place['ask'] = (request = requestOf('GET', '/'), set) => {
    const caller = new Caller(t);
    set?.(caller);
    return caller.send(upstream, request).over;
  };
  return { server, ask, send };
}

const OK = [':status', '200'] as const;
const head = (stream: number, ...fields: (readonly [string, string])[]): Buffer =>
  headersFrame(stream, [OK, ...fields]);

const grpcHead = (stream: number): Buffer => head(stream, ['content-type', 'application/grpc']);

for (const [what, code, of] of [
  ['a reset in place of an answer', 'upstream_reset', (s) => [rstFrame(s, ERROR.internal)]],
  ['a reset without an error in place of an answer', 'upstream_reset', (s) => [rstFrame(s, ERROR.none)]],
  ['a reset behind the head', 'upstream_reset', (s) => [head(s), rstFrame(s, ERROR.cancel)]],
  [
    'a reset without an error behind the head',
    'upstream_reset',
    (s) => [grpcHead(s), rstFrame(s, ERROR.none)],
  ],
  [
    'a reset without an error behind data',
    'upstream_reset',
    (s) => [grpcHead(s), dataFrame(s, 'abc'), rstFrame(s, ERROR.none)],
  ],
  [
    'a reset with an error behind data',
    'upstream_reset',
    (s) => [grpcHead(s), dataFrame(s, 'abc'), rstFrame(s, ERROR.internal)],
  ],
  [
    'less data than was declared',
    'upstream_malformed',
    (s) => [head(s, ['content-length', '5']), dataFrame(s, 'abc', FLAG.endStream)],
  ],
  [
    'more data than was declared',
    'upstream_malformed',
    (s) => [head(s, ['content-length', '2']), dataFrame(s, 'abc', FLAG.endStream)],
  ],
  [
    'no data where some were declared',
    'upstream_malformed',
    (s) => [headersFrame(s, [OK, ['content-length', '5']], FLAG.endStream)],
  ],
  [
    'less data than was declared before trailers',
    'upstream_malformed',
    (s) => [
      head(s, ['content-length', '5']),
      dataFrame(s, 'abc'),
      headersFrame(s, [['grpc-status', '0']], FLAG.endStream),
    ],
  ],
  ['two lengths', 'upstream_malformed', (s) => [head(s, ['content-length', '1'], ['content-length', '2'])]],
  ['a length that is no number', 'upstream_malformed', (s) => [head(s, ['content-length', '+3'])]],
  ['no status', 'upstream_malformed', (s) => [headersFrame(s, [['x-a', '1']], FLAG.endStream)]],
  ['two statuses', 'upstream_malformed', (s) => [headersFrame(s, [OK, [':status', '204']], FLAG.endStream)]],
  ['a status of 600', 'upstream_malformed', (s) => [headersFrame(s, [[':status', '600']], FLAG.endStream)]],
  ['a status of 099', 'upstream_malformed', (s) => [headersFrame(s, [[':status', '099']], FLAG.endStream)]],
  ['a status of words', 'upstream_malformed', (s) => [headersFrame(s, [[':status', '2x0']], FLAG.endStream)]],
  [
    'a status of four digits',
    'upstream_malformed',
    (s) => [headersFrame(s, [[':status', '2000']], FLAG.endStream)],
  ],
  ['a 101', 'upstream_malformed', (s) => [headersFrame(s, [[':status', '101']])]],
  [
    'a 100 that ends the stream',
    'upstream_malformed',
    (s) => [headersFrame(s, [[':status', '100']], FLAG.endStream)],
  ],
  [
    'ever more informational answers',
    'upstream_malformed',
    (s) => Array.from({ length: 40 }, () => headersFrame(s, [[':status', '103']])),
  ],
  [
    'a pseudo-header field behind a field',
    'upstream_malformed',
    (s) => [headersFrame(s, [['x-a', '1'], OK])],
  ],
  ['a pseudo-header field of requests', 'upstream_malformed', (s) => [head(s, [':path', '/'])]],
  ['a Connection field', 'upstream_malformed', (s) => [head(s, ['connection', 'x-a'])]],
  ['a Transfer-Encoding field', 'upstream_malformed', (s) => [head(s, ['transfer-encoding', 'chunked'])]],
  ['a name in upper case', 'upstream_malformed', (s) => [head(s, ['X-A', '1'])]],
  [
    'a status in the trailers',
    'upstream_malformed',
    (s) => [head(s), dataFrame(s, 'abc'), headersFrame(s, [OK], FLAG.endStream)],
  ],
  ['a second head', 'upstream_malformed', (s) => [head(s), dataFrame(s, 'abc'), headersFrame(s, [OK])]],
  [
    'trailers that do not end the stream',
    'upstream_malformed',
    (s) => [head(s), dataFrame(s, 'abc'), headersFrame(s, [['x-t', '1']])],
  ],
  [
    'a head of over 64 KiB',
    'upstream_malformed',
    (s) =>
      bigHead(
        s,
        Array.from({ length: 100 }, (_, i) => [`x-${i}`, 'v'.repeat(1000)] as const),
      ),
  ],
  [
    'a head of thousands of fields',
    'upstream_malformed',
    (s) =>
      bigHead(
        s,
        Array.from({ length: 3000 }, (_, i) => [`${i}`, ''] as const),
      ),
  ],
] as const satisfies readonly [string, string, (stream: number) => readonly Buffer[]][]) {
  t.test(`${what}: the call fails, and what it brought is no whole answer`, async (t) => {
    const { server, ask } = await placeOf(t);
    server.onFrame = sayAtHead(of);
    const request = requestOf('GET', '/', { acceptsTrailers: true });
    const caller = await ask(request);
    t.equal(caller.code, code);
    t.strictSame(caller.trailers, []);
  });
}

/** HEADERS and CONTINUATION of at most 16 KiB each (RFC 9113 4.2). */
function bigHead(stream: number, fields: readonly (readonly [string, string])[]): Buffer[] {
  const block = headersFrame(stream, [OK, ...fields]).subarray(9);
  const pieces: Buffer[] = [];
  for (let at = 0; at < block.length; at += 16384) pieces.push(block.subarray(at, at + 16384));
  return pieces.map((piece, i) => {
    const flags = i === pieces.length - 1 ? FLAG.endHeaders : 0;
    return frame(i === 0 ? FRAME.headers : FRAME.continuation, flags, stream, piece);
  });
}

for (const [what, method, status] of [
  ['a HEAD', 'HEAD', '200'],
  ['a 204', 'GET', '204'],
  ['a 304', 'GET', '304'],
] as const) {
  t.test(`content in answer to ${what} is not passed on as whole`, async (t) => {
    const { server, ask } = await placeOf(t);
    server.onFrame = sayAtHead((s) => [
      headersFrame(s, [[':status', status]]),
      dataFrame(s, 'evil', FLAG.endStream),
    ]);
    const caller = await ask(requestOf(method, '/'));
    t.equal(caller.code, 'upstream_malformed');
    t.equal(caller.body, '');
  });
}

t.test('a length that a HEAD or a 304 tells of is no promise of content', async (t) => {
  const { server, ask } = await placeOf(t);
  for (const [method, status] of [
    ['HEAD', '200'],
    ['GET', '304'],
  ] as const) {
    server.onFrame = sayAtHead((s) => [
      headersFrame(
        s,
        [
          [':status', status],
          ['content-length', '5'],
        ],
        FLAG.endStream,
      ),
    ]);
    const caller = await ask(requestOf(method, '/'));
    t.equal(caller.failure, undefined);
    t.strictSame(caller.headers, ['content-length', '5']);
  }
});

t.test('one stream that breaks leaves the others of its connection alone', async (t) => {
  const { server, ask, send } = await placeOf(t);
  server.onFrame = () => undefined;
  const [slow, bad] = [send(), send()];
  await waitFor(() => server.connections[0]?.frames.length === 2);
  const [connection] = server.connections;
  connection?.send(head(3, ['connection', 'close']));
  t.equal((await bad.over).code, 'upstream_malformed');
  connection?.send(head(1), dataFrame(1, 'ok', FLAG.endStream));
  t.equal((await slow.over).body, 'ok');
  server.onFrame = answerOk;
  t.equal((await ask()).status, 200);
  t.equal(server.connections.length, 1);
});

t.test('a body that breaks is reset, and never ended, so that nothing looks complete', async (t) => {
  const { server, ask, send } = await placeOf(t);
  server.onFrame = () => undefined;
  for (const [what, pieces, length, problem] of [
    ['shorter', ['abc'], 5, 'the body is shorter than was declared'],
    ['longer', ['ab', 'cdef'], 5, 'the body is longer than was declared'],
  ] as const) {
    const caller = await ask(postOf('/', pieces, length));
    t.equal(caller.code, 'internal_error', what);
    t.equal(caller.failure?.message, problem);
  }
  const body = new Readable({ read: () => undefined });
  const caller = send(requestOf('POST', '/', { body }));
  await waitFor(() => server.connections[0]?.framesOf(5).length === 1);
  body.destroy(new Error('the client went'));
  t.equal((await caller.over).failure?.message, 'the client went');
  const [connection] = server.connections;
  await waitFor(() => connection?.resetOf(5) !== undefined);
  for (const stream of [1, 3, 5]) {
    t.equal(connection?.hasEnded(stream), false);
    t.equal(connection?.resetOf(stream), ERROR.cancel);
  }
});

t.test('a call that is given up while its body goes is reset, and never ended', async (t) => {
  const { server, send } = await placeOf(t);
  server.onFrame = () => undefined;
  const body = new Readable({ read: () => undefined });
  const caller = send(requestOf('POST', '/', { body }));
  body.push('abc');
  await waitFor(() => server.connections[0]?.bodyOf(1) === 'abc');
  caller.call?.abort();
  const [connection] = server.connections;
  await waitFor(() => connection?.resetOf(1) !== undefined);
  t.equal(connection?.resetOf(1), ERROR.cancel);
  t.equal(connection?.hasEnded(1), false);
  t.equal(body.destroyed, true);
});

t.test(
  'a call that is given up while its answer comes is reset, and its connection carries the next',
  async (t) => {
    const { server, ask } = await placeOf(t);
    server.onFrame = sayAtHead((s) => [head(s), dataFrame(s, 'abc')]);
    const over = new Promise<void>((resolve) => {
      void ask(requestOf('GET', '/'), (one) => {
        one.takesMore = () => {
          one.call?.abort();
          resolve();
          return true;
        };
      });
    });
    await over;
    const [connection] = server.connections;
    await waitFor(() => connection?.resetOf(1) !== undefined);
    t.equal(connection?.resetOf(1), ERROR.cancel);
    server.onFrame = answerOk;
    t.equal((await ask()).status, 200);
    t.equal(server.connections.length, 1);
  },
);

t.test('an answer that ends before the request does is whole, and the rest is not sent', async (t) => {
  const { server, send } = await placeOf(t);
  for (const [reset, stream] of [
    [[], 1],
    [[rstFrame(3, ERROR.none)], 3],
  ] as const) {
    server.onFrame = sayAtHead((s) => [
      headersFrame(s, [[':status', '413']]),
      dataFrame(s, 'too large', FLAG.endStream),
      ...reset,
    ]);
    const body = new Readable({ read: () => undefined });
    body.push('abc');
    const caller = await send(requestOf('POST', '/', { body })).over;
    t.equal(caller.failure, undefined);
    t.equal(caller.status, 413);
    t.equal(caller.body, 'too large');
    t.equal(body.destroyed, true);
    t.equal(server.connections[0]?.hasEnded(stream), false);
  }
  await waitFor(() => server.connections[0]?.resetOf(1) === ERROR.cancel);
});

// --- connections -----------------------------------------------------------------------------------------------------------

t.test('a server of HTTP/1.1 hears nothing of a request', async (t) => {
  const { server, ask } = await placeOf(t);
  server.greeting = [Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')];
  const caller = await ask();
  t.equal(caller.code, 'upstream_malformed');
  t.equal(caller.asked, 0);
  for (const connection of server.connections)
    t.strictSame(
      connection.frames.filter(({ stream }) => stream > 0),
      [],
    );
});

t.test('a server that sends no SETTINGS has not connected', async (t) => {
  const { server, ask } = await placeOf(t, { timeouts: { connectMs: 100, responseMs: 2000 } });
  server.greeting = [];
  server.answersSettings = false;
  const caller = await ask();
  t.equal(caller.code, 'upstream_connect_timeout');
  t.equal(caller.asked, 0);
});

t.test('a server that is not there is unreachable for all that wait', async (t) => {
  const { server, ask } = await placeOf(t, { retries: 0 });
  await server.close();
  const callers = await Promise.all([ask(), ask(), ask()]);
  t.strictSame(
    callers.map(({ code }) => code),
    Array(3).fill('upstream_unreachable'),
  );
});

t.test('what a server allows at once is kept, and what it allows later is used', async (t) => {
  const { server, send } = await placeOf(t, { maxConnections: 1 });
  server.greeting = [settingsFrame([[SETTING.maxConcurrentStreams, 2]])];
  server.onFrame = () => undefined;
  const callers = Array.from({ length: 5 }, () => send());
  await waitFor(() => server.connections[0]?.frames.length === 2);
  const [connection] = server.connections;
  connection?.send(headersFrame(1, [OK], FLAG.endStream));
  await callers[0]?.over;
  await waitFor(() => connection?.frames.length === 3);
  connection?.send(settingsFrame([[SETTING.maxConcurrentStreams, 100]]));
  await waitFor(() => connection?.frames.length === 5);
  connection?.send(...[3, 5, 7, 9].map((stream) => headersFrame(stream, [OK], FLAG.endStream)));
  for (const caller of callers) t.equal((await caller.over).status, 200);
  t.equal(server.connections.length, 1);
});

t.test('a call waits where a server allows none, and may be given up there', async (t) => {
  const { server, send } = await placeOf(t, { maxConnections: 1 });
  server.greeting = [settingsFrame([[SETTING.maxConcurrentStreams, 0]])];
  const caller = send();
  await waitFor(() => server.connections[0]?.acknowledged === 1);
  t.equal(caller.asked, 0);
  caller.call?.abort();
  server.connections[0]?.send(settingsFrame([[SETTING.maxConcurrentStreams, 10]]));
  await waitFor(() => server.connections[0]?.acknowledged === 2);
  t.equal(caller.asked, 0);
  t.equal((await send().over).status, 200);
});

t.test(
  'what a server says that it did not take goes again, with any method, on another connection',
  async (t) => {
    const { server, ask } = await placeOf(t);
    for (const [what, frames] of [
      ['GOAWAY', () => [goawayFrame(0, ERROR.none)]],
      ['GOAWAY with an error', () => [goawayFrame(0, ERROR.enhanceYourCalm)]],
      ['REFUSED_STREAM', (stream: number) => [rstFrame(stream, ERROR.refusedStream)]],
    ] as const) {
      const before = server.connections.length;
      let refused = 0;
      server.onFrame = (connection, one) => {
        if (one.type !== FRAME.headers) return;
        if (refused++ === 0) connection.send(...frames(one.stream));
        else answerOk(connection, one);
      };
      const caller = await ask(requestOf('POST', '/'));
      t.equal(caller.failure, undefined, what);
      t.equal(caller.status, 200);
      t.equal(refused, 2);
      t.equal(caller.asked, 2, 'it is judged again');
      t.ok(server.connections.length > before, what);
    }
  },
);

t.test('what a server did not take fails where its body has been read', async (t) => {
  const { server, ask } = await placeOf(t);
  for (const frames of [
    () => [goawayFrame(0, ERROR.none)],
    (stream: number) => [rstFrame(stream, ERROR.refusedStream)],
  ]) {
    server.onFrame = sayAtHead(frames);
    const caller = await ask(postOf('/', ['abc']));
    t.equal(caller.code, 'upstream_reset');
    t.equal(caller.asked, 1);
  }
});

t.test('GOAWAY lets the calls finish that it covers, and no others begin there', async (t) => {
  const { server, ask, send } = await placeOf(t);
  server.onFrame = () => undefined;
  const caller = send();
  await waitFor(() => server.connections[0]?.frames.length === 1);
  const [first] = server.connections;
  first?.send(goawayFrame(1, ERROR.none));
  server.onFrame = answerOk;
  first?.send(pingFrame()); // its answer shows that what came before is read
  await waitFor(() => first?.pongs === 1);
  t.equal((await ask()).status, 200);
  t.equal(server.connections.length, 2);
  t.equal(first?.framesOf(3).length, 0);
  first?.send(head(1), dataFrame(1, 'late', FLAG.endStream));
  t.equal((await caller.over).body, 'late');
  await waitFor(() => first?.isClosed === true);
});

t.test('a connection that is lost fails what was answered, and what is safe goes again', async (t) => {
  const { server, send } = await placeOf(t);
  server.onFrame = () => undefined;
  const [safe, posted, half] = [send(), send(requestOf('POST', '/')), send()];
  await waitFor(() => server.connections[0]?.frames.length === 3);
  const [first] = server.connections;
  first?.send(head(5), dataFrame(5, 'abc'));
  await waitFor(() => half?.body === 'abc');
  server.onFrame = answerOk;
  first?.socket.destroy();
  t.equal((await half?.over)?.code, 'upstream_reset');
  t.equal((await posted?.over)?.code, 'upstream_reset');
  t.equal(posted?.asked, 1);
  t.equal(half?.asked, 1);
  t.equal(
    (await safe?.over)?.code,
    'upstream_reset',
    'there is no other target, and this one has yet to answer',
  );
});

t.test('a call that a used connection was lost under goes again where that is safe', async (t) => {
  const { server, ask, send } = await placeOf(t);
  await ask();
  server.onFrame = () => undefined;
  const caller = send();
  await waitFor(() => server.connections[0]?.framesOf(3).length === 1);
  server.onFrame = answerOk;
  server.connections[0]?.socket.destroy();
  t.equal((await caller.over).status, 200);
  t.equal(caller.asked, 2);
  t.equal(server.connections.length, 2);
});

for (const [what, flood] of [
  ['PING', pingFrame()],
  ['SETTINGS', settingsFrame([[SETTING.maxConcurrentStreams, 100]])],
] as const) {
  t.test(`a flood of ${what} ends its connection`, async (t) => {
    const { server, send } = await placeOf(t);
    server.onFrame = () => undefined;
    const caller = send();
    await waitFor(() => server.connections[0]?.frames.length === 1);
    const [connection] = server.connections;
    connection?.send(...Array.from({ length: 5000 }, () => flood));
    t.equal((await caller.over).code, 'upstream_malformed');
    await waitFor(() => connection?.isClosed === true);
  });
}

for (const [what, bytes] of [
  ['a push', frame(FRAME.pushPromise, FLAG.endHeaders, 1, Buffer.from([0, 0, 0, 2, 0x82, 0x84, 0x86]))],
  ['an answer to nobody', head(99)],
  ['a window of zero more octets', frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(4))],
] as const) {
  t.test(`${what} ends the connection, and the call on it fails`, async (t) => {
    const { server, send } = await placeOf(t);
    server.onFrame = () => undefined;
    const caller = send(requestOf('POST', '/'));
    await waitFor(() => server.connections[0]?.frames.length === 1);
    server.connections[0]?.send(bytes);
    t.match((await caller.over).code, /^upstream_(malformed|reset)$/);
    await waitFor(() => server.connections[0]?.isClosed === true);
  });
}

t.test(
  'a connection on which a call was given up unanswered carries no other until it answers',
  async (t) => {
    const { server, send } = await placeOf(t);
    // Node 20 tells nobody that it has given up a connection for such a frame; Node 26 fails the call.
    server.onFrame = (connection) => connection.send(frame(FRAME.data, 0, 1, Buffer.alloc(20_000)));
    const caller = send(requestOf('POST', '/'));
    await waitFor(() => server.connections[0]?.frames.some(({ type }) => type === FRAME.goaway) === true);
    server.onFrame = answerOk;
    if (!caller.isOver) await new Promise((resolve) => setTimeout(resolve, 1100));
    caller.call?.abort();
    t.equal((await send().over).status, 200);
    t.equal(server.connections.length, 2);
  },
);

t.test('a connection that answers a PING carries calls again', async (t) => {
  const { server, send } = await placeOf(t, { maxConnections: 1 });
  server.onFrame = () => undefined;
  const caller = send();
  await waitFor(() => server.connections[0]?.frames.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 1100)); // it is so long that makes a connection suspect
  server.onFrame = answerOk;
  caller.call?.abort();
  t.equal((await send().over).status, 200);
  t.equal(server.connections[0]?.pings, 1);
  t.equal(server.connections.length, 1);
});
