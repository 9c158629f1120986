import { createHash } from 'node:crypto';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { RawClient } from '../support/raw-client.js';
import { RecordPipe } from '../support/record-pipe.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`;
const WS = `GET /ws HTTP/1.1\r\nHost: svc.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n`;

interface Kind {
  readonly name: string;
  readonly ask: string;
  /** What of it must not come before its record. */
  readonly last: string;
  /** What may. */
  readonly before: RegExp;
}

const NOTHING = /^$/;
const KINDS: readonly Kind[] = [
  { name: 'a body of known length', ask: GET('/public/short'), last: 'ok', before: NOTHING },
  { name: 'one in several pieces', ask: GET('/public/pieces'), last: 'END', before: /BEGIN$/ },
  { name: 'a chunked body', ask: GET('/public/chunked'), last: '\r\n0\r\n\r\n', before: /some\r\n$/ },
  { name: 'no body', ask: GET('/public/204'), last: 'HTTP/1.1 204', before: NOTHING },
  { name: 'not modified', ask: GET('/public/304'), last: 'HTTP/1.1 304', before: NOTHING },
  { name: 'an empty body', ask: GET('/public/empty'), last: 'HTTP/1.1 200', before: NOTHING },
  {
    name: 'HEAD',
    ask: GET('/public/short').replace('GET', 'HEAD'),
    last: 'HTTP/1.1 200',
    before: NOTHING,
  },
  { name: 'a refusal', ask: GET('/admin/x'), last: 'policy_denied', before: NOTHING },
  { name: 'no route', ask: GET('/nowhere'), last: 'route_not_found', before: NOTHING },
  { name: 'no HTTP', ask: 'nonsense\r\n\r\n', last: 'request_malformed', before: NOTHING },
  {
    name: 'Max-Forwards 0',
    ask: GET('/public/x').replace('GET', 'OPTIONS').replace('\r\n\r\n', '\r\nMax-Forwards: 0\r\n\r\n'),
    last: 'HTTP/1.1 204',
    before: NOTHING,
  },
  { name: 'a tunnel', ask: WS, last: 'HTTP/1.1 101', before: NOTHING },
  {
    name: 'an upgrade that is refused',
    ask: WS.replace('/ws', '/public/ws'),
    last: 'upgrade_refused',
    before: NOTHING,
  },
];

const POLICY = `version: 1
default: deny
rules:
  - { id: public, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r1, r4] }
`;

const ANSWERS: Readonly<Record<string, readonly string[]>> = {
  '/public/short': ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  '/public/pieces': ['HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nBEGIN', 'END'],
  '/public/chunked': ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n', '0\r\n\r\n'],
  '/public/204': ['HTTP/1.1 204 No Content\r\n\r\n'],
  '/public/304': ['HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 9\r\n\r\n'],
  '/public/empty': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  '/ws': [
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`,
  ],
};

interface Setting {
  readonly world: World;
  readonly pipe: RecordPipe;
}

async function start(t: Test, more = '', extra = ''): Promise<Setting> {
  const pipe = new RecordPipe(join(t.testdir(), 'records'));
  const audit = `${pipe.path}, durability: written${more}`;
  const world = await World.start({ audit, policy: POLICY, extra });
  t.teardown(async () => {
    await world.close();
    pipe.close();
  });
  world.upstream.respond = ({ socket }, fresh) => {
    const [method, path = ''] = fresh.split(' ');
    const [first = '', ...rest] = ANSWERS[path] ?? [];
    const head = first.slice(0, first.indexOf('\r\n\r\n') + 4);
    socket.write(method === 'HEAD' ? head : first, () => {
      if (method !== 'HEAD') setTimeout(() => socket.write(rest.join('')), 20);
    });
  };
  await waitFor(() => pipe.read().length > 0);
  return { world, pipe };
}

/** A client for each kind of answer, whose question was asked while nothing can be recorded. */
async function askAll({ world, pipe }: Setting): Promise<(Kind & { readonly client: RawClient })[]> {
  const asked = await Promise.all(KINDS.map(async (kind) => ({ ...kind, client: await world.client() })));
  pipe.fill();
  for (const { ask, client } of asked) client.send(ask);
  const forwarded = KINDS.filter(({ ask }) => Object.keys(ANSWERS).some((path) => ask.includes(` ${path} `)));
  await waitFor(() => world.upstream.requests.length >= forwarded.length);
  await waitFor(() => asked.every(({ client, before }) => before.test(client.received)));
  await new Promise((resolve) => setTimeout(resolve, 300)); // what must not come has had its time
  return asked;
}

const accesses = (records: readonly ReadRecord[]): ReadRecord[] =>
  records.filter(({ event }) => event === 'access');

t.test(
  'the last byte of every kind of answer waits for its record, and goes out right after it',
  async (t) => {
    const setting = await start(t);
    const asked = await askAll(setting);
    for (const { name, client, last, before } of asked) {
      t.notOk(client.received.includes(last), name);
      t.match(client.received, before, name);
      t.equal(client.closed, false, name);
    }
    setting.pipe.read();
    await waitFor(() => {
      const arrived = asked.filter(({ client, last }) => client.received.includes(last)).length;
      const recorded = accesses(setting.pipe.read()).length;
      if (recorded < arrived) t.fail(`${arrived} answers are whole, and ${recorded} are recorded`);
      return arrived === asked.length;
    });
    const records = accesses(setting.pipe.read());
    t.equal(records.length, asked.length, 'one each');
    t.equal(setting.world.app.addresses.has('inbound'), true);
    for (const { client } of asked) client.destroy();
  },
);

t.test(
  'answers whose record cannot be kept are reset, counted and set right; new requests get 503',
  async (t) => {
    const setting = await start(t);
    const { world, pipe } = setting;
    const asked = await askAll(setting);
    pipe.close();
    await Promise.all(asked.map(({ client }) => client.untilClosed()));
    for (const { name, client, last } of asked) t.notOk(client.received.includes(last), name);
    const before = world.upstream.requests.length;
    const client = await world.client();
    const [refused] = await client.ask(GET('/public/short'));
    t.match(refused, { status: 503, body: /audit_unavailable/ });
    t.equal(world.upstream.requests.length, before, 'before anything is forwarded');
    const ready = await fetch(`${world.adminUrl}/readyz`);
    t.same([ready.status, (await ready.text()).includes('records cannot be written')], [503, true]);
    t.match(
      await world.metrics(),
      new RegExp(`audit_unconfirmed_answers_total{result="reset"} ${asked.length}\n`),
    );
    pipe.open();
    await waitFor(() => {
      pipe.read(); // what was in the pipe is still there
      return world.diagnostics.some(({ message }) => message === 'records are written again');
    });
    const [answer] = await client.ask(GET('/public/short'));
    t.equal(answer?.status, 200, 'without a restart');
    const records = pipe.read();
    const corrected = records.filter(({ event }) => event === 'access.corrected');
    t.equal(corrected.length, asked.length - 1, 'a tunnel has a record of its end anyway');
    for (const { id, response } of corrected) {
      t.equal(response.outcome, 'record_failed');
      t.equal(accesses(records).filter((record) => record.id === id).length, 1, 'one of each');
    }
    const tunnel = accesses(records).filter(({ request }) => request.path === '/ws');
    t.same(
      tunnel.map(({ phase, response }) => [phase, response.outcome]),
      [
        ['start', 'complete'],
        ['end', 'record_failed'],
      ],
    );
    t.same(
      records.map(({ seq }) => seq),
      records.map((_record, i) => i + 1),
      'not one is missing',
    );
  },
);

t.test('onFailure allow: answers go out without their record, and that is counted', async (t) => {
  const setting = await start(t, ', onFailure: allow');
  const asked = await askAll(setting);
  setting.pipe.close();
  await waitFor(() => asked.every(({ client, last }) => client.received.includes(last)));
  t.match(
    await setting.world.metrics(),
    new RegExp(`audit_unconfirmed_answers_total{result="sent"} ${asked.length}\n`),
  );
  for (const { client } of asked) client.destroy();
});

t.test(
  'a client that leaves before the last byte, though it is recorded as whole, is set right',
  async (t) => {
    const setting = await start(t);
    const { world, pipe } = setting;
    const client = await world.client();
    pipe.fill();
    client.send(GET('/public/chunked'));
    await client.until(() => client.received.endsWith('some\r\n'));
    await waitFor(() => world.upstream.connections.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 100)); // the upstream's end has come by then
    client.destroy();
    await waitFor(() => pipe.read().some(({ event }) => event === 'access.corrected'));
    const [whole, corrected] = pipe.read().filter(({ id }) => id !== undefined);
    t.match(whole, { event: 'access', response: { status: 200, outcome: 'complete' } });
    t.match(corrected, { event: 'access.corrected', id: whole?.id, response: { outcome: 'client_aborted' } });
  },
);

t.test('a tunnel whose client left before it was told of it was not complete', async (t) => {
  const { world, pipe } = await start(t);
  const client = await world.client();
  pipe.fill();
  client.send(WS);
  await waitFor(() => world.upstream.requests.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 100)); // the upstream's 101 is there, and is held
  client.destroy();
  await waitFor(() => {
    const tunnel = accesses(pipe.read()).filter(({ request }) => request.path === '/ws');
    if (tunnel.length < 2) return false;
    t.match(tunnel[1], { phase: 'end', response: { status: 101, outcome: 'client_aborted' } });
    return true;
  });
});

t.test('an answer that is held is cut like any other when its access ends', async (t) => {
  const setting = await start(t, '', 'deadlines: { accessEnd: 0s }');
  const { world, pipe } = setting;
  const client = await world.client();
  pipe.fill();
  client.send(GET('/public/chunked'));
  await client.until(() => client.received.endsWith('some\r\n'));
  await new Promise((resolve) => setTimeout(resolve, 100)); // the upstream's end has come by then
  world.replace('revoked.yaml', 'version: 1\nrevoked: [{ id: "spiffe://a.test/web", reason: r }]\n');
  await client.untilClosed();
  t.notOk(client.received.includes('\r\n0\r\n\r\n'));
  await waitFor(() => pipe.read().some(({ event }) => event === 'access.corrected'));
  const corrected = pipe.read().find(({ event }) => event === 'access.corrected');
  t.match(corrected, { response: { outcome: 'access_ended' } });
});

t.test('what is pipelined behind a held answer waits, and is answered in order', async (t) => {
  const { world, pipe } = await start(t);
  const client = await world.client();
  pipe.fill();
  client.send(GET('/public/short') + GET('/admin/x') + GET('/public/chunked'));
  await waitFor(() => world.upstream.requests.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 100)); // what must not be forwarded has had its time
  t.equal(world.upstream.requests.length, 1);
  await waitFor(() => {
    pipe.read();
    return client.answers.length === 3;
  });
  t.same(
    client.answers.map(({ status }) => status),
    [200, 403, 200],
  );
  t.same(
    accesses(pipe.read()).map(({ response }) => response.status),
    [200, 403, 200],
  );
});

t.test('a connection beyond its share is told so only once that is recorded', async (t) => {
  const pipe = new RecordPipe(join(t.testdir(), 'records'));
  const world = await World.start({
    audit: `${pipe.path}, durability: written`,
    extra: 'limits: { connectionsPerPrincipal: 1 }',
  });
  t.teardown(async () => {
    await world.close();
    pipe.close();
  });
  await world.client();
  pipe.fill();
  const second = await world.client();
  await new Promise((resolve) => setTimeout(resolve, 200)); // what must not come has had its time
  t.equal(second.received, '');
  pipe.read();
  await second.untilClosed();
  t.match(second.answers, [{ status: 503, body: /connection_limit/ }]);
  const handshakes = pipe.read().filter(({ event }) => event === 'handshake');
  t.equal(handshakes.length, 1);
});
