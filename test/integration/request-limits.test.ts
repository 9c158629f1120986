import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import { ProcessWorld } from '../support/run-process.js';
import { changeConfig, GET } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

/** So slow that within a test nothing is given back: what is let through is the burst. */
const burstOf = (burst: number, more = ''): string =>
  `limits: { requestsPerPrincipal: { rate: 1/h, burst: ${burst} }${more} }`;
const reasonIn = (body: string | undefined): unknown => JSON.parse(body ?? '{}').reason;
const isLimited = (record: ReadRecord): boolean => record.response.status === 429;

t.test('over its rate a caller is told why, for how long, and how much it may', async (t) => {
  const world = await start(t, { extra: burstOf(3) });
  const client = await world.client();
  for (let i = 0; i < 3; i++) t.equal((await client.ask(GET))[0]?.status, 200);
  const [answer] = await client.ask(GET);
  t.equal(answer?.status, 429);
  t.equal(reasonIn(answer?.body), 'rate_limited');
  const { headers = {} } = answer ?? {};
  t.equal(headers['content-type'], 'application/problem+json');
  t.match(headers['retry-after'], /^3[56]\d\d$/);
  t.equal(headers['ratelimit-policy'], '"requestsPerPrincipal";q=3;w=10800');
  t.equal(headers.ratelimit, `"requestsPerPrincipal";r=0;t=${headers['retry-after']}`);
  t.equal(headers.connection, 'keep-alive', 'no fault of its credential: the connection stays');
  t.equal((await client.ask(GET))[0]?.status, 429, 'on the same connection');
  const records = await world.untilRecords(5);
  t.match(records.at(-1), {
    principal: { id: world.web.uri },
    decision: { effect: 'deny', reason: 'rate_limited', detail: 'over requestsPerPrincipal' },
    request: { route: 'r1', destination: 'u', path: '/public/a' },
    response: { status: 429, reason: 'rate_limited', outcome: 'refused' },
  });
  t.equal(records.at(-1)?.decision.rule, undefined, 'policy was not asked');
  t.match(await world.metrics(), /countersign_refusals_total\{[^}]*reason="rate_limited"\} 2\n/);
  t.equal(world.upstream.requests.length, 3, 'the service saw nothing of the rest');
  await holdInvariants(t, world);
});

t.test('too many at once are refused, and served again when one has ended', async (t) => {
  const world = await start(t, { extra: 'limits: { concurrentPerPrincipal: 2 }' });
  const { respond } = world.upstream;
  world.upstream.respond = () => undefined;
  const clients = await Promise.all([1, 2, 3].map(() => world.client()));
  for (const client of clients.slice(0, 2)) client.send(GET);
  await waitFor(() => world.upstream.requests.length === 2);
  const [refused] = await clients[2]!.ask(GET);
  t.equal(refused?.status, 429);
  t.equal(reasonIn(refused?.body), 'concurrency_limited');
  t.equal(refused?.headers['retry-after'], '1');
  t.equal(refused?.headers['ratelimit-policy'], '"concurrentPerPrincipal";q=2;qu="concurrent-requests"');
  t.equal(refused?.headers.ratelimit, '"concurrentPerPrincipal";r=0');
  const other = await world.client(world.admin);
  other.send(GET);
  await waitFor(
    () => world.upstream.requests.length === 3,
    10_000,
    () => 'the call of another caller',
  );
  world.upstream.respond = respond;
  for (const connection of world.upstream.connections) respond(connection, '');
  for (const client of [...clients.slice(0, 2), other]) {
    await client.until(() => client.answers.length === 1);
    t.equal(client.answers[0]?.status, 200);
  }
  t.equal((await clients[2]!.ask(GET))[0]?.status, 200);
  await holdInvariants(t, world);
});

t.test("a route's words replace the general ones, and those of all are shared", async (t) => {
  const world = await start(t, {
    extra: burstOf(4),
    routes: `
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: r2, host: svc.test, path: /admin/**, upstream: u, limits: { requestsPerPrincipal: { rate: 1/h, burst: 1 } } }
      - { name: r3, host: svc.test, path: /upload, upstream: u, limits: { requests: { rate: 1/h, burst: 2 } } }
      - { name: r4, host: svc.test, path: /ws, upstream: u }
      - { name: r5, host: locked.test, path: /**, upstream: u }`,
  });
  const client = await world.client(world.admin);
  const ask = async (path: string, by = client): Promise<number | undefined> =>
    (await by.ask(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`))[0]?.status;
  t.equal(await ask('/admin/x'), 200);
  t.equal(await ask('/admin/x'), 429, 'its one there');
  for (let i = 0; i < 2; i++)
    t.equal(await ask('/upload'), 403, 'counted by the general limit and by that of all');
  t.equal(await ask('/upload'), 429);
  t.equal(await ask('/upload', await world.client(world.web)), 429, 'of all callers together');
  for (let i = 0; i < 2; i++) t.equal(await ask('/public/a'), 200, 'what is left of four');
  t.equal(await ask('/public/a'), 429);
  const details = (await world.untilRecords(9)).filter(isLimited).map(({ decision }) => decision.detail);
  t.same(details, [
    'over requestsPerPrincipal',
    'over requests',
    'over requests',
    'over requestsPerPrincipal',
  ]);
});

t.test('an answer says what is left only where it is told to, beside what the service says', async (t) => {
  for (const [on, expected] of [
    [true, '"requestsPerPrincipal";r=1;t=3600'],
    [false, undefined],
  ] as const) {
    const world = await start(t, { extra: burstOf(2, `, rateLimitHeaders: ${on}`) });
    world.upstream.respond = ({ socket }) =>
      void socket.write('HTTP/1.1 200 OK\r\nRateLimit: "mine";r=5;t=1\r\nContent-Length: 0\r\n\r\n');
    const [answer] = await (await world.client()).ask(GET);
    t.equal(
      answer?.headers.ratelimit,
      ['"mine";r=5;t=1', expected].filter((part) => part !== undefined).join(', '),
    );
    t.equal(answer?.headers['ratelimit-policy'], on ? '"requestsPerPrincipal";q=2;w=7200' : undefined);
  }
});

t.test('a reload changes limits without a restart, and what was used stays used', async (t) => {
  const world = await start(t, { extra: burstOf(5) });
  const client = await world.client();
  const change = async (burst: number): Promise<void> => {
    const { sequence } = await world.snapshot();
    changeConfig(world, (text) => text.replace(/burst: \d+/, `burst: ${burst}`));
    await world.untilSnapshot((snapshot) => snapshot.sequence > sequence);
  };
  const countOf = async (tries: number): Promise<number> => {
    let served = 0;
    for (let i = 0; i < tries; i++) if ((await client.ask(GET))[0]?.status === 200) served++;
    return served;
  };
  t.equal(await countOf(3), 3);
  await change(8);
  t.equal(await countOf(10), 5, 'three of eight were used');
  await change(2);
  t.equal(await countOf(3), 0);
  await change(4);
  t.equal(await countOf(9), 2, 'of two, all were used: two more of four are not');
  t.same(
    world.diagnostics.filter(({ message }) => message.includes('restart')),
    [],
  );
});

t.test('a clock that is set, forward or back, gives nothing and takes nothing', async (t) => {
  let offsetMs = 0;
  const limits = 'limits: { requestsPerPrincipal: { rate: 1/m, burst: 2 } }';
  const world = await start(t, { extra: limits, nowMs: () => Date.now() + offsetMs });
  const [client, other] = [await world.client(), await world.client(world.admin)];
  for (let i = 0; i < 2; i++) t.equal((await client.ask(GET))[0]?.status, 200);
  offsetMs = 20 * 60_000;
  t.equal((await client.ask(GET))[0]?.status, 429, 'twenty minutes later by the wall clock alone');
  t.equal((await other.ask(GET))[0]?.status, 200);
  offsetMs = 5000;
  t.equal((await other.ask(GET))[0]?.status, 200);
  const [answer] = await other.ask(GET);
  t.equal(answer?.status, 429);
  t.ok(Number(answer?.headers['retry-after']) <= 60, 'no debt of the time that was taken back');
});

t.test('fifty times the calls over forty connections take nothing from another caller', async (t) => {
  const extra = 'limits: { requestsPerPrincipal: { rate: 1/h, burst: 40 }, concurrentPerPrincipal: 10 }';
  const world = await start(t, { extra });
  const flood = await Promise.all(Array.from({ length: 40 }, () => world.client(world.web)));
  const quiet = await world.client(world.admin);
  const asked = flood.map(async (client) => {
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < 50; i++) statuses.push((await client.ask(GET))[0]?.status);
    return statuses;
  });
  for (let i = 0; i < 40; i++)
    t.equal((await quiet.ask(GET))[0]?.status, 200, 'every one of the quiet one is served');
  const statuses = (await Promise.all(asked)).flat();
  t.same([...new Set(statuses)].sort(), [200, 429]);
  t.equal(statuses.length, 2000);
  t.equal(statuses.filter((status) => status === 200).length, 40, 'its burst, and not one more');
  t.equal(world.upstream.requests.length, 80);
});

t.test('of all calls of a flood that wait for the service, another caller waits for one', async (t) => {
  const world = await start(t);
  changeConfig(world, (text) => text.replace(/(u: \{ url: "[^"]*")/, '$1, maxConnections: 1'));
  await world.untilSnapshot((snapshot) => snapshot.sequence > 1);
  const { respond } = world.upstream;
  world.upstream.respond = () => undefined;
  const flood = await Promise.all(Array.from({ length: 30 }, () => world.client(world.web)));
  for (const client of flood) client.send(GET);
  await waitFor(() => world.upstream.requests.length === 1);
  const quiet = await world.client(world.admin);
  quiet.send(GET.replace('/public/a', '/public/quiet'));
  await waitFor(async () => JSON.parse(await connectionsOf(world)).connections.filter(isOpen).length === 31);
  world.upstream.respond = respond;
  for (const connection of world.upstream.connections) respond(connection, '');
  for (const client of [...flood, quiet]) await client.until(() => client.answers.length === 1);
  const at = world.upstream.requests.findIndex(({ target }) => target === '/public/quiet');
  t.ok(at > 0 && at <= 2, `it was number ${at} of 31`);
});

const connectionsOf = async (world: World): Promise<string> =>
  (await fetch(`${world.adminUrl}/connections`)).text();
const isOpen = ({ open }: ReadRecord): boolean => open === 1;

t.test('several workers together never let more through than is written', async (t) => {
  const proxy = await ProcessWorld.start({ extra: `${burstOf(5)}\nworkers: 2` });
  t.teardown(() => proxy.close());
  let served = 0;
  for (let i = 0; i < 4; i++) {
    const client = await proxy.client();
    for (let j = 0; j < 5; j++) if ((await client.ask(GET))[0]?.status === 200) served++;
  }
  t.equal(served, 4, 'two for each of two workers');
});
