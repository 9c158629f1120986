import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { connect, createServer, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { Connection } from '../../../src/listener/connection.js';
import { mintRoot } from '../../support/pki.js';

async function accept(t: Test): Promise<Connection> {
  const own = await (await mintRoot('a.test')).issue('spiffe://a.test/proxy');
  const server = createServer({ cert: own.chainPem, key: own.keyPem }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  client.on('error', () => undefined);
  t.teardown(() => {
    client.destroy();
    server.close();
  });
  const [socket] = (await once(server, 'secureConnection')) as [TLSSocket];
  socket.on('error', () => undefined);
  await setImmediate(); // a reset inside the handshake's last callback brings Node down
  return new Connection('c1', socket, '127.0.0.1', undefined, 0);
}

/** Of the TLS socket, and of what carries it. */
function bothClosed({ socket }: Connection): Promise<unknown> {
  const { _parent: transport } = socket as unknown as { _parent: Socket };
  return Promise.all([once(socket, 'close'), once(transport, 'close')]);
}

t.test('a connection that is reset while its end is under way is gone all the same', async (t) => {
  const connection = await accept(t);
  const closed = bothClosed(connection);
  connection.close();
  connection.reset();
  await t.resolves(closed);
});

t.test('a connection that is reset is gone', async (t) => {
  const connection = await accept(t);
  const closed = bothClosed(connection);
  connection.reset();
  await t.resolves(closed);
});
