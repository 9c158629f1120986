import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { isBlocked, statusesOf, upstreamSees } from '../support/blocked.js';
import { holdInvariants } from '../support/invariants.js';
import { answerOk, type RecordedConnection } from '../support/recorder-upstream.js';
import { World, waitFor } from '../support/start-proxy.js';

const G = 'GET /admin/pwn HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n';
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const WS_LINES = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${KEY}\r\n`;
const WS = `GET /ws HTTP/1.1\r\nHost: svc.test\r\n${WS_LINES}Sec-WebSocket-Version: 13\r\n\r\n`;
const SWITCH = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`;

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

/** An upstream that says this to an upgrade and 200 to all else. */
function answerUpgrades(world: World, answer: string): void {
  world.upstream.respond = (connection: RecordedConnection, fresh) => {
    if (/^upgrade: websocket/im.test(fresh)) connection.socket.write(answer);
    else if (!/^upgrade: websocket/im.test(connection.bytes)) answerOk(connection);
  };
}

t.test('P088, P091 no upgrade where the route takes none, whatever it is called', async (t) => {
  const world = await start(t);
  const settings = 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n';
  for (const lines of [
    'Connection: Upgrade\r\nUpgrade: websocket\r\n',
    `${WS_LINES}Sec-WebSocket-Version: 13\r\n`,
    `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n${settings}`,
    `Connection: upgrade\r\nUpgrade: h2c, websocket\r\n${settings}`,
    'Connection: Upgrade\r\nUpgrade: TLS/1.3\r\n',
    'Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\n',
    'Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: websocket\r\n',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n',
    'Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 43\r\n',
  ]) {
    await isBlocked(t, world, `${GET}${lines}\r\n${G}`, {
      reason: 'upgrade_refused',
      status: 400,
      closes: true,
    });
  }
  await holdInvariants(t, world);
});

t.test('an upgrade in HTTP/1.0, which the parser would hand over all the same, opens nothing', async (t) => {
  const world = await start(t);
  for (const target of ['/public/a', '/ws', '/upload']) {
    await isBlocked(
      t,
      world,
      `GET ${target} HTTP/1.0\r\nHost: svc.test\r\n${WS_LINES}Sec-WebSocket-Version: 13\r\n\r\n${G}`,
      { reason: ['upgrade_refused', 'no_rule_matched'], status: [400, 403], closes: true },
    );
  }
  await holdInvariants(t, world);
});

t.test(
  'an Upgrade that Connection does not name is dropped and the request is an ordinary one',
  async (t) => {
    const world = await start(t);
    for (const lines of [
      'Upgrade: h2c\r\n',
      'Upgrade: websocket\r\nHTTP2-Settings: AAMAAABk\r\n',
      'Connection: close, x\r\nUpgrade: h2c\r\n',
    ]) {
      const [answer] = await (await world.client()).ask(`${GET}${lines}\r\n`);
      t.equal(answer?.status, 200, lines);
      const request = world.upstream.requests.at(-1);
      t.same([request?.all('upgrade'), request?.all('http2-settings')], [[], []], lines);
    }
    await holdInvariants(t, world);
  },
);

t.test('P089 what is no sound WebSocket handshake is refused before the upstream hears of it', async (t) => {
  const world = await start(t);
  for (const [line, lines] of [
    ['GET /ws HTTP/1.1', `${WS_LINES}`],
    ['GET /ws HTTP/1.1', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'],
    ['GET /ws HTTP/1.1', `${WS_LINES}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 1\r\n`],
    ['GET /ws HTTP/1.1', `${WS_LINES}Sec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n`],
    [
      'GET /ws HTTP/1.1',
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n',
    ],
    ['GET /ws HTTP/1.1', `${WS_LINES}Sec-WebSocket-Version: 13\r\nContent-Length: 43\r\n`],
    ['GET /ws HTTP/1.1', `${WS_LINES}Sec-WebSocket-Version: 13\r\nTransfer-Encoding: chunked\r\n`],
    ['POST /ws HTTP/1.1', `${WS_LINES}Sec-WebSocket-Version: 13\r\n`],
    ['GET /ws HTTP/1.1', `Connection: Upgrade\r\nUpgrade: h2c\r\n`],
  ] as const) {
    await isBlocked(t, world, `${line}\r\nHost: svc.test\r\n${lines}\r\n${G}`, {
      reason: ['upgrade_refused', 'request_malformed', 'framing_ambiguous'],
      status: 400,
      closes: true,
    });
  }
  await holdInvariants(t, world);
});

t.test('P089 an upgrade that the upstream refuses is relayed, and nothing after it is piped', async (t) => {
  const world = await start(t);
  const body = 'HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 2\r\n\r\nno';
  for (const answer of [
    body,
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    'HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n',
  ]) {
    answerUpgrades(world, answer);
    const before = world.exchanges.length;
    const client = await world.client();
    client.send(WS.replace('Version: 13', 'Version: 1') + G);
    await client.until(() => statusesOf(client).length > 0);
    client.send(G);
    await client.untilClosed();
    t.same(statusesOf(client), [Number(answer.slice(9, 12))]);
    t.notMatch(world.upstream.bytes, /admin/);
    t.notMatch(client.answers[0]?.headers.connection, /upgrade/i);
    const [record] = (await world.untilRecords(before + 1)).slice(before);
    t.equal(record?.decision.effect, 'allow');
    t.equal(record?.response.status, Number(answer.slice(9, 12)));
  }
  world.upstream.respond = answerOk;
  await holdInvariants(t, world);
});

t.test(
  'P089 an answer to an upgrade is relayed whole or not at all, and never waited for without end',
  async (t) => {
    const world = await start(t, { extra: 'deadlines: { upstreamFirstByte: 500ms }' });
    const HEAD = 'HTTP/1.1 426 Upgrade Required\r\n';
    const whole = 'x'.repeat(64 * 1024);
    const [cut, tooMuch] = ['upstream_reset', 'upstream_malformed'];
    for (const [answer, end, status, reason] of [
      [`${HEAD}Content-Length: 65536\r\n\r\n${whole}`, 'stay', 426, undefined],
      [`${HEAD}\r\n${whole}`, 'close', 426, undefined],
      [`${HEAD}Content-Length: 100\r\n\r\npartial`, 'close', 502, cut],
      [`${HEAD}Content-Length: 100\r\n\r\npartial`, 'reset', 502, cut],
      [`${HEAD}Transfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n`, 'close', 502, cut],
      [`${HEAD}Content-Length: 65537\r\n\r\n${whole}x`, 'stay', 502, tooMuch],
      [`${HEAD}Content-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`, 'close', 502, tooMuch],
      [`${HEAD}Content-Length: 100\r\n\r\npartial`, 'stay', 504, 'upstream_timeout'],
      [`${HEAD}\r\npartial`, 'stay', 504, 'upstream_timeout'],
    ] as const) {
      const name = `${answer.slice(HEAD.length, HEAD.length + 26)} ${end}`;
      world.upstream.respond = ({ socket }) => {
        // a reset comes after the bytes were taken, or it would take them along
        const ends = {
          stay: () => 0,
          close: () => socket.end(),
          reset: () => setTimeout(() => socket.resetAndDestroy(), 50),
        };
        socket.write(answer, ends[end]);
      };
      const before = world.exchanges.length;
      const client = await world.client();
      client.send(WS);
      await client.untilClosed(5000);
      t.same(statusesOf(client), [status], name);
      const [record] = (await world.untilRecords(before + 1)).slice(before);
      t.equal(record?.response.reason, reason, name);
      t.equal(record?.response.outcome, reason === undefined ? 'complete' : 'upstream_failed', name);
      t.notMatch(client.received, /partial/, name);
      if (reason === undefined) {
        t.match(client.received, HEAD, 'in its own words');
        t.equal(client.answers[0]?.body.length, whole.length, name);
        t.equal(record?.response.bytes, whole.length, name);
      }
      await waitFor(() => world.upstream.connections.at(-1)?.closed === true);
    }
    world.upstream.respond = answerOk;
    await holdInvariants(t, world);
  },
);

t.test(
  'P089 a 101 that does not prove the handshake is 502: no tunnel on somebody’s word alone',
  async (t) => {
    const world = await start(t);
    for (const answer of [
      SWITCH.replace(ACCEPT, 'AAAAAAAAAAAAAAAAAAAAAAAAAAA='),
      SWITCH.replace(/Sec-WebSocket-Accept.*\r\n\r\n/, '\r\n'),
      SWITCH.replace('Upgrade: websocket', 'Upgrade: h2c'),
      SWITCH.replace('Connection: Upgrade\r\n', ''),
    ]) {
      answerUpgrades(world, answer);
      const before = world.exchanges.length;
      const client = await world.client();
      client.send(WS + G);
      await client.untilClosed();
      t.same(statusesOf(client), [502], answer);
      t.notMatch(world.upstream.bytes, /admin/, answer);
      const [record] = (await world.untilRecords(before + 1)).slice(before);
      t.equal(record?.response.reason, 'upstream_malformed', answer);
    }
    world.upstream.respond = answerOk;
    await holdInvariants(t, world);
  },
);

t.test(
  'a tunnel carries octets only after the 101, then both ways, and leaves two records of one id',
  async (t) => {
    const world = await start(t);
    const [heard, hear] = [[] as RecordedConnection[], (c: RecordedConnection) => heard.push(c)];
    world.upstream.respond = (connection, fresh) => {
      if (/^upgrade: websocket/im.test(fresh)) hear(connection);
      else if (!heard.includes(connection)) answerOk(connection);
    };
    const client = await world.client();
    client.send(`${WS}early`);
    await waitFor(() => heard.length === 1);
    t.notMatch(world.upstream.bytes, /early/);
    const [connection] = heard;
    connection?.socket.write(`${SWITCH}hello`);
    await client.until(() => client.received.endsWith('hello'));
    await upstreamSees(world, 'early');
    client.send('more');
    await upstreamSees(world, 'earlymore');
    const request = world.upstream.requests[0];
    t.equal(request?.target, '/ws');
    t.same(request?.all('host'), ['svc.test']);
    t.same(request?.all('x-spiffe-id'), ['spiffe://a.test/web']);
    t.same(request?.all('sec-websocket-key'), [KEY]);
    client.destroy();
    await waitFor(() => connection?.closed === true);
    const records = await world.untilRecords(2);
    t.same(
      records.map(({ phase, decision, response }) => [phase, decision.effect, response.status]),
      [
        ['start', 'allow', 101],
        ['end', 'allow', 101],
      ],
    );
    t.equal(records[0]?.id, records[1]?.id);
    t.ok(records[1]?.request.bytes > 0 && records[1]?.response.bytes > 0, 'with their octets');
  },
);

t.test(
  'P095, P034 an upgrade is judged, and its identity headers are ours, like those of any request',
  async (t) => {
    const world = await start(t);
    answerUpgrades(world, SWITCH);
    await isBlocked(t, world, WS, {
      reason: 'no_rule_matched',
      status: 403,
      closes: true,
      client: await world.client(world.bweb),
    });
    const client = await world.client();
    const lies =
      'X-Spiffe-Id: spiffe://a.test/admin\r\nX_Spiffe_Id: spiffe://a.test/admin\r\nX-Forwarded-For: 10.6.6.6\r\nX-Original-URL: /admin\r\n';
    client.send(
      WS.replace(
        'Connection: Upgrade\r\n',
        `${lies}Connection: Upgrade, X-Spiffe-Id, X-Forwarded-Client-Cert\r\n`,
      ),
    );
    await client.until(() => statusesOf(client).length > 0);
    t.same(statusesOf(client), [101]);
    const request = world.upstream.requests.at(-1);
    const ids = request?.headers
      .filter(([name]) => /^x[^a-z]spiffe[^a-z]id$/i.test(name))
      .map(([, value]) => value);
    t.same(ids, ['spiffe://a.test/web']);
    t.equal(request?.all('x-forwarded-client-cert').length, 1);
    t.notMatch(world.upstream.bytes, /10\.6\.6\.6|\/admin/);
  },
);

t.test('a 101 brings no identity and no framing to the client, and its own Connection', async (t) => {
  const world = await start(t, { extra: 'forward: { headers: { X-Remote-User: "{id}" } }' });
  const lies =
    'X-Remote-User: y\r\nX_Remote_User: y\r\nX-Spiffe-Id: y\r\nx_spiffe_id: y\r\nClient-Cert: y\r\nKeep-Alive: y\r\nContent-Length: 3\r\n';
  answerUpgrades(
    world,
    SWITCH.replace(
      'Connection: Upgrade\r\n',
      `${lies}X-App: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: Upgrade\r\n`,
    ),
  );
  const client = await world.client();
  client.send(WS);
  await client.until(() => statusesOf(client).length > 0);
  t.same(statusesOf(client), [101]);
  const [, ...lines] = client.received.slice(0, client.received.indexOf('\r\n\r\n')).split('\r\n');
  const names = lines.map((line) => line.slice(0, line.indexOf(':')).toLowerCase());
  t.same(names.sort(), [
    'connection',
    'sec-websocket-accept',
    'set-cookie',
    'set-cookie',
    'upgrade',
    'via',
    'x-app',
  ]);
  t.match(client.received, new RegExp(`Sec-WebSocket-Accept: ${ACCEPT.replaceAll('+', '\\+')}`, 'i'));
});

t.test('a 101 that an answer could not be made of opens no tunnel', async (t) => {
  const world = await start(t);
  answerUpgrades(world, SWITCH.replace('Connection: Upgrade', 'Connection: Upgrade, a b'));
  const client = await world.client();
  client.send(WS);
  await client.untilClosed();
  t.same(statusesOf(client), [502]);
  t.equal((await world.untilRecords(1))[0]?.response.reason, 'upstream_malformed');
});

t.test('P090 CONNECT is 405 in every form, also behind another request', async (t) => {
  const world = await start(t);
  for (const target of ['svc.test:80', '127.0.0.1:22', '/public/a', 'http://svc.test/public/a', '*']) {
    const head = `CONNECT ${target} HTTP/1.1\r\nHost: svc.test\r\n\r\n`;
    await isBlocked(t, world, `${head}${G}`, {
      reason: ['method_not_allowed', 'request_malformed'],
      status: [400, 405],
      closes: true,
    });
  }
  const before = world.exchanges.length;
  const client = await world.client();
  client.send(`${GET}\r\nCONNECT svc.test:80 HTTP/1.1\r\nHost: svc.test:80\r\n\r\n${G}`);
  await client.untilClosed();
  t.same(statusesOf(client), [200, 405]);
  const records = (await world.untilRecords(before + 2)).slice(before);
  t.same(
    records.map(({ decision }) => decision.reason),
    ['rule_allowed', 'method_not_allowed'],
  );
  await holdInvariants(t, world);
});

t.test('an upgrade behind an unanswered request is refused in its turn', async (t) => {
  const world = await start(t);
  const client = await world.client();
  client.send(`${GET}\r\n${WS}${G}`);
  await client.untilClosed();
  t.same(statusesOf(client), [200, 400]);
  const records = await world.untilRecords(2);
  t.same(
    records.map(({ decision }) => decision.reason),
    ['rule_allowed', 'upgrade_refused'],
  );
  t.notMatch(world.upstream.bytes, /websocket/i);
  await holdInvariants(t, world);
});

t.test('an upgrade or CONNECT behind a large answer does not stop that answer', async (t) => {
  const world = await start(t, { extra: 'deadlines: { body: 3s }' });
  const size = 4 * 1024 * 1024;
  const big = 'x'.repeat(size);
  const CONNECT = 'CONNECT svc.test:80 HTTP/1.1\r\nHost: svc.test:80\r\n\r\n';
  for (const framed of [
    `Content-Length: ${size}\r\n\r\n${big}`,
    `Transfer-Encoding: chunked\r\n\r\n${size.toString(16)}\r\n${big}\r\n0\r\n\r\n`,
  ]) {
    for (const [requests, statuses, reason] of [
      [`${GET}\r\n${WS}${G}`, [200, 400], 'upgrade_refused'],
      [`${GET}\r\n${GET}\r\n${WS}${G}`, [200, 200, 400], 'upgrade_refused'],
      [`${GET}\r\n${CONNECT}${G}`, [200, 405], 'method_not_allowed'],
    ] as const) {
      world.upstream.respond = ({ socket }) => socket.write(`HTTP/1.1 200 OK\r\n${framed}`);
      const before = world.exchanges.length;
      const client = await world.client();
      client.send(requests);
      await client.untilClosed();
      t.same(statusesOf(client), statuses);
      const bodies = statuses.length - 1;
      t.same(
        client.answers.slice(0, bodies).map(({ body }) => body.length),
        Array(bodies).fill(size),
      );
      const records = (await world.untilRecords(before + statuses.length)).slice(before);
      t.same(
        records.map(({ response, decision }) => [response.outcome, decision.reason]),
        [...Array(bodies).fill(['complete', 'rule_allowed']), ['refused', reason]],
      );
    }
  }
  t.notMatch(world.upstream.bytes, /websocket|^CONNECT /m);
  world.upstream.respond = answerOk;
  await holdInvariants(t, world);
});

t.test('a client that leaves an answer with an upgrade behind it leaves a record of both', async (t) => {
  const world = await start(t);
  world.upstream.respond = ({ socket }) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
  const client = await world.client();
  client.send(`${GET}\r\n${WS}`);
  await client.until(() => client.received.endsWith('half'));
  client.destroy();
  const records = await world.untilRecords(2);
  t.same(records.map(({ response }) => response.outcome).sort(), ['client_aborted', 'refused']);
  world.upstream.respond = answerOk;
  await holdInvariants(t, world);
});

t.test('P092 a denied caller that waits for 100 reads the final answer and no 100', async (t) => {
  const world = await start(t);
  for (const framing of ['Content-Length: 1000000', 'Transfer-Encoding: chunked']) {
    const client = await world.client();
    await isBlocked(
      t,
      world,
      `POST /admin/x HTTP/1.1\r\nHost: svc.test\r\nExpect: 100-continue\r\n${framing}\r\n\r\n`,
      {
        reason: 'no_rule_matched',
        status: 403,
        closes: true,
        client,
      },
    );
    t.notMatch(client.received, /HTTP\/1\.1 100/);
  }
  await holdInvariants(t, world);
});

t.test('P092 an allowed caller gets its 100, and the upstream no Expect', async (t) => {
  const world = await start(t);
  const client = await world.client();
  client.send(
    'POST /public/p HTTP/1.1\r\nHost: svc.test\r\nExpect: 100-Continue\r\nContent-Length: 5\r\nX-Spiffe-Id: x\r\n\r\n',
  );
  await client.until(() => client.received.startsWith('HTTP/1.1 100'));
  client.send('hello');
  await client.until(() => statusesOf(client).length === 1);
  t.same(statusesOf(client), [200]);
  const request = world.upstream.requests[0];
  t.equal(request?.body, 'hello');
  t.same(request?.all('expect'), []);
  t.same(request?.all('x-spiffe-id'), ['spiffe://a.test/web']);
  await holdInvariants(t, world);
});

t.test('P093 an expectation that does not exist is 417', async (t) => {
  const world = await start(t);
  for (const expect of ['200-ok', '100-continue, 200-ok', '100', 'x=1', '100-continue;a', '']) {
    await isBlocked(
      t,
      world,
      `POST /public/p HTTP/1.1\r\nHost: svc.test\r\nExpect: ${expect}\r\nContent-Length: 0\r\n\r\n`,
      {
        reason: 'expectation_unsupported',
        status: 417,
      },
    );
  }
  await isBlocked(t, world, `${GET}Expect: 100-continue\r\nExpect: 200-ok\r\n\r\n`, {
    reason: 'expectation_unsupported',
    status: 417,
  });
  await holdInvariants(t, world);
});

t.test('P094 a Trailer header is dropped, on any method', async (t) => {
  const world = await start(t);
  for (const lines of [
    'Trailer: X-A\r\n',
    'TE: trailers\r\nTrailer: X-Spiffe-Id, Host\r\n',
    'Trailer:\r\n',
  ]) {
    const [answer] = await (await world.client()).ask(`${GET}${lines}\r\n`);
    t.equal(answer?.status, 200, lines);
    t.same(world.upstream.requests.at(-1)?.all('trailer'), [], lines);
    t.same(world.upstream.requests.at(-1)?.all('te'), [], lines);
  }
  await holdInvariants(t, world);
});

t.test('P151 a tunnel that either end closes or resets ends at both, with one end record', async (t) => {
  const world = await start(t, { extra: 'deadlines: { tunnelIdle: 500ms }' });
  const ends: readonly ((
    client: { socket: { end(): void; destroy(): void } },
    upstream: RecordedConnection,
  ) => void)[] = [
    (client) => client.socket.end(),
    (client) => client.socket.destroy(),
    (_client, upstream) => upstream.socket.end(),
    (_client, upstream) => upstream.socket.resetAndDestroy(),
    () => undefined, // nobody does: the idle limit
  ];
  for (const end of ends) {
    answerUpgrades(world, SWITCH);
    const before = world.exchanges.length;
    const client = await world.client();
    client.send(WS);
    await client.until(() => statusesOf(client).length > 0);
    const upstream = world.upstream.connections.at(-1)!;
    end(client, upstream);
    await client.untilClosed(5000);
    await waitFor(() => upstream.closed, 5000);
    const records = (await world.untilRecords(before + 2)).slice(before);
    t.same(
      records.map(({ phase }) => phase),
      ['start', 'end'],
    );
  }
  world.upstream.respond = answerOk;
  await holdInvariants(t, world);
});

t.test('P151 10 MB that a leaving client no longer reads are not kept', async (t) => {
  const world = await start(t, { extra: 'deadlines: { tunnelIdle: 1s }' });
  const big = Buffer.alloc(10 * 1024 * 1024, 'x');
  world.upstream.respond = (connection, fresh) => {
    if (!/^upgrade: websocket/im.test(fresh)) return;
    connection.socket.write(SWITCH);
    connection.socket.write(big);
  };
  const client = await world.client();
  client.socket.pause();
  client.send(WS);
  await upstreamSees(world, 'websocket');
  const upstream = world.upstream.connections[0]!;
  client.socket.end();
  await waitFor(() => upstream.closed, 10_000);
  t.ok(upstream.socket.bytesWritten <= big.length + SWITCH.length);
  const records = await world.untilRecords(2, 5000);
  t.equal(records.filter(({ phase }) => phase === 'end').length, 1);
  client.destroy();
});
