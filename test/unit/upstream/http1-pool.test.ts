import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import {
  answerOk,
  type RecordedConnection,
  RecorderUpstream,
  type Responder,
} from '../../support/recorder-upstream.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, openUpstream, placeOf, postOf, requestOf, tcpTarget } from './caller.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const say =
  (bytes: string, after: (socket: Socket) => void = () => undefined): Responder =>
  ({ socket }) => {
    socket.write(Buffer.from(bytes, 'latin1'), () => after(socket));
  };
const closed = (connection: RecordedConnection | undefined): Promise<void> =>
  waitFor(() => connection?.closed === true);

t.test('calls one after another share a connection, and the one used last goes first', async (t) => {
  const { upstream, ask } = await placeOf(t);
  for (let i = 0; i < 3; i++) t.equal((await ask()).body, 'ok');
  t.equal(upstream.connections.length, 1);
  upstream.respond = () => undefined;
  const [a, b] = [ask(requestOf('GET', '/a')), ask(requestOf('GET', '/b'))];
  await waitFor(() => upstream.requests.length === 5);
  t.equal(upstream.connections.length, 2);
  const [first, second] = upstream.connections;
  second?.socket.write(OK);
  await b;
  first?.socket.write(OK);
  await a;
  upstream.respond = answerOk;
  for (const connection of upstream.connections) Object.assign(connection, { answered: 99 });
  const caller = ask(requestOf('GET', '/c'));
  await waitFor(() => first?.bytes.includes('/c') === true);
  first?.socket.write(OK);
  t.equal((await caller).body, 'ok');
});

t.test(
  'the upstream gets the head that was judged, in octets, and Host and Connection of ours',
  async (t) => {
    const { upstream, ask } = await placeOf(t);
    const headers = ['X-Latin', 'J\u00f6rg', 'x-empty', '', 'Cookie', 'a=1'];
    await ask(requestOf('GET', '/a?b=%20', { headers }));
    t.equal(
      upstream.bytes,
      'GET /a?b=%20 HTTP/1.1\r\nhost: svc.test\r\nconnection: keep-alive\r\nX-Latin: J\u00f6rg\r\nx-empty: \r\nCookie: a=1\r\n\r\n',
    );
  },
);

t.test(
  'a head that could become other octets is never sent, and its connection serves the next',
  async (t) => {
    const { upstream, ask } = await placeOf(t);
    for (const request of [
      requestOf('GET', '/', { headers: ['x-a', '1\r\nx-spiffe-id: y'] }),
      requestOf('GET', '/', { headers: ['x-a', '\u560a'] }),
      requestOf('GET', '/', { headers: ['x-a\u010d', '1'] }),
      requestOf('GET', '/', { headers: ['x a', '1'] }),
      requestOf('GET', '/', { headers: ['', '1'] }),
      requestOf('GET', '/ HTTP/1.1\r\nx: y'),
      requestOf('GET', '/a b'),
      requestOf('GET', ''),
      requestOf('GET', '/\u0120'),
      requestOf('GET\r\n', '/'),
      requestOf('GET', '/', { authority: 'svc.test\r\n' }),
      requestOf('GET', '/', { authority: '' }),
    ]) {
      const caller = await ask(request);
      t.equal(caller.code, 'internal_error');
      t.equal(caller.asked, 0);
    }
    t.equal((await ask()).body, 'ok');
    t.equal(upstream.requests.length, 1);
  },
);

for (const [what, answer, ends] of [
  ['that lasted until the connection closed', 'HTTP/1.1 200 OK\r\n\r\nok', true],
  ['that said it would close', OK.replace('OK\r\n', 'OK\r\nConnection: close\r\n'), false],
  ['of HTTP/1.0', OK.replace('HTTP/1.1', 'HTTP/1.0'), false],
  [
    'of an upstream that keeps idle connections a second',
    OK.replace('OK\r\n', 'OK\r\nKeep-Alive: timeout=1\r\n'),
    false,
  ],
  ['with octets behind it', `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`, false],
] as const) {
  t.test(`no call is sent behind an answer ${what}`, async (t) => {
    const { upstream, ask } = await placeOf(
      t,
      say(answer, (socket) => ends && socket.end()),
    );
    const first = await ask();
    t.equal(first.body, 'ok');
    t.equal(first.failure, undefined);
    await closed(upstream.connections[0]);
    upstream.respond = answerOk;
    t.equal((await ask()).body, 'ok');
    t.equal(upstream.connections.length, 2);
  });
}

t.test('content that a 204 announces is never the answer to the next call', async (t) => {
  const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';
  for (const framing of [`Content-Length: ${evil.length}`, 'Transfer-Encoding: chunked']) {
    const { upstream, ask } = await placeOf(t, say(`HTTP/1.1 204 No Content\r\n${framing}\r\n\r\n`));
    t.equal((await ask()).status, 204);
    upstream.respond = answerOk;
    const next = ask();
    upstream.connections[0]?.socket.write(evil);
    t.equal((await next).body, 'ok');
    t.equal(upstream.connections.length, 2);
  }
});

t.test('octets that nobody asked for end an idle connection at once (HT-22)', async (t) => {
  const { upstream, ask } = await placeOf(t);
  t.equal((await ask()).body, 'ok');
  upstream.connections[0]?.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
  await closed(upstream.connections[0]);
  t.equal((await ask()).body, 'ok');
  t.equal(upstream.connections.length, 2);
});

t.test('an idle connection that the upstream closes or resets is not used again', async (t) => {
  const { upstream, ask } = await placeOf(t);
  for (const [i, end] of [(s: Socket) => s.end(), (s: Socket) => s.resetAndDestroy()].entries()) {
    t.equal((await ask(postOf('/p', ['hello'], 5))).body, 'ok');
    t.equal(upstream.connections.length, i + 1);
    end(upstream.connections[i]!.socket);
    await closed(upstream.connections[i]);
  }
  t.equal((await ask(postOf('/p', ['hello'], 5))).body, 'ok');
});

t.test('an idle connection closes a second before the upstream would', async (t) => {
  const { upstream, ask } = await placeOf(t, say(OK.replace('OK\r\n', 'OK\r\nKeep-Alive: timeout=2\r\n')));
  await ask();
  const before = performance.now();
  await ask();
  t.equal(upstream.connections.length, 1, 'used again until then');
  await closed(upstream.connections[0]);
  t.ok(performance.now() - before >= 950);
});

t.test('an answer that comes octet by octet, with hints before it, is passed on as it is', async (t) => {
  const bytes = `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n${OK}`;
  const { upstream, ask } = await placeOf(t, ({ socket }) => {
    socket.setNoDelay(true);
    const next = (at: number): void => {
      if (at < bytes.length) socket.write(bytes[at]!, () => setImmediate(next, at + 1));
    };
    next(0);
  });
  for (let i = 0; i < 2; i++) {
    const caller = await ask();
    t.match(caller, { status: 200, body: 'ok', hints: 1, failure: undefined });
  }
  t.equal(upstream.connections.length, 1);
});

t.test('calls wait in their order; an abandoned one leaves at once and is never sent', async (t) => {
  const { upstream, pool } = await placeOf(t, () => undefined, { maxConnections: 1 });
  const callers = ['/1', '/2', '/3', '/4'].map((target) =>
    new Caller(t).send(pool, requestOf('GET', target)),
  );
  await waitFor(() => upstream.requests.length === 1);
  t.same(
    callers.map(({ asked }) => asked),
    [1, 0, 0, 0],
    'asked right before it is sent',
  );
  callers[1]?.call?.abort();
  callers[2]!.may = () => false;
  upstream.respond = answerOk;
  upstream.connections[0]?.socket.write(OK);
  Object.assign(upstream.connections[0]!, { answered: 1 });
  await callers[3]?.over;
  t.same(
    upstream.requests.map(({ target }) => target),
    ['/1', '/4'],
  );
  t.equal(upstream.connections.length, 1);
  t.same(
    callers.map(({ asked }) => asked),
    [1, 0, 1, 1],
  );
  t.same(
    callers.map(({ call }) => call?.hasBegun),
    [true, false, false, true],
  );
  t.notOk(callers[1]?.isOver || callers[2]?.isOver, 'who gave up hears nothing');
});

t.test('1024 calls may wait; one more is told so, and a place that is given up is free', async (t) => {
  const { upstream, pool } = await placeOf(t, () => undefined, { maxConnections: 1 });
  new Caller(t).send(pool, requestOf('GET', '/first'));
  await waitFor(() => upstream.requests.length === 1);
  const waiting = Array.from({ length: 1024 }, () => new Caller(t).send(pool, requestOf('GET', '/')));
  t.equal(waiting.at(-1)?.isOver, false);
  t.equal((await new Caller(t).send(pool, requestOf('GET', '/')).over).code, 'upstream_overloaded');
  waiting[500]?.call?.abort();
  const late = new Caller(t).send(pool, requestOf('GET', '/'));
  t.equal(late.isOver, false);
  for (const { call } of [...waiting, late]) call?.abort();
  t.equal(upstream.requests.length, 1);
});

t.test(
  'a safe call that met a dead kept connection is judged and sent once more, on a new one',
  async (t) => {
    for (const end of [(s: Socket) => s.end(), (s: Socket) => s.resetAndDestroy()]) {
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        const { upstream, ask } = await placeOf(t);
        upstream.respond = () => undefined;
        const both = [ask(), ask()];
        await waitFor(() => upstream.requests.length === 2);
        for (const { socket } of upstream.connections) socket.write(OK);
        await Promise.all(both);
        upstream.respond = ({ socket, bytes }) =>
          bytes.split('HTTP/1.1\r\n').length > 2 ? end(socket) : void socket.write(OK);
        const caller = await ask(requestOf(method, '/again'));
        t.equal(caller.status, 200, method);
        t.equal(caller.asked, 2);
        t.equal(upstream.requests.filter(({ target }) => target === '/again').length, 2);
        t.equal(upstream.connections.length, 3, 'the other kept one may be dead as well');
      }
    }
  },
);

t.test('a second try that may not begin is not sent', async (t) => {
  const { upstream, pool, ask } = await placeOf(t);
  await ask();
  upstream.respond = ({ socket }) => void socket.resetAndDestroy();
  const caller = new Caller(t);
  caller.may = () => caller.asked < 2;
  caller.send(pool, requestOf('GET', '/again'));
  await waitFor(() => caller.asked === 2);
  t.equal(upstream.requests.filter(({ target }) => target === '/again').length, 1);
  t.equal(caller.isOver, false);
});

for (const [what, request, fresh, answer] of [
  ['one that is not safe', postOf('/again', ['hello'], 5), false, ''],
  ['a DELETE', requestOf('DELETE', '/again'), false, ''],
  ['a GET with a body', { ...postOf('/again', ['hello'], 5), method: 'GET' }, false, ''],
  ['one on a new connection', requestOf('GET', '/again'), true, ''],
  ['one that was answered in part', requestOf('GET', '/again'), false, 'HTTP/1.1 2'],
] as const) {
  t.test(`a dead connection fails ${what}: it is sent once`, async (t) => {
    const { upstream, ask } = await placeOf(t);
    if (!fresh) await ask();
    upstream.respond = ({ socket }) =>
      answer === '' ? void socket.resetAndDestroy() : void socket.end(answer);
    const caller = await ask(request);
    t.equal(caller.code, 'upstream_reset');
    t.equal(upstream.requests.filter(({ target }) => target === '/again').length, 1);
  });
}

t.test('two dead connections are enough', async (t) => {
  const { upstream, ask } = await placeOf(t);
  await ask();
  upstream.respond = ({ socket }) => void socket.resetAndDestroy();
  t.equal((await ask()).code, 'upstream_reset');
  t.equal(upstream.requests.length, 3);
});

for (const [what, answer, reset, code] of [
  ['ends before its answer', '', false, 'upstream_reset'],
  ['ends in its head', 'HTTP/1.1 200 OK\r\nContent', false, 'upstream_reset'],
  ['ends in its body', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok', false, 'upstream_reset'],
  ['resets a body that lasts until the close', 'HTTP/1.1 200 OK\r\n\r\nok', true, 'upstream_reset'],
  ['speaks something else', 'SSH-2.0-OpenSSH_9.6', false, 'upstream_malformed'],
  [
    'sends a broken chunk',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx',
    false,
    'upstream_malformed',
  ],
] as const) {
  t.test(`an upstream that ${what} is a failure, and its connection is gone`, async (t) => {
    const { upstream, pool } = await placeOf(t, ({ socket }) => {
      if (answer === '') return void socket.end();
      socket.write(answer);
    });
    const caller = new Caller(t).send(pool, requestOf('GET', '/'));
    if (code === 'upstream_reset' && answer !== '') {
      await waitFor(() => upstream.requests.length === 1);
      if (answer.endsWith('ok')) await waitFor(() => caller.body === 'ok');
      if (reset) upstream.connections[0]?.socket.resetAndDestroy();
      else upstream.connections[0]?.socket.end();
    }
    t.equal((await caller.over).code, code);
    await closed(upstream.connections[0]);
  });
}

t.test('a call that is given up ends its connection, and hears nothing more', async (t) => {
  for (const answer of ['', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok']) {
    const { upstream, pool, ask } = await placeOf(t, ({ socket }) => void (answer && socket.write(answer)));
    const caller = new Caller(t).send(pool, requestOf('GET', '/'));
    await waitFor(() => upstream.requests.length === 1 && caller.body.length === answer.slice(-2).length);
    caller.call?.abort();
    caller.call?.abort();
    await closed(upstream.connections[0]);
    t.notOk(caller.isOver);
    upstream.respond = answerOk;
    t.equal((await ask()).body, 'ok');
    t.equal(upstream.connections.length, 2);
  }
});

t.test('a handler may give its call up in the middle of an answer', async (t) => {
  const { upstream, pool } = await placeOf(t, say(OK));
  const caller = new Caller(t);
  caller.onBegin = () => caller.call?.abort();
  caller.send(pool, requestOf('GET', '/'));
  await waitFor(() => caller.status === 200);
  await closed(upstream.connections[0]);
  t.equal(caller.body, '');
  t.notOk(caller.isOver);
});

t.test('a handler that throws fails its own call, not the process', async (t) => {
  const { upstream, pool, ask } = await placeOf(t);
  const caller = new Caller(t);
  caller.onBegin = () => {
    throw new Error('out of a socket event');
  };
  t.equal((await caller.send(pool, requestOf('GET', '/')).over).code, 'internal_error');
  await closed(upstream.connections[0]);
  const judge = new Caller(t);
  judge.may = () => {
    throw new Error('out of the judgement');
  };
  t.equal((await judge.send(pool, requestOf('GET', '/')).over).code, 'internal_error');
  t.equal((await ask()).body, 'ok');
  t.equal(upstream.requests.length, 2);
});

t.test('a reader that is slow holds the upstream up, and loses nothing', async (t) => {
  const size = 32 * 1024 * 1024;
  const { upstream, pool } = await placeOf(t, ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
    socket.write(Buffer.alloc(size, 'x'));
  });
  const caller = new Caller(t);
  let isSlow = true;
  caller.takesMore = () => !isSlow;
  caller.send(pool, requestOf('GET', '/'));
  await waitFor(() => caller.status === 200);
  const { socket } = upstream.connections[0]!;
  const stuck = async (): Promise<void> => {
    for (let before = -1; before !== socket.bytesWritten - socket.writableLength; ) {
      before = socket.bytesWritten - socket.writableLength;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await stuck();
  t.ok(caller.bytes <= 64 * 1024, `${caller.bytes} octets came past the brake`);
  const held = caller.bytes;
  caller.call?.resume();
  await waitFor(() => caller.bytes > held);
  await stuck();
  t.ok(caller.bytes <= held + 64 * 1024, 'one piece for each time it is let go');
  isSlow = false;
  caller.call?.resume();
  await caller.over;
  t.equal(caller.bytes, size);
  t.equal(caller.failure, undefined);
});

t.test('a brake that is on at the end of an answer does not hold the next one up', async (t) => {
  const { upstream, pool, ask } = await placeOf(t);
  const caller = new Caller(t);
  caller.takesMore = () => false;
  caller.send(pool, requestOf('GET', '/'));
  while (!caller.isOver) {
    await new Promise((resolve) => setImmediate(resolve));
    caller.call?.resume();
  }
  t.equal(caller.body, 'ok');
  t.equal((await ask()).body, 'ok');
  t.equal(upstream.connections.length, 1);
  upstream.connections[0]?.socket.end();
  await closed(upstream.connections[0]);
});

t.test('an upstream that ends while nobody reads is a whole answer later', async (t) => {
  const body = 'y'.repeat(300_000);
  const { pool } = await placeOf(
    t,
    say(`HTTP/1.1 200 OK\r\n\r\n${body}`, (socket) => socket.end()),
  );
  const caller = new Caller(t);
  caller.takesMore = () => {
    setTimeout(() => caller.call?.resume(), 5);
    return false;
  };
  await caller.send(pool, requestOf('GET', '/')).over;
  t.equal(caller.bytes, body.length);
  t.equal(caller.failure, undefined);
});

t.test('calls to an upstream that refuses are each told so', async (t) => {
  const { upstream, pool, ask } = await placeOf(t, undefined, { maxConnections: 2 });
  await upstream.close();
  const callers = Array.from({ length: 7 }, () => new Caller(t).send(pool, requestOf('GET', '/')));
  for (const caller of callers) t.equal((await caller.over).code, 'upstream_unreachable');
  t.same(
    callers.map(({ asked }) => asked),
    [0, 0, 0, 0, 0, 0, 0],
  );
  t.equal((await ask()).code, 'upstream_unreachable');
});

/** A port on which connecting hangs: its listener's thread sleeps, and its backlog is full. */
async function deafPort(t: Test): Promise<number> {
  const worker = new Worker(
    `const { createServer } = require('node:net');
     const { parentPort } = require('node:worker_threads');
     const server = createServer();
     server.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port);
       setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
     });`,
    { eval: true },
  );
  const [port] = (await once(worker, 'message')) as [number];
  const fillers: Socket[] = [];
  t.teardown(async () => {
    for (const filler of fillers) filler.destroy();
    await worker.terminate();
  });
  for (let i = 0; i < 16; i++) {
    const filler = connect(port, '127.0.0.1').on('error', () => undefined);
    fillers.push(filler);
    const isOpen = await Promise.race([
      once(filler, 'connect').then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, 150, false)),
    ]);
    if (!isOpen) break;
  }
  return port;
}

t.test('an upstream that does not accept is given up at the deadline', async (t) => {
  const pool = openUpstream(t, {
    targets: [tcpTarget(await deafPort(t))],
    timeouts: { connectMs: 200, responseMs: 2000 },
    maxConnections: 1,
  });
  const before = performance.now();
  const [first, gone] = [new Caller(t), new Caller(t)];
  first.send(pool, requestOf('GET', '/'));
  gone.send(pool, requestOf('GET', '/')).call?.abort();
  t.equal((await first.over).code, 'upstream_connect_timeout');
  const took = performance.now() - before;
  t.ok(took > 150 && took < 1500, `${took} ms`);
});

t.test('a name with several addresses is tried until one accepts', async (t) => {
  const upstream = await new RecorderUpstream().open();
  t.teardown(() => upstream.close());
  const address = { kind: 'tcp', host: 'localhost', port: upstream.port } as const;
  const pool = openUpstream(t, { targets: [{ address, name: 'localhost' }] });
  t.equal((await new Caller(t).send(pool, requestOf('GET', '/')).over).body, 'ok');
});

t.test('an upstream that is no longer configured finishes what it was given', async (t) => {
  const { upstream, pool, ask } = await placeOf(t, undefined, { maxConnections: 2 });
  await Promise.all([ask(), ask()]);
  upstream.respond = () => undefined;
  const callers = [1, 2, 3].map((i) => new Caller(t).send(pool, requestOf('GET', `/${i}`)));
  await waitFor(() => upstream.requests.length === 4);
  pool.close();
  upstream.respond = answerOk;
  for (const connection of upstream.connections) answerOk(Object.assign(connection, { answered: 1 }));
  for (const caller of callers) t.equal((await caller.over).body, 'ok');
  await waitFor(() => upstream.connections.every((connection) => connection.closed));
});

t.test('an upstream that is destroyed fails all there is, and takes nothing more', async (t) => {
  const { upstream, pool, ask } = await placeOf(t, () => undefined, { maxConnections: 1 });
  const callers = [1, 2].map((i) => new Caller(t).send(pool, requestOf('GET', `/${i}`)));
  await waitFor(() => upstream.requests.length === 1);
  pool.destroy();
  for (const caller of callers) t.equal((await caller.over).code, 'upstream_reset');
  await closed(upstream.connections[0]);
  t.equal((await ask()).code, 'upstream_reset');
  t.equal(upstream.connections.length, 1);
});
