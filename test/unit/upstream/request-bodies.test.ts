import { PassThrough, Readable } from 'node:stream';
import t from 'tap';
import { answerOk } from '../../support/recorder-upstream.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, placeOf, postOf, requestOf } from './caller.js';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const MIB = 1024 * 1024;

t.test('a body with a length is sent as it is, and its connection goes on', async (t) => {
  const { upstream, ask } = await placeOf(t);
  for (const pieces of [['hello'], ['he', 'l', 'lo'], ['\u00ff\u0080\0\r\n']]) {
    const body = pieces.join('');
    const length = Buffer.byteLength(body);
    t.equal((await ask(postOf('/p', pieces, length))).body, 'ok');
    const request = upstream.requests.at(-1);
    t.equal(request?.body, Buffer.from(body).toString('latin1'));
    t.equal(request?.header('content-length'), String(length));
    t.equal(request?.header('transfer-encoding'), undefined);
  }
  t.equal((await ask(postOf('/p', [], 0))).body, 'ok');
  t.equal(upstream.requests.at(-1)?.header('content-length'), '0');
  t.equal(upstream.connections.length, 1);
});

t.test('a body without a length is sent in chunks, whatever the size of its pieces', async (t) => {
  const { upstream, ask } = await placeOf(t);
  for (const pieces of [
    ['hello'],
    ['he', 'llo'],
    ['a'.repeat(8192), 'b'.repeat(8193), 'c'.repeat(70_000)],
    [],
  ]) {
    t.equal((await ask(postOf('/p', pieces))).body, 'ok');
    const request = upstream.requests.at(-1);
    t.equal(request?.body, pieces.join(''));
    t.equal(request?.complete, true);
    t.equal(request?.header('transfer-encoding'), 'chunked');
    t.equal(request?.header('content-length'), undefined);
  }
  t.equal(upstream.connections.length, 1);
});

t.test('the head does not wait for a body that does not come', async (t) => {
  const { upstream, pool } = await placeOf(t);
  const body = new PassThrough();
  const caller = new Caller(t).send(pool, requestOf('POST', '/p', { body }));
  await waitFor(() => upstream.bytes.endsWith('\r\n\r\n'));
  body.write('one');
  await waitFor(() => upstream.bytes.endsWith('3\r\none\r\n'));
  body.end();
  t.equal((await caller.over).body, 'ok');
});

for (const [what, pieces, length] of [
  ['shorter', ['hell'], 5],
  ['longer', ['hello!'], 5],
  ['longer, in a piece of its own,', ['hell', 'o!'], 5],
] as const) {
  t.test(`a body that is ${what} than was declared never looks whole`, async (t) => {
    const { upstream, ask } = await placeOf(t, () => undefined);
    const caller = await ask(postOf('/p', pieces, length));
    t.equal(caller.code, 'internal_error');
    await waitFor(() => upstream.connections.every((connection) => connection.closed));
    t.ok(upstream.requests.every(({ complete }) => !complete));
  });
}

t.test('a body that breaks off or fails takes its request with it', async (t) => {
  for (const error of [undefined, new Error('broken')]) {
    for (const bodyLength of [undefined, 10]) {
      const { upstream, pool } = await placeOf(t, () => undefined);
      const body = new PassThrough();
      body.write('hello');
      const caller = new Caller(t).send(pool, requestOf('POST', '/p', { body, bodyLength }));
      await waitFor(() => upstream.bytes.includes('hello'));
      body.destroy(error);
      t.equal((await caller.over).code, 'internal_error');
      await waitFor(() => upstream.connections[0]?.closed === true);
      t.equal(upstream.requests[0]?.complete, false);
    }
  }
});

t.test('an upstream that reads slowly holds the body up, and gets all of it', async (t) => {
  let taken = 0;
  const { upstream, pool } = await placeOf(t, ({ socket }, fresh) => {
    if (taken === 0) {
      socket.pause();
      setTimeout(() => socket.resume(), 200);
    }
    taken += fresh.length;
  });
  let made = 0;
  let madeWhilePaused = 0;
  const body = new Readable({
    read() {
      made += MIB;
      if (taken < MIB) madeWhilePaused = made;
      this.push(made > 48 * MIB ? null : Buffer.alloc(MIB, 'x'));
    },
  });
  const caller = new Caller(t).send(pool, requestOf('POST', '/p', { body, bodyLength: 48 * MIB }));
  await waitFor(() => taken >= 48 * MIB, 20_000);
  t.ok(madeWhilePaused < 24 * MIB, `${madeWhilePaused / MIB} MiB were taken while the upstream did not read`);
  upstream.connections[0]?.socket.write(OK);
  t.equal((await caller.over).body, 'ok');
});

t.test('an answer that comes before the body is whole is passed on, and ends the connection', async (t) => {
  const { upstream, pool, ask } = await placeOf(t, ({ socket }) => void socket.write(OK));
  for (const bodyLength of [undefined, 10]) {
    const body = new PassThrough();
    body.write('hello');
    const caller = new Caller(t).send(pool, requestOf('POST', '/p', { body, bodyLength }));
    t.equal((await caller.over).body, 'ok');
    t.equal(caller.failure, undefined);
    await waitFor(() => upstream.connections.every((connection) => connection.closed));
    t.equal(body.destroyed, true, 'nobody wants the rest');
    t.equal(upstream.requests.at(-1)?.complete, false);
  }
  upstream.respond = answerOk;
  t.equal((await ask()).body, 'ok');
  t.equal(upstream.connections.length, 3);
});

t.test('both bodies may run at the same time', async (t) => {
  const { upstream, pool } = await placeOf(t, () => undefined);
  const body = new PassThrough();
  const caller = new Caller(t).send(pool, requestOf('POST', '/p', { body }));
  body.write('one');
  await waitFor(() => upstream.bytes.endsWith('one\r\n'));
  const { socket } = upstream.connections[0]!;
  socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nONE\r\n');
  await waitFor(() => caller.body === 'ONE');
  body.end('two');
  await waitFor(() => upstream.bytes.endsWith('two\r\n0\r\n\r\n'));
  socket.write('3\r\nTWO\r\n0\r\n\r\n');
  t.equal((await caller.over).body, 'ONETWO');
  upstream.respond = answerOk;
  Object.assign(upstream.connections[0]!, { answered: 1 });
  const next = new Caller(t).send(pool, requestOf('GET', '/'));
  t.equal((await next.over).body, 'ok');
  t.equal(upstream.connections.length, 1);
});

t.test(
  'what is given up in the same turn as it was begun is never sent, and its body is let go',
  async (t) => {
    const { upstream, pool, ask } = await placeOf(t);
    await ask();
    const body = new PassThrough();
    const caller = new Caller(t).send(pool, requestOf('POST', '/never', { body }));
    caller.call?.abort();
    t.equal(body.destroyed, true);
    t.equal((await ask()).body, 'ok');
    t.equal(caller.asked, 0);
    t.equal(caller.call?.hasBegun, false);
    t.notMatch(upstream.bytes, /never/);
  },
);

t.test('a request with a body that may not begin, or finds no upstream, lets its body go', async (t) => {
  const { upstream, pool, ask } = await placeOf(t);
  const refused = new Caller(t);
  refused.may = () => false;
  const first = new PassThrough();
  refused.send(pool, requestOf('POST', '/never', { body: first }));
  await waitFor(() => first.destroyed);
  t.notMatch(upstream.bytes, /never/);
  await upstream.close();
  const second = new PassThrough();
  t.equal((await ask(requestOf('POST', '/p', { body: second }))).code, 'upstream_unreachable');
  t.equal(second.destroyed, true);
});
