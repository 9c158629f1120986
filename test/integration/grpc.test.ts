import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { EchoService, whole } from '../support/echo-service.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const POLICY = `version: 1
default: deny
rules:
  - { id: echo, effect: allow, principals: ["spiffe://a.test/web"], destinations: [grpc], methods: [POST], paths: ["/test.Echo/*"] }
`;
const ROUTES = `
      - { name: grpc, host: svc.test, path: /**, upstream: grpc, deadlines: { body: 1s, upstreamFirstByte: 1s } }`;

async function start(t: Test, extra = ''): Promise<{ world: World; service: EchoService; client: Client }> {
  const service = await new EchoService().open();
  t.teardown(() => service.server.forceShutdown());
  const world = await World.start({
    routes: ROUTES,
    policy: POLICY,
    extra: `${extra}`,
    upstreams: `\n  grpc: { url: "http://127.0.0.1:${service.port}", protocol: http2 }`,
  });
  t.teardown(() => world.close());
  const client = clientOf(world, world.web);
  t.teardown(() => client.close());
  return { world, service, client };
}

function clientOf(world: World, who: { keyPem: string; chainPem: string }): Client {
  const roots = Buffer.from(world.caA.certPem);
  const channel = credentials.createSsl(roots, Buffer.from(who.keyPem), Buffer.from(who.chainPem));
  return new Client(`127.0.0.1:${world.port}`, channel, {
    'grpc.ssl_target_name_override': 'svc.test',
    'grpc.default_authority': 'svc.test',
    'grpc.max_receive_message_length': 16 * 1024 * 1024,
  });
}

interface Unary {
  readonly error: ServiceError | null;
  readonly answer: Buffer | undefined;
  readonly trailers: Metadata;
}

const call = (client: Client, name: string, message: Buffer, deadlineMs = 10_000): Promise<Unary> =>
  new Promise((resolve) => {
    let trailers = new Metadata();
    let result: Omit<Unary, 'trailers'> | undefined;
    const done = (): void => {
      if (result !== undefined) resolve({ ...result, trailers });
    };
    const request = client.makeUnaryRequest(
      `/test.Echo/${name}`,
      whole,
      whole,
      message,
      { deadline: Date.now() + deadlineMs },
      (error, answer) => {
        result = { error, answer };
        setImmediate(done);
      },
    );
    request.on('status', (final) => {
      trailers = final.metadata;
    });
  });

const chat = (client: Client): ClientDuplexStream<Buffer, Buffer> =>
  client.makeBidiStreamRequest('/test.Echo/Chat', whole, whole);

const endOf = (stream: ClientDuplexStream<Buffer, Buffer>): Promise<number> =>
  new Promise((resolve) => {
    stream.on('error', () => undefined);
    stream.on('status', ({ code }) => resolve(code));
  });

const last = (world: World): ReadRecord | undefined => world.exchanges.at(-1);

t.test(
  'unary calls, their status and their trailers cross, under policy, each with its record',
  async (t) => {
    const { world, client } = await start(t);
    const large = Buffer.alloc(3 * 1024 * 1024, 'a');
    for (const message of [Buffer.from('hello'), Buffer.alloc(0), large]) {
      const { error, answer, trailers } = await call(client, 'Unary', message);
      t.equal(error, null);
      t.ok(answer?.equals(message));
      t.same(trailers.get('x-who'), [world.web.uri]);
      t.same(trailers.get('x-spiffe-id'), [], 'nothing reserved in trailers');
    }
    const { error } = await call(client, 'Fail', Buffer.from('x'));
    t.equal(error?.code, status.NOT_FOUND);
    t.equal(error?.details, 'no such thing');
    await world.untilRecords(4);
    t.same(
      world.exchanges.map(({ response }) => response.grpcStatus),
      [0, 0, 0, 5],
    );
    t.same([...new Set(world.exchanges.map(({ request }) => request.protocol))], ['http/2']);
    t.ok(world.exchanges.every(({ phase }) => phase === undefined));
  },
);

t.test('P106 a refused call is PERMISSION_DENIED among a thousand that are let through', async (t) => {
  const { world, client } = await start(t);
  const calls = Array.from({ length: 300 }, (_, i) =>
    call(client, i === 150 ? 'Unary/No' : 'Unary', Buffer.from(String(i))),
  );
  const done = await Promise.all(calls);
  t.equal(done[150]?.error?.code, status.PERMISSION_DENIED);
  t.equal(done.filter(({ error }) => error === null).length, 299);
  await world.untilRecords(300);
  const denied = world.exchanges.filter(({ decision }) => decision.effect === 'deny');
  t.same(
    denied.map(({ response }) => [response.status, response.grpcStatus]),
    [[200, 7]],
  );
});

t.test('every kind of stream crosses whole, and outlives the deadlines of requests', async (t) => {
  const { world, client } = await start(t);
  const collected = new Promise<Buffer | undefined>((resolve) => {
    const stream = client.makeClientStreamRequest('/test.Echo/Collect', whole, whole, (_error, answer) =>
      resolve(answer),
    );
    for (let i = 0; i < 100; i++) stream.write(Buffer.from(`${i};`));
    stream.end();
  });
  t.match(String(await collected), /^0;1;.*99;$/);
  const listed = client.makeServerStreamRequest('/test.Echo/List', whole, whole, Buffer.from('x'));
  let text = '';
  for await (const part of listed) text += part;
  t.match(text, /^0;1;.*99;$/);
  const stream = chat(client);
  const ended = endOf(stream);
  const heard: string[] = [];
  stream.on('data', (part: Buffer) => heard.push(String(part)));
  stream.write(Buffer.from('early'));
  await waitFor(() => heard.length === 1);
  await waitFor(() => world.exchanges.some(({ phase }) => phase === 'start'), 5000);
  const before = Date.now();
  await waitFor(() => Date.now() - before > 1800, 5000); // past body and first byte, both 1 s
  stream.write(Buffer.from('late'));
  await waitFor(() => heard.length === 2);
  stream.end();
  t.equal(await ended, status.OK);
  await waitFor(() => last(world)?.phase === 'end');
  t.equal(last(world)?.response.grpcStatus, 0);
  t.equal(last(world)?.request.bytes > 0, true);
});

t.test('grpc-timeout is a deadline of ours too, and the upstream hears of it', async (t) => {
  const { world, service, client } = await start(t);
  const { error } = await call(client, 'Hang', Buffer.from('x'), 700);
  t.equal(error?.code, status.DEADLINE_EXCEEDED);
  await waitFor(() => service.cancelled.includes('hang'));
  await world.untilRecords(1);
  t.equal(last(world)?.decision.effect, 'allow');
});

t.test('an upstream that dies in the middle is never OK', async (t) => {
  const { world, service, client } = await start(t);
  const stream = chat(client);
  const ended = endOf(stream);
  stream.on('data', () => service.server.forceShutdown());
  stream.write(Buffer.from('x'));
  t.not(await ended, status.OK);
  await world.untilRecords(1);
  t.not(last(world)?.response.grpcStatus, 0);
});

t.test('streams of who loses access end at once with PERMISSION_DENIED, those of others go on', async (t) => {
  const { world, client } = await start(t);
  const streams = Array.from({ length: 50 }, () => chat(client));
  let heard = 0;
  const ended = streams.map(endOf);
  for (const stream of streams) {
    stream.on('data', () => heard++);
    stream.write(Buffer.from('x'));
  }
  await waitFor(() => heard === 50);
  world.replace('revoked.yaml', `version: 1\nrevoked: [{ id: "${world.web.uri}", reason: test }]\n`);
  const codes = await Promise.all(ended);
  t.same([...new Set(codes)], [status.PERMISSION_DENIED]);
  await waitFor(() => world.exchanges.filter(({ phase }) => phase !== 'start').length === 50);
  const ends = world.exchanges.filter(({ phase }) => phase !== 'start');
  t.ok(ends.every(({ response }) => response.outcome === 'access_ended' && response.grpcStatus === 7));
});
