import t, { type Test } from 'tap';
import { isBlocked, statusesOf, upstreamSees } from '../support/blocked.js';
import { holdInvariants } from '../support/invariants.js';
import { answerOk } from '../support/recorder-upstream.js';
import { World, waitFor } from '../support/start-proxy.js';

const G = 'GET /admin/pwn HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const POST = 'POST /public/p HTTP/1.1\r\nHost: svc.test\r\n';
const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n';
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;

const FRAMING = ['framing_ambiguous', 'request_malformed', 'header_malformed', 'transfer_coding_unsupported'];

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  // The pool is warm, so that what is forwarded is forwarded at once.
  await (await world.client()).ask(`${GET}\r\n`);
  await world.untilRecords(1);
  return world;
}

/** Every one of them: 400 or 501, the connection closed, nothing at the upstream, one record. */
async function allBlockedAndClosed(t: Test, stimuli: readonly string[]): Promise<void> {
  const world = await start(t);
  for (const stimulus of stimuli) {
    await isBlocked(t, world, stimulus, { reason: FRAMING, status: [400, 501], closes: true });
  }
  await holdInvariants(t, world);
}

t.test('P065-P067 two framings, or two lengths, are neither of them believed', (t) =>
  allBlockedAndClosed(t, [
    `${POST}Content-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2b\r\n${G}\r\n0\r\n\r\n`,
    `${POST}Content-Length: 0\r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}Content-Length: 43\r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}content-length: 43\r\nCONTENT-LENGTH: 0\r\n\r\n${G}`,
    `${POST}Content-Length: 0\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\n${G}\r\n0\r\n\r\n`,
  ]),
);

t.test('P068-P069 a length that is not plain digits is none', (t) =>
  allBlockedAndClosed(
    t,
    [
      ['43, 43', '5, 43', '+43', '-1', '-0', '0x2b', '4_3', '4 3', '', '43,', ',43', '43;', '4.3e1', '43.0'],
      [
        '"43"',
        '\v43',
        '43\f',
        '18446744073709551659',
        '99999999999999999999999',
        '\u00a043',
        '43\u0085',
        '٤٣',
      ],
    ]
      .flat()
      .map((length) => `${POST}Content-Length: ${length}\r\n\r\n${G}`),
  ),
);

t.test('P070, P148 white space around a framing name or instead of its value does not hide it', (t) =>
  allBlockedAndClosed(t, [
    `${POST}Content-Length : 43\r\n\r\n${G}`,
    `${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Content-Length: 43\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: \r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}Transfer-Encoding:\r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}Transfer-Encoding:\t\r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}Content-Length: 43\r\nTransfer-Encoding:\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: ,\r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}Transfer-Encoding:\r\n\r\n0\r\n\r\n${G}`,
  ]),
);

t.test('P071-P075 only exactly one chunked, in HTTP/1.1, is a transfer coding', (t) =>
  allBlockedAndClosed(t, [
    `${POST}Transfer-Encoding: xchunked\r\nContent-Length: 43\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n${G}`,
    `${POST}Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n${G}`,
    `POST /public/p HTTP/1.0\r\nHost: svc.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${G}`,
    `POST /public/p HTTP/1.0\r\nHost: svc.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${G}`,
  ]),
);

t.test('an alias of a framing header frames nothing here and goes no further', async (t) => {
  const world = await start(t);
  const client = await world.client();
  const aliases =
    'Content_Length: 43\r\nTransfer_Encoding: chunked\r\nContent.Length: 43\r\nTransfer-Encoding_: chunked\r\n';
  const [answer] = await client.ask(`${POST}${aliases}Content-Length: 2\r\n\r\nhi`);
  t.equal(answer?.status, 200);
  const request = world.upstream.requests.at(-1);
  t.equal(request?.body, 'hi');
  t.same(request?.all('content-length'), ['2']);
  const names = request?.headers.map(([name]) => name.toLowerCase().replace(/[^a-z]/g, '-'));
  t.same(
    names?.filter((name) => name.startsWith('content-length') || name.startsWith('transfer-encoding')),
    ['transfer-encoding-', 'content-length'],
    'one of them has another name by any mapping, and crosses',
  );
  await holdInvariants(t, world);
});

t.test('P076-P078 a chunk that is not one ends the request before any of it is forwarded', (t) => {
  const sizes = [
    '0x5',
    '+5',
    '-1',
    '5_',
    ' 5',
    '5 ',
    'G',
    '10000000000000005',
    'fffffffffffffffff',
    '5\t',
    '',
  ];
  const odd = ['5;', '5 ;a=b', '5;a\0=b', '5;a=b\n', '0x0', '5;a="\n"', '5,5', '5h', '5\v', '\ufeff5'];
  return allBlockedAndClosed(t, [
    ...[...sizes, ...odd].map((size) => `${CHUNKED}${size}\r\nhello\r\n0\r\n\r\n`),
    `${CHUNKED}5\r\nhelloXX0\r\n\r\n`,
    `${CHUNKED}5\r\nhello!\r\n0\r\n\r\n`,
    `${CHUNKED}5\nhello\r\n0\r\n\r\n`,
    `${CHUNKED}5\r\nhello\n0\r\n\r\n`,
    `${CHUNKED}5\r\nhello\r0\r\n\r\n`,
    `${CHUNKED}5\r\r\nhello\r\n0\r\n\r\n`,
    `${CHUNKED}5\r\nhello\r\n0\n\r\n`,
    `${CHUNKED}5\r\nhello\r\n0\r\n\n`,
    `${CHUNKED}5\r\nhello\r\n0\r\nA: b\n\r\n`,
    `${CHUNKED}5\r\nhello\r\n0\r\nno colon\r\n\r\n`,
  ]);
});

t.test(
  'a chunk that turns out malformed later cuts the request at the upstream, visibly unfinished',
  async (t) => {
    const world = await start(t);
    const client = await world.client();
    client.send(`${CHUNKED}5\r\nhello\r\n`);
    await upstreamSees(world, 'hello');
    client.send(`zz\r\nworld\r\n0\r\n\r\n${G}`);
    await client.untilClosed();
    t.same(statusesOf(client), [400]);
    const cut = world.upstream.requests.at(-1);
    t.equal(cut?.complete, false);
    const record = (await world.untilRecords(2)).at(-1);
    t.equal(record?.decision.effect, 'allow', 'the upstream has seen some of it');
    t.equal(record?.response.reason, 'framing_ambiguous');
    t.equal(record?.response.outcome, 'refused');
    await holdInvariants(t, world);
  },
);

t.test('P079 a chunk extension is legal and goes no further', async (t) => {
  const world = await start(t);
  for (const size of ['5;a=b', '5;a', '5;a="b;c"', '0005;x=1', '00000000000000005']) {
    const [answer] = await (await world.client()).ask(`${CHUNKED}${size}\r\nhello\r\n0\r\n\r\n`);
    t.equal(answer?.status, 200, size);
    const request = world.upstream.requests.at(-1);
    t.equal(request?.body, 'hello', size);
    t.notMatch(world.upstream.bytes, /;a|;x/, size);
  }
  await holdInvariants(t, world);
});

t.test('P080-P084, P144, P149 a head with a bare LF, CR, NUL, fold or a name that is none is 400', (t) =>
  allBlockedAndClosed(t, [
    'GET /public/a HTTP/1.1\nHost: svc.test\n\n',
    'GET /public/a HTTP/1.1\nHost: svc.test\r\n\r\n',
    'GET /public/a HTTP/1.1\r\nHost: svc.test\nX-A: 1\r\n\r\n',
    `${GET}X-A: 1\nX-B: 2\r\n\r\n`,
    `${GET}X-A: 1\r\n\n`,
    `${GET}X-A: 1\rX-Spiffe-Id: spiffe://a.test/admin\r\n\r\n`,
    `${GET}X-A: 1\r\r\nX-B: 2\r\n\r\n`,
    `${GET}X-A: 1\r\n\rX-Spiffe-Id: spiffe://a.test/admin\r\n\r\n`,
    'GET /public/a HTTP/1.1\rHost: svc.test\r\n\r\n',
    `${GET}X-A: a\0b\r\n\r\n`,
    `${GET}X-\0A: b\r\n\r\n`,
    `${GET}X-A: \x01\r\n\r\n`,
    `${GET}X-A: \x7f\r\n\r\n`,
    `${GET}: x\r\nX-After: 1\r\n\r\n`,
    `${GET}no colon\r\n\r\n`,
    `${GET}X-A\x85: 1\r\n\r\n`,
    `${GET}X@A: 1\r\n\r\n`,
    `${GET}X(A): 1\r\n\r\n`,
    `${GET}X-A : 1\r\n\r\n`,
    `${GET}X-A: 1\r\n X-Spiffe-Id: spiffe://a.test/admin\r\n\r\n`,
    `${GET}X-A: 1\r\n\tX-Spiffe-Id: spiffe://a.test/admin\r\n\r\n`,
    'GET /public/a HTTP/1.1\r\n Host: svc.test\r\nX-A: 1\r\n\r\n',
    'GET /public/a HTTP/1.1\r\n\tHost: svc.test\r\nX-A: 1\r\n\r\n',
    'GET /public/a HTTP/1.1\r\n X-A: 1\r\nHost: svc.test\r\n\r\n',
    'GET\t/public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n',
    'GET /public/a b HTTP/1.1\r\nHost: svc.test\r\n\r\n',
    '\x16\x03\x01\x00\xa5\x01\r\n\r\n',
  ]),
);

t.test('a version that is not 1.0 or 1.1 is 505 or 400', async (t) => {
  const world = await start(t);
  for (const version of [
    ' HTTP/2.0',
    ' HTTP/1.2',
    ' HTTP/0.9',
    ' HTTP/1.10',
    ' http/1.1',
    ' HTTP/1.1x',
    '',
  ]) {
    await isBlocked(t, world, `GET /public/a${version}\r\nHost: svc.test\r\n\r\n`, {
      reason: ['http_version_unsupported', 'request_malformed'],
      status: [400, 505],
      closes: true,
    });
  }
  await isBlocked(t, world, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', {
    reason: ['http_version_unsupported', 'request_malformed'],
    status: [400, 405, 505],
    closes: true,
  });
  await holdInvariants(t, world);
});

t.test('P085, P150 the body of a GET or HEAD is a body and never the next request', async (t) => {
  const world = await start(t);
  for (const method of ['GET', 'HEAD', 'POST']) {
    const client = await world.client();
    client.send(
      `${method} /public/${method} HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 43\r\n\r\n${G}${GET}\r\n`,
    );
    await client.until(() => statusesOf(client).length === 2);
    t.same(statusesOf(client), [200, 200], method);
    const seen = world.upstream.requests.filter(({ target }) => target === `/public/${method}`);
    t.same(
      seen.map(({ method: name, body, complete }) => [name, body, complete]),
      [[method, G, true]],
    );
    t.same(seen[0]?.all('content-length'), ['43']);
    t.same(seen[0]?.all('transfer-encoding'), []);
  }
  t.equal(world.upstream.requests.length, 7);
  const client = await world.client();
  client.send(
    `GET /public/c HTTP/1.1\r\nHost: svc.test\r\nTransfer-Encoding: chunked\r\n\r\n2b\r\n${G}\r\n0\r\n\r\n${GET}\r\n`,
  );
  await client.until(() => statusesOf(client).length === 2);
  t.same(statusesOf(client), [200, 200]);
  t.equal(world.upstream.requests.find(({ target }) => target === '/public/c')?.body, G);
  await holdInvariants(t, world);
});

t.test('P086 each request of a pipeline is judged alone, answered in order and recorded', async (t) => {
  const world = await start(t);
  const client = await world.client();
  const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: svc.test\r\n\r\n`;
  const answers = await client.ask(get('/public/1') + get('/admin/2') + get('/public/3'), 3);
  t.same(
    answers.map(({ status }) => status),
    [200, 403, 200],
  );
  t.same(
    world.upstream.requests.slice(1).map(({ target }) => target),
    ['/public/1', '/public/3'],
  );
  const records = (await world.untilRecords(4)).slice(1);
  t.same(
    records.map(({ decision, request }) => [decision.effect, request.path]),
    [
      ['allow', '/public/1'],
      ['deny', '/admin/2'],
      ['allow', '/public/3'],
    ],
  );
  await holdInvariants(t, world);
});

t.test('P087 what follows an answer that closes is never acted on', async (t) => {
  const world = await start(t);
  const inert = `${GET}\r\n${POST}Content-Length: 2\r\n\r\nhi`;
  for (const first of [
    `${GET}Connection: close\r\n\r\n`,
    'GET /public/a HTTP/1.0\r\nHost: svc.test\r\n\r\n',
    `${GET}Connection: x-a, CLOSE\r\n\r\n`,
  ]) {
    const before = world.upstream.requests.length;
    const client = await world.client();
    client.send(first + G + inert);
    await client.untilClosed();
    t.same(statusesOf(client), [200], first);
    t.equal(world.upstream.requests.length, before + 1, first);
  }
  await world.untilRecords(4);
  await isBlocked(t, world, `${GET}Host: svc.test\r\n\r\n${G}${inert}`, {
    reason: 'host_malformed',
    closes: true,
  });
  await holdInvariants(t, world);
});

t.test(
  'a malformed request in a pipeline gets its own 400 in its turn, and ends the connection',
  async (t) => {
    const world = await start(t);
    const tails: readonly (readonly [string, string])[] = [
      [`${POST}Content-Length: 4x\r\n\r\n`, 'framing_ambiguous'],
      [`${CHUNKED}zz\r\n`, 'framing_ambiguous'],
      ['\x16\x03\x01 garbage\r\n\r\n', 'request_malformed'],
      [`${GET}X-A : 1\r\n\r\n`, 'header_malformed'],
    ];
    for (const [tail, reason] of tails) {
      const before = world.exchanges.length;
      const client = await world.client();
      client.send(`${GET}\r\n${tail}${G}`);
      await client.untilClosed();
      t.same(statusesOf(client), [200, 400], tail);
      const records = (await world.untilRecords(before + 2)).slice(before);
      t.same(
        records.map(({ decision }) => [decision.effect, decision.reason]),
        [
          ['allow', 'rule_allowed'],
          ['deny', reason],
        ],
      );
    }
    await holdInvariants(t, world);
  },
);

t.test('a pipeline is taken one request at a time, and not read without bound while it waits', async (t) => {
  const world = await start(t);
  world.upstream.respond = () => undefined;
  const client = await world.client();
  const before = world.upstream.requests.length;
  const many = 40_000;
  client.send(`${GET}\r\n`.repeat(many));
  await upstreamSees(world, 'GET /public/a', 2);
  t.equal(world.upstream.requests.length, before + 1, 'the others wait their turn');
  client.destroy();
  world.upstream.respond = answerOk;
  for (const connection of world.upstream.connections) answerOk(connection);
  await waitFor(() => world.exchanges.some(({ response }) => response?.outcome === 'client_aborted'));
  await holdInvariants(t, world);
  const gone = world.exchanges.slice(1);
  t.ok(gone.length < many / 8, `${gone.length} of ${many} were read`);
});
