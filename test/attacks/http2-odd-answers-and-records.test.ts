import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { RawHttp2, requestFields } from '../support/raw-http2-client.js';
import { World } from '../support/start-proxy.js';

async function start(t: Test, extra = ''): Promise<{ world: World; client: RawHttp2 }> {
  const world = await World.start({ extra });
  const client = await RawHttp2.open({ port: world.port, identity: world.web });
  t.teardown(async () => {
    client.destroy();
    await world.close();
  });
  return { world, client };
}

t.test('P156 a method of twenty thousand octets makes no record of twenty thousand octets', async (t) => {
  const { world, client } = await start(t);
  client.headers(1, requestFields('M'.repeat(14_000), '/public/a'));
  await client.settled(1);
  t.equal(client.statusOf(1), 405);
  const [record] = await world.untilRecords(1);
  t.equal(record?.response.reason, 'method_not_allowed');
  t.ok(JSON.stringify(record).length < 6000, `${JSON.stringify(record).length} octets`);
});

for (const status of [204, 205, 304]) {
  t.test(`an upstream of HTTP/1.1 that sends a body with ${status} harms nobody`, async (t) => {
    const { world, client } = await start(t);
    world.upstream.respond = ({ socket }) =>
      void socket.write(`HTTP/1.1 ${status} X\r\nContent-Length: 5\r\n\r\nhello`);
    client.get(1);
    await client.settled(1);
    t.equal(client.statusOf(1), status);
    t.equal(client.dataOf(1).length, 0);
    await world.untilRecords(1);
    world.upstream.respond = ({ socket }) =>
      void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    client.get(3);
    await client.settled(3);
    t.equal(client.statusOf(3), 200);
    t.equal(client.dataOf(3).toString(), 'ok');
  });
}

t.test('names that objects have of themselves are fields like any other, both ways', async (t) => {
  const { world, client } = await start(t);
  world.upstream.respond = ({ socket }) =>
    void socket.write(
      'HTTP/1.1 200 OK\r\n__proto__: a\r\nconstructor: b\r\ntoString: c\r\nContent-Length: 2\r\n\r\nok',
    );
  client.get(1, '/public/a', [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  await client.settled(1);
  t.equal(client.statusOf(1), 200);
  t.match(world.upstream.bytes, /__proto__: x\r\n/);
});

const BEGUN = 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this';

for (const [what, cut] of [
  ['its upstream breaks off', (_world: World, socket: Socket) => void socket.destroy()],
  [
    'its caller is revoked',
    (world: World) =>
      world.replace(
        'revoked.yaml',
        'version: 1\nrevoked:\n  - { id: "spiffe://a.test/web", reason: test }\n',
      ),
  ],
] as const) {
  t.test(`P115 an answer that is cut short because ${what} is reset, and never ended`, async (t) => {
    const { world, client } = await start(t, 'deadlines: { accessEnd: 0s }');
    let upstream: Socket | undefined;
    world.upstream.respond = ({ socket }) => {
      upstream = socket;
      socket.write(BEGUN);
    };
    client.get(1);
    await client.until(() => client.dataOf(1).length > 0);
    cut(world, upstream!);
    await client.settled(1);
    const ends = client.frames.filter(({ type, flags, stream }) => stream === 1 && type <= 1 && flags & 1);
    t.equal(ends.length, 0);
    t.ok(client.resetOf(1));
    t.equal(client.dataOf(1).toString(), 'only this');
    const [record] = await world.untilRecords(1);
    t.not(record?.response.outcome, 'complete');
  });
}
