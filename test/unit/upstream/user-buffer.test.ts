import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import t from 'tap';
import { readInto } from '../../../src/upstream/user-buffer.js';

t.test('an open socket reads into our buffers on this version of Node, and tells its end', async (t) => {
  const server = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1');
  await once(socket, 'connect');
  let text = '';
  const buffers: Buffer[] = [];
  const next = (): Buffer => buffers[buffers.push(Buffer.alloc(3)) - 1]!;
  const isOurs = readInto(socket, next, (length) => {
    text += buffers.at(-1)!.toString('latin1', 0, length);
    return true;
  });
  t.equal(isOurs, true);
  t.equal(
    readInto(socket, next, () => true),
    false,
    'only once',
  );
  socket.on('data', () => t.fail('nothing comes as an event'));
  await once(socket, 'end');
  t.equal(text, 'hello');
});

t.test('where there are no such slots, nothing is changed', (t) => {
  const socket = { _handle: { useUserBuffer: () => t.fail('no buffer was to be given') } };
  t.equal(
    readInto(
      socket as unknown as Socket,
      () => Buffer.alloc(1),
      () => true,
    ),
    false,
  );
  t.same(Object.getOwnPropertySymbols(socket), []);
  t.end();
});
