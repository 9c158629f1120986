import t, { type Test } from 'tap';
import { dataFrame, ERROR, FRAME, goawayFrame, headersFrame, rstFrame } from '../support/http2-frames.js';
import { RawHttp2Server } from '../support/raw-http2.js';
import { RawHttp2 } from '../support/raw-http2-client.js';
import { World } from '../support/start-proxy.js';

const POLICY = `version: 1
default: deny
rules:
  - { id: public, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r1] }
`;

interface Scene {
  readonly world: World;
  readonly server: RawHttp2Server;
  readonly client: RawHttp2;
}

async function start(t: Test): Promise<Scene> {
  const server = await new RawHttp2Server().open();
  const upstreams = `\n  u: { url: "http://127.0.0.1:${server.port}", protocol: http2 }`;
  const routes = '[{ name: r1, host: svc.test, path: /public/**, upstream: u }]';
  const world = await World.start({ upstreams, routes, policy: POLICY });
  const client = await RawHttp2.open({ port: world.port, identity: world.web });
  t.teardown(async () => {
    client.destroy();
    await world.close();
    await server.close();
  });
  return { world, server, client };
}

for (const [what, disown] of [
  ['GOAWAY below it', () => goawayFrame(0, ERROR.none)],
  ['REFUSED_STREAM', (stream: number) => rstFrame(stream, ERROR.refusedStream)],
] as const) {
  t.test(`a call that was answered and is disowned by ${what} is sent no second time`, async (t) => {
    const { world, server, client } = await start(t);
    let heads = 0;
    server.onFrame = (connection, { type, stream }) => {
      if (type !== FRAME.headers) return;
      heads++;
      const fields = [
        [':status', '200'],
        ['x-answer', String(heads)],
      ] as const;
      connection.send(headersFrame(stream, fields), dataFrame(stream, `answer ${heads}`));
      void client
        .until(() => client.dataOf(1).length > 0)
        .then(() => heads === 1 && connection.send(disown(stream)));
    };
    client.get(1);
    await client.settled(1);
    t.equal(heads, 1);
    t.equal(client.dataOf(1).toString(), 'answer 1', 'nothing of another answer is behind it');
    t.ok(client.resetOf(1), 'and it does not look whole');
    const [record] = await world.untilRecords(1);
    t.equal(record?.response.reason, 'upstream_reset');
    t.equal(record?.response.outcome, 'upstream_cut_short');
  });
}

t.test('P152 grpc-status in a head whose stream is reset is no status of the call', async (t) => {
  const { world, server, client } = await start(t);
  server.onFrame = (connection, { type, stream }) => {
    if (type !== FRAME.headers) return;
    const fields = [
      [':status', '200'],
      ['content-type', 'application/grpc'],
      ['grpc-status', '0'],
    ] as const;
    connection.send(headersFrame(stream, fields), rstFrame(stream, ERROR.none));
  };
  client.headers(1, [
    [':method', 'POST'],
    [':scheme', 'https'],
    [':authority', 'svc.test'],
    [':path', '/public/a'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ]);
  await client.settled(1);
  const [record] = await world.untilRecords(1);
  t.equal(record?.response.grpcStatus, 14);
  t.equal(record?.response.reason, 'upstream_reset');
  const said = client.frames.filter(({ type, stream }) => type === FRAME.headers && stream === 1);
  t.notOk(said[0]!.flags & 1, 'the head is not the end of the call');
});
