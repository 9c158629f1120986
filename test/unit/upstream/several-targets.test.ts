import t, { type Test } from 'tap';
import type { UpstreamConfig } from '../../../src/config/config.js';
import { Failure } from '../../../src/reasons.js';
import type { Connector } from '../../../src/upstream/connector.js';
import { PlainConnector } from '../../../src/upstream/plain-connector.js';
import { Upstream } from '../../../src/upstream/upstream.js';
import { answerOk, RecorderUpstream, type Responder } from '../../support/recorder-upstream.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, Counts, openUpstream, postOf, requestOf, tcpTarget, upstreamConfig } from './caller.js';

interface Several {
  readonly servers: RecorderUpstream[];
  readonly upstream: Upstream;
  readonly counts: Counts;
  ask(request?: ReturnType<typeof requestOf>): Promise<Caller>;
  /** Requests that each server has seen. */
  seen(): number[];
}

async function several(t: Test, count: number, change: Partial<UpstreamConfig> = {}): Promise<Several> {
  const servers: RecorderUpstream[] = [];
  for (let i = 0; i < count; i++) servers.push(await new RecorderUpstream().open());
  const counts = new Counts();
  const targets = servers.map(({ port }) => tcpTarget(port));
  const upstream = openUpstream(t, { targets, ...change }, counts);
  t.teardown(() => Promise.all(servers.map((server) => server.close().catch(() => undefined))));
  const ask = (request = requestOf('GET', '/')): Promise<Caller> =>
    new Caller(t).send(upstream, request).over;
  return { servers, upstream, counts, ask, seen: () => servers.map(({ requests }) => requests.length) };
}

const ignore = (): void => undefined;
const reset: Responder = ({ socket }) => socket.resetAndDestroy();
const close: Responder = ({ socket }) => socket.destroy();
const states = ({ status }: Upstream): string => status.map(({ state }) => state).join(' ');

t.test('calls take turns among the targets, and each keeps its own connections', async (t) => {
  const { servers, ask, seen } = await several(t, 3);
  for (let i = 0; i < 9; i++) t.equal((await ask()).body, 'ok');
  t.same(seen(), [3, 3, 3]);
  t.same(
    servers.map(({ connections }) => connections.length),
    [1, 1, 1],
  );
});

t.test('least requests spares the target that is slow', async (t) => {
  const { servers, upstream, ask, seen } = await several(t, 2, { balance: 'least_requests' });
  servers[0]!.respond = () => undefined;
  const stuck = new Caller(t).send(upstream, requestOf('GET', '/stuck'));
  await waitFor(() => seen()[0] === 1);
  for (let i = 0; i < 5; i++) t.equal((await ask()).body, 'ok');
  t.same(seen(), [1, 5]);
  stuck.call?.abort();
  t.same(
    upstream.status.map(({ open }) => open),
    [0, 0],
    'nothing is counted twice, and nothing is left',
  );
});

t.test('where nobody listens the next target gets the call, whatever its method', async (t) => {
  const { servers, ask, seen, counts } = await several(t, 2, { ejection: false });
  await servers[0]!.close();
  const post = await ask(postOf('/a', ['hello'], 5));
  t.match(post, { status: 200, failure: undefined, asked: 1 });
  t.same(
    post.servers.map(({ target }) => target),
    [`127.0.0.1:${servers[1]!.port}`],
    'only where something was sent is it told',
  );
  for (let i = 0; i < 4; i++) t.equal((await ask()).status, 200);
  t.equal(seen()[1], 5);
  t.ok(counts.retries >= 2, `${counts.retries}`);
});

t.test('a call that the policy ends meanwhile goes nowhere else', async (t) => {
  const { servers, upstream, seen } = await several(t, 2, { ejection: false });
  await servers[0]!.close();
  const caller = new Caller(t);
  caller.may = () => false;
  caller.send(upstream, requestOf('GET', '/'));
  await waitFor(() => caller.asked === 1);
  t.same(seen()[1], 0);
  t.same(
    upstream.status.map(({ open }) => open),
    [0, 0],
  );
});

t.test('never more often than configured: no retries, no second target', async (t) => {
  const { servers, ask, counts } = await several(t, 3, { ejection: false, retries: 0 });
  await servers[0]!.close();
  t.equal((await ask()).code, 'upstream_unreachable');
  t.equal(counts.retries, 0);
  const two = await several(t, 3, { ejection: false, retries: 1 });
  await two.servers[0]!.close();
  await two.servers[1]!.close();
  t.equal((await two.ask()).code, 'upstream_unreachable', 'one more, and no third');
  t.equal(two.counts.retries, 1);
});

for (const [how, respond] of [
  ['reset', reset],
  ['closed', close],
] as const) {
  t.test(
    `what is safe goes to another target when its new connection is ${how} without an answer`,
    async (t) => {
      for (const method of ['GET', 'HEAD', 'OPTIONS']) {
        const { servers, ask, seen, counts } = await several(t, 2, { ejection: false });
        servers[0]!.respond = respond;
        servers[1]!.respond = ({ socket }) => socket.write('HTTP/1.1 204 No Content\r\n\r\n');
        const caller = await ask(requestOf(method, '/'));
        t.match(caller, { status: 204, failure: undefined, asked: 2 }, method);
        t.equal(caller.servers.length, 2, 'told where, each time');
        t.same(seen(), [1, 1]);
        t.equal(counts.retries, 1);
      }
    },
  );

  t.test(`nothing else is ever sent twice when its connection is ${how}`, async (t) => {
    for (const request of [
      requestOf('POST', '/'),
      requestOf('PUT', '/'),
      requestOf('DELETE', '/'),
      requestOf('TRACE', '/'),
      requestOf('PROPFIND', '/'),
      postOf('/', ['hello'], 5),
      postOf('/', ['hello']),
      { ...postOf('/', ['hello'], 5), method: 'GET' },
    ]) {
      const { servers, ask, seen, counts } = await several(t, 2, { ejection: false, retries: 5 });
      for (const server of servers) server.respond = respond;
      t.equal((await ask(request)).code, 'upstream_reset', request.method);
      t.equal(seen()[0]! + seen()[1]!, 1, request.method);
      t.equal(counts.retries, 0);
    }
  });
}

t.test('an answer that has begun is never asked for again', async (t) => {
  const { servers, ask, seen } = await several(t, 2, { ejection: false, retries: 5 });
  for (const server of servers)
    server.respond = ({ socket }) => socket.write('HTTP/1.1 2', () => socket.resetAndDestroy());
  t.equal((await ask()).code, 'upstream_reset');
  t.same(seen(), [1, 0]);
});

t.test('a malformed answer is not asked for again', async (t) => {
  const { servers, ask, seen } = await several(t, 2, { ejection: false, retries: 5 });
  for (const server of servers) server.respond = ({ socket }) => socket.write('HTTP/1.1 banana\r\n\r\n');
  t.equal((await ask()).code, 'upstream_malformed');
  t.same(seen(), [1, 0]);
});

t.test('what is judged again and refused is not sent to the next target', async (t) => {
  const { servers, upstream, seen } = await several(t, 2, { ejection: false });
  servers[0]!.respond = reset;
  const caller = new Caller(t);
  caller.may = () => caller.asked === 1;
  caller.send(upstream, requestOf('GET', '/'));
  await waitFor(() => caller.asked === 2);
  t.same(seen(), [1, 0]);
});

for (const [what, respond] of [
  ['resets', reset],
  ['malformed answers', ({ socket }) => socket.end('SSH-2.0-x\r\n')],
  [
    'malformed bodies',
    ({ socket }) => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'),
  ],
] as [string, Responder][]) {
  t.test(`${what} in a row take a target out, and it gets nothing more`, async (t) => {
    const { servers, upstream, ask, seen, counts } = await several(t, 2, { retries: 0 });
    servers[0]!.respond = respond;
    for (let i = 0; i < 10; i++) await ask(requestOf('POST', '/'));
    t.equal(states(upstream), 'ejected available');
    t.equal(counts.ejections, 1);
    const before = seen()[0];
    for (let i = 0; i < 10; i++) t.equal((await ask(requestOf('POST', '/'))).status, 200);
    t.equal(seen()[0], before);
    t.match(upstream.status[0]?.lastError?.problem, /^upstream_(reset|malformed): /);
  });
}

t.test('a silence that is given up counts, an answer that was given up does not', async (t) => {
  const { servers, upstream } = await several(t, 2, { retries: 0 });
  servers[0]!.respond = () => undefined;
  const silence = new Failure('upstream_timeout', 'the upstream was silent');
  for (let i = 0; i < 12; i++) {
    const caller = new Caller(t).send(upstream, requestOf('GET', '/'));
    if (i % 2 === 1) await caller.over;
    else {
      await waitFor(() => caller.servers.length === 1);
      caller.call?.abort(i < 2 ? undefined : silence);
    }
  }
  t.equal(states(upstream), 'ejected available');
});

t.test("the service's own errors take nothing out", async (t) => {
  const { servers, upstream, ask } = await several(t, 2);
  servers[0]!.respond = ({ socket }) => socket.write('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n');
  for (let i = 0; i < 20; i++) t.equal((await ask()).failure, undefined);
  t.equal(states(upstream), 'available available');
});

t.test('the only target, and the last one of several, is never taken out', async (t) => {
  const one = await several(t, 1, { retries: 0, ejection: { failures: 1, forMs: 60_000, maxShare: 1 } });
  await one.servers[0]!.close();
  for (let i = 0; i < 3; i++) t.equal((await one.ask()).code, 'upstream_unreachable');
  t.equal(states(one.upstream), 'available');
  const two = await several(t, 2, { retries: 0, ejection: { failures: 1, forMs: 60_000, maxShare: 1 } });
  for (const server of two.servers) await server.close();
  for (let i = 0; i < 6; i++) t.equal((await two.ask()).code, 'upstream_unreachable');
  t.equal(states(two.upstream), 'ejected available');
});

t.test('no more than the share are out at once', async (t) => {
  const ejection = { failures: 1, forMs: 60_000, maxShare: 0.5 };
  const { servers, upstream, ask, counts } = await several(t, 5, { retries: 0, ejection });
  for (const server of servers.slice(0, 4)) await server.close();
  for (let i = 0; i < 20; i++) await ask();
  t.equal(counts.ejections, 2);
  t.equal(upstream.status.filter(({ state }) => state === 'ejected').length, 2);
});

t.test('a target comes back after its time, and one good answer is enough', async (t) => {
  const ejection = { failures: 1, forMs: 100, maxShare: 0.5 };
  const { servers, upstream, ask, seen } = await several(t, 2, { ejection });
  servers[0]!.respond = reset;
  t.equal((await ask()).status, 200);
  t.equal(states(upstream), 'ejected available');
  servers[0]!.respond = answerOk;
  await waitFor(() => states(upstream) === 'available available');
  for (let i = 0; i < 4; i++) t.equal((await ask()).status, 200);
  t.equal(seen()[0], 3);
});

t.test(
  'a target that stays keeps its connections and what is known of it; a gone one finishes',
  async (t) => {
    const ejection = { failures: 1, forMs: 60_000, maxShare: 0.5 };
    const { servers, upstream, ask, seen } = await several(t, 3, { ejection });
    const targets = servers.map(({ port }) => tcpTarget(port));
    servers[2]!.respond = reset;
    for (let i = 0; i < 3; i++) t.equal((await ask()).status, 200);
    t.equal(states(upstream), 'available available ejected');
    servers[0]!.respond = () => undefined;
    const slow = [new Caller(t), new Caller(t)].map((caller) =>
      caller.send(upstream, requestOf('GET', '/slow')),
    );
    await waitFor(() => servers[0]!.requests.some(({ target }) => target === '/slow'));
    const configure = (kept: typeof targets): void =>
      upstream.configure(upstreamConfig({ targets: kept, ejection }), (target) => new PlainConnector(target));
    configure(targets.slice(1));
    t.same(
      upstream.status.map(({ target, state }) => `${target} ${state}`),
      [`${targets[1]!.name} available`, `${targets[2]!.name} ejected`],
    );
    const before = servers[1]!.connections.length;
    for (let i = 0; i < 3; i++) t.equal((await ask()).status, 200);
    t.equal(servers[1]!.connections.length, before, 'no connection is opened anew');
    servers[0]!.respond = answerOk;
    for (const connection of servers[0]!.connections) answerOk(Object.assign(connection, { answered: 1 }));
    for (const caller of slow) t.equal((await caller.over).status, 200);
    await waitFor(() => servers[0]!.connections.every(({ closed }) => closed));
    configure(targets);
    const [first] = seen();
    for (let i = 0; i < 4; i++) t.equal((await ask()).status, 200);
    t.ok(seen()[0]! > first!, 'what comes back is used');
  },
);

t.test(
  'a dead kept connection: a GET goes to another target, a POST fails and is not sent again',
  async (t) => {
    const { servers, upstream, ask, seen } = await several(t, 2, { ejection: false });
    for (let i = 0; i < 2; i++) t.equal((await ask()).status, 200);
    for (const server of servers) server.respond = close;
    const post = await ask(requestOf('POST', '/'));
    t.equal(post.code, 'upstream_reset');
    t.equal(seen()[0]! + seen()[1]!, 3);
    t.equal(
      upstream.status[0]?.lastError,
      undefined,
      'a close that crosses a request says nothing against the server',
    );
  },
);

t.test('each call has its own time to connect, and a shorter one ends no call with a longer', async (t) => {
  const asked: number[] = [];
  const deaf = (target: UpstreamConfig['targets'][number]): Connector => ({
    target,
    open: ({ connectMs }, done) => {
      asked.push(connectMs);
      const late = new Failure('upstream_connect_timeout', 'late');
      const timer = setTimeout(() => done(late), connectMs);
      return { cancel: () => clearTimeout(timer) };
    },
  });
  const parts = { metrics: new Counts(), diagnostics: { info: ignore, warn: ignore, error: ignore } };
  const upstream = new Upstream(upstreamConfig({ targets: [tcpTarget(1)], maxConnections: 2 }), parts, deaf);
  t.teardown(() => upstream.destroy());
  const order: string[] = [];
  const ask = async (name: string, connectMs: number): Promise<void> => {
    const { over } = new Caller(t).send(upstream, requestOf('GET', '/', { connectMs }));
    t.equal((await over).code, 'upstream_connect_timeout');
    order.push(name);
  };
  await Promise.all([ask('patient', 300), ask('hasty', 30)]);
  t.same(order, ['hasty', 'patient']);
  t.same(asked.slice(0, 2), [300, 30]);
});
