import { createHash } from 'node:crypto';
import { once } from 'node:events';
import t from 'tap';
import { type Asked, DecisionEngine, type Reply, says } from '../support/decision-engine.js';
import { answerOk } from '../support/recorder-upstream.js';
import { POLICY, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

type Test = { teardown(handler: () => Promise<void>): void };

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const UPGRADE =
  'GET /ws HTTP/1.1\r\nHost: svc.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n\r\n`;
const SWITCHING = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`;

/** An engine whose answers the test gives when it wants to. */
class HeldEngine extends DecisionEngine {
  readonly held: ((result: unknown) => void)[] = [];
  override reply: Reply = (asked: Asked, response, socket) => {
    this.held.push((result) => says(result)(asked, response, socket));
  };

  async untilHeld(count: number): Promise<void> {
    await waitFor(() => this.held.length >= count);
  }

  answer(result: unknown): void {
    for (const give of this.held.splice(0)) give(result);
  }
}

async function start(t: Test, options: WorldOptions = {}): Promise<{ world: World; engine: HeldEngine }> {
  const engine = (await new HeldEngine().open()) as HeldEngine;
  const extra = `externalDecision: { url: "${engine.url}", timeout: 10s }\n${options.extra ?? ''}`;
  const world = await World.start({ ...options, extra });
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  return { world, engine };
}

const revoke = async (world: World): Promise<void> => {
  world.replace('revoked.yaml', `version: 1\nrevoked:\n  - { id: "${world.web.uri}", reason: "test" }\n`);
  await world.untilSnapshot(({ revocations }) => revocations === 1);
};

t.test(
  'a client that leaves while the engine is asked leaves one record, and the question is given up',
  async (t) => {
    const { world, engine } = await start(t);
    const client = await world.client();
    client.send(GET);
    await engine.untilHeld(1);
    const [socket] = engine.sockets;
    client.destroy();
    const [record] = await world.untilRecords(1);
    t.match(record?.decision, { effect: 'deny', reason: 'client_aborted' });
    if (socket?.destroyed === false) await once(socket, 'close');
    engine.answer(true);
    await waitFor(async () => /external_decisions_total\{result="given_up"\} 1/.test(await world.metrics()));
    t.equal(world.exchanges.length, 1);
    t.equal(world.upstream.bytes, '');
    t.equal((await world.snapshot()).external.inFlight, 0);
  },
);

t.test(
  'a credential that is revoked while the engine is asked stops the request, whatever it says',
  async (t) => {
    const { world, engine } = await start(t);
    const client = await world.client();
    client.send(GET);
    await engine.untilHeld(1);
    await revoke(world);
    engine.answer(true);
    await client.until(() => client.answers.length === 1);
    t.equal(client.answers[0]?.status, 403);
    t.equal(JSON.parse(client.answers[0]?.body ?? '{}').reason, 'svid_revoked');
    const [record] = await world.untilRecords(1);
    t.match(record?.decision, { effect: 'deny', reason: 'svid_revoked', external: { result: 'allow' } });
    t.equal(world.upstream.bytes, '');
  },
);

t.test('a policy that no longer allows, adopted while the engine is asked, stops the request', async (t) => {
  const { world, engine } = await start(t);
  const client = await world.client();
  client.send(GET);
  await engine.untilHeld(1);
  const { policyRevision } = await world.snapshot();
  world.replace('policy.yaml', POLICY.replace('methods: [GET, HEAD, POST]', 'methods: [POST]'));
  await world.untilSnapshot((snapshot) => snapshot.policyRevision !== policyRevision);
  engine.answer(true);
  await client.until(() => client.answers.length === 1);
  t.equal(client.answers[0]?.status, 403);
  const [record] = await world.untilRecords(1);
  t.match(record?.decision, { effect: 'deny', reason: 'no_rule_matched', rule: 'default' });
  t.equal(world.upstream.bytes, '');
});

t.test(
  'a large body waits in the connection, is not lost, and reaches only an upstream that may have it',
  async (t) => {
    const { world, engine } = await start(t);
    const client = await world.client();
    const body = 'x'.repeat(16_000_000); // more than the sockets on the way hold
    world.upstream.respond = (connection) => {
      if (connection.bytes.length > body.length) answerOk(connection);
    };
    client.send(`POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await engine.untilHeld(1);
    for (let i = 0; i < 10; i++) await world.snapshot();
    t.ok(client.socket.writableLength > 0, 'not all of it was taken');
    t.equal(world.upstream.bytes, '');
    engine.answer(true);
    await client.until(() => client.answers.length === 1);
    t.equal(client.answers[0]?.status, 200);
    t.equal(world.upstream.requests[0]?.body.length, body.length);
    const [record] = await world.untilRecords(1);
    t.equal(record?.request.bytes, body.length);
  },
);

t.test('100-continue is answered after the decision only', async (t) => {
  const { world, engine } = await start(t);
  const head = 'POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n';
  const client = await world.client();
  client.send(head);
  await engine.untilHeld(1);
  t.equal(client.received, '');
  engine.answer(true);
  await client.until(() => client.received.includes('100 Continue'));
  client.send('body');
  await client.until(() => client.answers.length === 1);
  t.equal(client.answers[0]?.status, 200);
  client.send(head);
  await engine.untilHeld(1);
  engine.answer(false);
  await client.until(() => client.answers.length === 2);
  t.equal(client.answers[1]?.status, 403);
  t.equal(client.received.split('100 Continue').length, 2, 'a refused one gets no 100');
  t.equal(world.upstream.requests.length, 1);
});

t.test('pipelined requests wait their turn and are asked about one by one', async (t) => {
  const { world, engine } = await start(t);
  const client = await world.client();
  client.send(GET + GET.replace('/public/a', '/public/b') + GET.replace('/public/a', '/public/c'));
  for (const [i, result] of [true, false, true].entries()) {
    await engine.untilHeld(1);
    t.equal(engine.asked.length, i + 1, 'one question at a time');
    engine.answer(result);
  }
  await client.until(() => client.answers.length === 3);
  t.same(
    client.answers.map(({ status }) => status),
    [200, 403, 200],
  );
  t.same(
    world.upstream.requests.map(({ target }) => target),
    ['/public/a', '/public/c'],
  );
});

t.test('a request that is being asked about when the engine is changed still gets its answer', async (t) => {
  const { world, engine } = await start(t);
  const other = await new DecisionEngine().open();
  t.teardown(() => other.close());
  const client = await world.client();
  client.send(GET);
  await engine.untilHeld(1);
  world.replace(
    'countersign.yaml',
    world.configText({ extra: `externalDecision: { url: "${other.url}" }\n` }),
  );
  await world.untilSnapshot(({ sequence }) => sequence > 1);
  engine.answer(true);
  await client.until(() => client.answers.length === 1);
  t.equal(client.answers[0]?.status, 200);
  await client.ask(GET);
  t.equal(other.asked.length, 1, 'the next is asked of the new one');
  await waitFor(
    () => engine.sockets.size === 0,
    5000,
    () => 'the old connections to be closed',
  );
});

t.test('an upgrade is asked about before the upstream hears of it', async (t) => {
  const { world, engine } = await start(t);
  world.upstream.respond = ({ socket }, fresh) => {
    if (fresh.startsWith('GET')) socket.write(SWITCHING);
    else socket.write(`echo:${fresh}`);
  };
  for (const result of [false, undefined]) {
    const refused = await world.client();
    refused.send(UPGRADE);
    await engine.untilHeld(1);
    engine.answer(result);
    await refused.until(() => refused.answers.length === 1);
    t.equal(refused.answers[0]?.status, 403);
    await refused.untilClosed();
  }
  t.equal(world.upstream.bytes, '');
  const client = await world.client();
  client.send(`${UPGRADE}early`);
  await engine.untilHeld(1);
  client.send('-later');
  t.equal(world.upstream.bytes, '');
  engine.answer(true);
  await client.until(() => client.received.includes('echo:') && client.received.includes('later'));
  t.match(client.received, /^HTTP\/1.1 101/);
  t.match(client.received.replaceAll('echo:', ''), /early-later$/, 'what was sent while asking is not lost');
  const records = await world.untilRecords(3);
  t.match(records[2], { phase: 'start', decision: { effect: 'allow', external: { result: 'allow' } } });
});

t.test('a client that leaves while its upgrade is asked about leaves one record', async (t) => {
  const { world, engine } = await start(t);
  const client = await world.client();
  client.send(UPGRADE);
  await engine.untilHeld(1);
  client.destroy();
  const [record] = await world.untilRecords(1);
  t.match(record?.decision, { effect: 'deny', reason: 'client_aborted' });
  engine.answer(true);
  await waitFor(async () => (await world.snapshot()).external.inFlight === 0);
  t.equal(world.exchanges.length, 1);
  t.equal(world.upstream.bytes, '');
});

t.test('a credential that is revoked while its upgrade is asked about opens no tunnel', async (t) => {
  const { world, engine } = await start(t);
  const client = await world.client();
  client.send(UPGRADE);
  await engine.untilHeld(1);
  await revoke(world);
  engine.answer(true);
  await client.untilClosed();
  t.notMatch(client.received, /101/);
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.effect, 'deny');
  t.equal(world.upstream.bytes, '');
});

t.test('an open tunnel is asked about again when its answer runs out, and ends with a no', async (t) => {
  const { world, engine } = await start(t);
  world.upstream.respond = ({ socket }, fresh) => {
    if (fresh.startsWith('GET')) socket.write(SWITCHING);
  };
  const client = await world.client();
  client.send(UPGRADE);
  await engine.untilHeld(1);
  engine.answer({ allow: true, ttl: '1s' });
  await client.until(() => client.received.includes('101'));
  await engine.untilHeld(1);
  t.equal(engine.asked.length, 2);
  engine.answer({ allow: true, ttl: '1s' });
  await engine.untilHeld(1);
  t.equal(client.closed, false, 'a yes keeps it');
  engine.answer({ allow: false, reason: 'shift is over' });
  await client.untilClosed();
  const [, end] = await world.untilRecords(2);
  t.match(end, {
    phase: 'end',
    decision: { effect: 'allow', external: { result: 'deny' } },
    response: { outcome: 'access_ended', reason: 'external_denied' },
  });
});

t.test(
  'a tunnel that was opened before there was an engine is asked about as soon as there is one',
  async (t) => {
    const world = await World.start();
    const engine = await new DecisionEngine().open();
    t.teardown(async () => {
      await world.close();
      await engine.close();
    });
    world.upstream.respond = ({ socket }, fresh) => {
      if (fresh.startsWith('GET')) socket.write(SWITCHING);
    };
    const client = await world.client();
    client.send(UPGRADE);
    await client.until(() => client.received.includes('101'));
    engine.reply = says(false);
    world.replace(
      'countersign.yaml',
      world.configText({ extra: `externalDecision: { url: "${engine.url}" }\n` }),
    );
    await client.untilClosed();
    t.equal(engine.asked.length, 1);
    t.match((await world.untilRecords(2))[1]?.response.reason, 'external_denied');
  },
);

t.test('what the engine alone allowed ends when its yes no longer counts', async (t) => {
  const engine = await new DecisionEngine().open();
  const lone = `externalDecision: { url: "${engine.url}", mayAllow: true }\n`;
  const policy = 'version: 1\ndefault: deny\nrules: []\n';
  const world = await World.start({ extra: lone, policy });
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  world.upstream.respond = ({ socket }, fresh) => {
    if (fresh.startsWith('GET')) socket.write(SWITCHING);
  };
  const client = await world.client();
  client.send(UPGRADE);
  await client.until(() => client.received.includes('101'));
  world.replace('countersign.yaml', `${world.configText({ extra: lone, policy })}\n# the same\n`);
  world.replace('revoked.yaml', 'version: 1\nrevoked:\n  - { id: "spiffe://a.test/x", reason: "another" }\n');
  await world.untilSnapshot(({ revocations }) => revocations === 1);
  t.equal(client.closed, false);
  world.replace('countersign.yaml', world.configText({ extra: lone.replace('true', 'false') }));
  await client.untilClosed();
  t.match((await world.untilRecords(2))[1]?.response, { outcome: 'access_ended' });
});

t.test('a proxy that stops while the engine is asked stops', async (t) => {
  const { world, engine } = await start(t, { drain: '{ delay: 0s, deadline: 200ms }' });
  const client = await world.client();
  client.send(GET);
  await engine.untilHeld(1);
  await world.app.drain();
  await client.untilClosed();
  const [record] = await world.untilRecords(1);
  t.match(record?.decision.effect, 'deny');
  t.equal(world.upstream.bytes, '');
});
