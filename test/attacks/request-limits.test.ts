import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import type { RawClient } from '../support/raw-client.js';
import { GET } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

/** Ways round a limit on requests, and ways to leave one taken for ever. */

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const WS = `GET /ws HTTP/1.1\r\nHost: svc.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`;
const SWITCH = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`;

async function start(t: Test, limits: string, options: WorldOptions = {}): Promise<World> {
  const world = await World.start({ ...options, extra: `limits: { ${limits} }` });
  t.teardown(() => world.close());
  return world;
}

const burstOf = (burst: number): string => `requestsPerPrincipal: { rate: 1/h, burst: ${burst} }`;
const askOf = (method: string, target: string, more = ''): string =>
  `${method} ${target} HTTP/1.1\r\nHost: svc.test\r\n${more}\r\n`;
const statusOf = async (client: RawClient, bytes = GET): Promise<number | undefined> =>
  (await client.ask(bytes))[0]?.status;
const limitedOf = (records: readonly ReadRecord[]): ReadRecord[] =>
  records.filter(({ response }) => response.status === 429);

t.test('neither a new connection nor a new certificate of the same ID begins anew', async (t) => {
  const world = await start(t, burstOf(4));
  for (let i = 0; i < 4; i++) {
    const client = await world.client();
    t.equal(await statusOf(client), 200);
    client.destroy();
  }
  t.equal(await statusOf(await world.client()), 429, 'a new connection');
  for (let i = 0; i < 3; i++) {
    const renewed = await world.caA.issue(world.web.uri);
    t.equal(await statusOf(await world.client(renewed)), 429, 'a new certificate and key');
  }
  t.equal(
    await statusOf(await world.client(world.bweb)),
    200,
    'another ID: that of another domain with the same path',
  );
  await holdInvariants(t, world);
});

t.test(
  'HEAD, OPTIONS, what no rule and no route takes, and each of those that are pipelined count',
  async (t) => {
    const world = await start(t, burstOf(7));
    const client = await world.client();
    const asked: readonly (readonly [string, number])[] = [
      [askOf('HEAD', '/public/a'), 200],
      [askOf('OPTIONS', '/public/a'), 403],
      [askOf('GET', '/admin/a'), 403],
      [askOf('GET', '/nowhere'), 404],
      [askOf('POST', '/public/a', 'Content-Length: 0\r\n'), 200],
      [GET, 200],
      [GET, 200],
      [GET, 429],
      [askOf('GET', '/admin/a'), 429],
      [askOf('GET', '/nowhere'), 429],
      [GET, 429],
    ];
    const first = asked[0]![0];
    world.upstream.respond = ({ socket }, fresh) => {
      for (const head of fresh.split('\r\n\r\n').slice(0, -1))
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Length: ${head.startsWith('HEAD') ? 0 : 2}\r\n\r\n${head.startsWith('HEAD') ? '' : 'ok'}`,
        );
    };
    const answers = await client.ask(
      first +
        asked
          .slice(1)
          .map(([bytes]) => bytes)
          .join(''),
      asked.length,
    );
    t.same(
      answers.map(({ status }) => status),
      asked.map(([, status]) => status),
    );
    t.equal(world.upstream.requests.length, 4);
  },
);

t.test(
  'what is held back behind a refusal is recorded, answered in order, and not lost with its connection',
  async (t) => {
    const world = await start(t, burstOf(1));
    t.equal(await statusOf(await world.client()), 200);
    const patient = await world.client();
    const answers = await patient.ask(GET.repeat(40), 40);
    t.same([...new Set(answers.map(({ status }) => status))], [429]);
    t.same(
      answers.map(({ headers }) => headers['x-request-id']),
      (await world.untilRecords(41)).slice(1).map(({ id }) => id),
    );
    const hasty = await world.client();
    hasty.send(GET.repeat(20));
    await hasty.until(() => hasty.answers.length > 0);
    hasty.destroy();
    const records = (await world.untilRecords(61)).slice(41);
    t.same([...new Set(records.map(({ response }) => response.reason))].sort(), [
      'client_aborted',
      'rate_limited',
    ]);
    const upgrade = await world.client();
    await upgrade.ask(GET);
    t.equal(await statusOf(upgrade, WS), 429, 'an upgrade right behind it is judged like any');
    await holdInvariants(t, world);
  },
);

t.test('an answer of 429 to HEAD has no body, and what follows it is read as it should be', async (t) => {
  const world = await start(t, burstOf(1));
  const client = await world.client();
  t.equal(await statusOf(client), 200);
  client.send(askOf('HEAD', '/public/a'));
  await client.until(() => client.received.includes(' 429 '));
  const headEnd = client.received.lastIndexOf('\r\n\r\n') + 4;
  client.send(GET);
  await client.until(() => client.received.split(' 429 ').length === 3);
  t.ok(client.received.slice(headEnd).startsWith('HTTP/1.1 429'), 'right behind the head');
  t.equal(client.closed, false);
});

t.test(
  'a body of a refused request reaches nobody, and the connection does not go on behind it',
  async (t) => {
    const world = await start(t, burstOf(1));
    const client = await world.client();
    t.equal(await statusOf(client), 200);
    const smuggled = 'GET /public/smuggled HTTP/1.1\r\nHost: svc.test\r\n\r\n';
    client.send(`${askOf('POST', '/public/a', 'Content-Length: 1000\r\n')}${smuggled}`);
    await client.untilClosed();
    t.same(
      client.answers.map(({ status }) => status),
      [200, 429],
    );
    t.equal(client.answers[1]?.headers.connection, 'close');
    t.notMatch(world.upstream.bytes, /smuggled/);
    const waiting = await world.client();
    const [answer] = await waiting.ask(
      askOf('POST', '/public/a', 'Content-Length: 9\r\nExpect: 100-continue\r\n'),
    );
    t.equal(answer?.status, 429);
    t.notMatch(waiting.received, /100 Continue/, 'it is not asked for a body that nobody takes');
    await holdInvariants(t, world);
  },
);

t.test('a request with a fault keeps its own reason, and its connection ends as ever', async (t) => {
  const world = await start(t, burstOf(1));
  t.equal(await statusOf(await world.client()), 200);
  const client = await world.client();
  const [answer] = await client.ask(
    askOf('POST', '/public/a', 'Content-Length: 1\r\nTransfer-Encoding: chunked\r\n'),
  );
  t.equal(answer?.status, 400, 'limits must not turn what ends a connection into what leaves it open');
  await client.untilClosed();
});

t.test('upgrades are counted like any request, and refused with the same headers', async (t) => {
  const world = await start(t, burstOf(1));
  world.upstream.respond = ({ socket }) => void socket.write(SWITCH);
  t.equal(await statusOf(await world.client(), WS), 101);
  const client = await world.client();
  const [answer] = await client.ask(WS);
  t.equal(answer?.status, 429);
  t.match(answer?.headers, {
    'retry-after': /^3[56]\d\d$/,
    ratelimit: /^"requestsPerPrincipal";r=0;t=3[56]\d\d$/,
  });
  await client.untilClosed();
  t.equal(world.upstream.requests.length, 1);
});

t.test('a tunnel is one of those under way for as long as it lasts', async (t) => {
  const world = await start(t, 'concurrentPerPrincipal: 2');
  world.upstream.respond = ({ socket }, fresh) =>
    void socket.write(
      fresh.startsWith('GET /ws') ? SWITCH : 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    );
  const tunnels = [await world.client(), await world.client()];
  for (const tunnel of tunnels) t.equal(await statusOf(tunnel, WS), 101);
  const client = await world.client();
  t.equal(await statusOf(client), 429);
  t.equal(await statusOf(await world.client(), WS), 429);
  tunnels[0]?.destroy();
  await waitFor(async () => (await statusOf(client)) === 200);
  t.equal(await statusOf(await world.client(), WS), 101, 'its place is free again, once');
  t.equal(await statusOf(client), 429);
});

t.test('whatever becomes of requests, none stays counted and none is given back twice', async (t) => {
  const world = await start(t, 'concurrentPerPrincipal: 3, headerCount: 20, bodyBytes: 1KiB');
  const { respond } = world.upstream;
  const long = `POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 900\r\n\r\nabc`;
  for (let round = 0; round < 3; round++) {
    world.upstream.respond = () => undefined;
    await endAll(world, [GET, long, askOf('HEAD', '/public/a')], (client) => client.destroy()); // aborted by the client
    world.upstream.respond = ({ socket }) => void socket.destroy();
    await endAll(world, [GET, long, WS]); // failed by the upstream
    world.upstream.respond = ({ socket }) =>
      void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf', () => socket.destroy());
    await endAll(world, [GET, GET]); // cut short
    world.upstream.respond = respond;
    await endAll(world, [askOf('GET', '/admin/a'), askOf('GET', '/nowhere')], (client) => client.destroy()); // refused
    await endAll(world, [askOf('POST', '/public/a', 'Content-Length: 5000\r\n')]); // refused later: too large
    await endAll(world, [GET + GET + GET], (client) => client.destroy()); // pipelined, and gone
  }
  const before = limitedOf(world.exchanges).length;
  world.upstream.respond = () => undefined;
  const seen = world.upstream.requests.length;
  const clients: RawClient[] = [];
  for (let i = 0; i < 3; i++) {
    const client = await world.client();
    client.send(GET);
    clients.push(client);
  }
  await waitFor(
    () => world.upstream.requests.length === seen + 3,
    10_000,
    () => 'three at once',
  );
  t.equal(await statusOf(await world.client()), 429, 'and not four');
  await waitFor(() => limitedOf(world.exchanges).length === before + 1);
  for (const client of clients) client.destroy();
});

/** Sends each on a connection of its own, ends it, and waits for the records of all that it asked. */
async function endAll(
  world: World,
  asked: readonly string[],
  end?: (client: RawClient) => void,
): Promise<void> {
  const recordsOfIt = (): number =>
    world.exchanges.filter(({ principal, phase }) => principal?.id === world.web.uri && phase !== 'start')
      .length;
  for (const bytes of asked) {
    const expected = recordsOfIt() + bytes.split(' HTTP/1.1\r\n').length - 1;
    const client = await world.client();
    client.send(bytes);
    if (end === undefined) await client.until(() => client.received !== '' || client.closed);
    else {
      // When a request that is sent later has come back, this one has been taken up.
      await (await world.client(world.bweb)).ask(askOf('GET', '/nowhere'));
      end(client);
    }
    client.destroy();
    await waitFor(
      () => recordsOfIt() >= expected,
      10_000,
      () => `the records of ${bytes}`,
    );
  }
}

t.test('who is refused for its certificate is counted for nobody', async (t) => {
  const world = await start(t, burstOf(2));
  const impostor = await world.caB.issue(world.web.uri);
  for (let i = 0; i < 5; i++) {
    const [answer] = await (await world.client(impostor)).ask(GET);
    t.equal(answer?.status, 403);
    t.equal(JSON.parse(answer?.body ?? '{}').reason, 'chain_untrusted');
    t.equal(answer?.headers.ratelimit, undefined);
  }
  const client = await world.client();
  for (const status of [200, 200, 429])
    t.equal(await statusOf(client), status, 'its name was not used up by others');
});
