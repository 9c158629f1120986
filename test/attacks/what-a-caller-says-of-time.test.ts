import t from 'tap';
import { World, waitFor } from '../support/start-proxy.js';

const STREAM = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n';

for (const timeout of ['', 'Grpc-Timeout: never\r\n', 'Grpc-Timeout: 1S\r\nGrpc-Timeout: 1S\r\n']) {
  t.test(`an event stream ends with its access, whatever it was asked for with: ${timeout}`, async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    world.upstream.respond = ({ socket }) => void socket.write(STREAM);
    const client = await world.client(world.web);
    let text = '';
    client.socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
    });
    client.socket.write(`GET /public/events HTTP/1.1\r\nHost: svc.test\r\n${timeout}\r\n`);
    await waitFor(() => text.includes('data: 1'));
    const closed = new Promise((resolve) => client.socket.once('close', resolve));
    world.replace('revoked.yaml', 'version: 1\nrevoked:\n  - { id: "spiffe://a.test/web", reason: test }\n');
    const beganMs = performance.now();
    await closed;
    t.ok(performance.now() - beganMs < 3000, 'no grace is given to what may never end');
    const [record] = await world.untilRecords(1);
    t.equal(record?.response.reason, 'access_ended');
  });
}

t.test('grpc-timeout is of gRPC calls, and ends no event stream', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  let push = (): void => undefined;
  world.upstream.respond = ({ socket }) => {
    socket.write(STREAM);
    push = () => void socket.write('data: 2\n\n');
  };
  const client = await world.client(world.web);
  let text = '';
  client.socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  client.socket.write('GET /public/events HTTP/1.1\r\nHost: svc.test\r\nGrpc-Timeout: 1n\r\n\r\n');
  await waitFor(() => text.includes('data: 1'));
  await waitFor(() => world.exchanges.length > 0); // of its start, after a second: its sweeps have run
  push();
  await waitFor(() => text.includes('data: 2'));
  t.equal(world.exchanges[0]?.phase, 'start');
});
