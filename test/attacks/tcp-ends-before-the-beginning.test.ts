import { once } from 'node:events';
import t, { type Test } from 'tap';
import { type World, waitFor } from '../support/start-proxy.js';
import { startTcpWorld, TcpService } from '../support/tcp-world.js';

const WRITTEN = 'audit.ndjson, durability: written';

async function start(t: Test, service: TcpService, audit?: string): Promise<World> {
  await service.open();
  const world = await startTcpWorld(service, audit === undefined ? {} : { audit });
  t.teardown(async () => {
    await world.close();
    service.close();
  });
  return world;
}

t.test('a server that hangs up before its tunnel has a record is not waited for', async (t) => {
  const service = new TcpService();
  service.onSocket = (socket) => void socket.end();
  const world = await start(t, service, WRITTEN);
  const client = await world.client(world.web);
  const ended = once(client.socket, 'end');
  client.socket.resume();
  await ended;
  client.socket.end();
  const [first, last] = await world.untilRecords(2);
  t.equal(first?.phase, 'start');
  t.equal(last?.phase, 'end');
  t.equal(last?.response.outcome, 'complete');
});

for (const audit of [undefined, WRITTEN]) {
  t.test(`a client that only listens gets what there is (${audit ?? 'buffered'})`, async (t) => {
    const service = new TcpService();
    service.onSocket = (socket) => {
      socket.once('end', () => socket.end('all there is'));
      socket.resume();
    };
    const world = await start(t, service, audit);
    const client = await world.client(world.web);
    let text = '';
    client.socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const ended = once(client.socket, 'end');
    client.socket.end();
    await ended;
    t.equal(text, 'all there is');
    const last = (await world.untilRecords(2)).at(-1);
    t.equal(last?.phase, 'end');
    t.equal(last?.response.outcome, 'complete');
    await waitFor(() => service.ended === 1);
  });
}
