import { createHash, randomBytes } from 'node:crypto';
import t from 'tap';
import { waitFor } from '../support/start-proxy.js';
import { startTcp, type TcpService } from '../support/tcp-world.js';

const NO_ALPN = { ALPNProtocols: undefined as never };
const MIB = 1024 * 1024;

/** What the service gets, as a digest. */
class Sink {
  bytes = 0;
  readonly digest: Promise<string>;

  constructor(service: TcpService) {
    this.digest = new Promise((resolve) => {
      service.onSocket = (socket) => {
        const hash = createHash('sha256');
        socket.on('data', (chunk: Buffer) => {
          this.bytes += chunk.length;
          hash.update(chunk);
        });
        socket.once('end', () => {
          socket.end();
          resolve(hash.digest('hex'));
        });
      };
    });
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

t.test(
  'what a client sends arrives whole and in order, in whatever pieces, and its end behind it',
  async (t) => {
    const sizes = [1, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_536, 262_143, 262_144, 262_145, 3 * MIB];
    const { world, service } = await startTcp(t);
    for (const size of sizes) {
      const sink = new Sink(service);
      const bytes = randomBytes(size);
      const client = await world.client(world.web, NO_ALPN);
      client.socket.end(bytes);
      t.equal(await sink.digest, sha256(bytes), `${size} bytes in one piece`);
      await client.untilClosed();
    }
    const sink = new Sink(service);
    const bytes = randomBytes(6 * MIB);
    const client = await world.client(world.web, NO_ALPN);
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const piece = bytes.subarray(at, at + 1 + ((i * 7919) % 50_000));
      at += piece.length;
      if (!client.socket.write(piece)) await new Promise((resolve) => client.socket.once('drain', resolve));
    }
    client.socket.end();
    t.equal(await sink.digest, sha256(bytes));
    await client.untilClosed();
    const records = await world.untilRecords(2 * (sizes.length + 1));
    const last = records.filter(({ phase }) => phase === 'end').at(-1);
    t.match(last, { request: { bytes: bytes.length }, response: { outcome: 'complete' } });
  },
);

t.test('several clients at once do not read into each other', async (t) => {
  const { world, service } = await startTcp(t);
  const digests = new Set<string>();
  service.onSocket = (socket) => {
    const hash = createHash('sha256');
    socket.on('data', (chunk: Buffer) => void hash.update(chunk));
    socket.once('end', () => {
      digests.add(hash.digest('hex'));
      socket.end();
    });
  };
  const bodies = Array.from({ length: 12 }, (_, i) => randomBytes(MIB + i));
  await Promise.all(
    bodies.map(async (bytes) => {
      const client = await world.client(world.web, NO_ALPN);
      client.socket.end(bytes);
      await client.untilClosed();
    }),
  );
  t.same([...digests].sort(), bodies.map(sha256).sort());
});

t.test('a service that reads slowly holds up its client, and gets all of it in the end', async (t) => {
  const { world, service } = await startTcp(t);
  const sink = new Sink(service);
  const read = service.onSocket;
  service.onSocket = (socket) => {
    read(socket);
    socket.pause();
  };
  const bytes = randomBytes(24 * MIB);
  const client = await world.client(world.web, NO_ALPN);
  client.socket.end(bytes);
  await waitFor(() => service.sockets.length === 1);
  let last = -1;
  await waitFor(() => {
    const stands = client.socket.bytesWritten - client.socket.writableLength === last;
    last = client.socket.bytesWritten - client.socket.writableLength;
    return stands;
  });
  t.notOk(client.socket.writableFinished, 'not all of it has left the client');
  service.sockets[0]!.resume();
  t.equal(await sink.digest, sha256(bytes));
  await client.untilClosed();
});

t.test('what was sent before the service was there comes first', async (t) => {
  const { world, service } = await startTcp(t, { upstream: ', proxyProtocol: v2' });
  const client = await world.client(world.web, NO_ALPN);
  client.send('first, ');
  client.send('then');
  await waitFor(() => service.received.endsWith('first, then'));
  t.equal(service.received.split('first, then').length, 2);
  client.destroy();
});
