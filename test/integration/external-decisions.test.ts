import t from 'tap';
import { DecisionEngine, says, writes } from '../support/decision-engine.js';
import type { Answer, RawClient } from '../support/raw-client.js';
import { POLICY, type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

type Test = { teardown(handler: () => Promise<void>): void };

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const reasonOf = (answer: Answer | undefined): string => JSON.parse(answer?.body ?? '{}').reason;

/** A proxy that asks an engine of ours. */
async function start(
  t: Test,
  keys = '',
  options: WorldOptions = {},
): Promise<{ world: World; engine: DecisionEngine }> {
  const engine = await new DecisionEngine().open();
  const world = await World.start({ ...options, extra: `${configOf(engine, keys)}${options.extra ?? ''}` });
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  return { world, engine };
}

const configOf = (engine: DecisionEngine, keys: string): string =>
  `externalDecision: { url: "${engine.url}"${keys === '' ? '' : `, ${keys}`} }\n`;

async function ask(client: RawClient, bytes = GET): Promise<Answer | undefined> {
  return (await client.ask(bytes))[0];
}

const lastOf = (records: readonly ReadRecord[]): ReadRecord => records[records.length - 1] ?? {};

t.test('what the policy allows is asked about, and its answer stands in the record', async (t) => {
  const { world, engine } = await start(t, 'headers: [x-tenant]');
  engine.reply = says({ allow: true, reason: 'on call' });
  const client = await world.client();
  const lines =
    'GET /public/a?secret=1 HTTP/1.1\r\nHost: svc.test\r\nX-Tenant: red\r\nx_tenant: blue\r\nCookie: c\r\n\r\n';
  t.equal((await ask(client, lines))?.status, 200);
  t.equal(engine.asked.length, 1);
  t.match(engine.asked[0], {
    path: '/v1/data/countersign/decision',
    headers: { 'content-type': 'application/json' },
    input: {
      version: 1,
      request: {
        method: 'GET',
        path: '/public/a',
        route: 'r1',
        destination: 'u',
        headers: { 'x-tenant': 'red, blue' },
      },
      principal: { id: 'spiffe://a.test/web', registered: false },
      local: { effect: 'allow', rule: 'public' },
    },
  });
  t.notMatch(JSON.stringify(engine.asked[0]?.input), /secret|cookie/i);
  const [record] = await world.untilRecords(1);
  t.match(record?.decision, {
    effect: 'allow',
    reason: 'rule_allowed',
    rule: 'public',
    external: { result: 'allow', id: /^d-\d+$/, durationMs: Number },
  });
  t.match(await world.metrics(), /countersign_external_decisions_total\{result="allow"\} 1/);
  t.match(await world.metrics(), /countersign_external_decision_duration_seconds_count 1/);
});

t.test(
  'its no is a policy no to the client, and is named in the record; the upstream sees nothing',
  async (t) => {
    const { world, engine } = await start(t);
    const client = await world.client();
    for (const [reply, detail] of [
      [says(false), undefined],
      [says({ allow: false, reason: 'not on call' }), 'not on call'],
      [says(undefined), /no such document/],
    ] as const) {
      engine.reply = reply;
      const answer = await ask(client);
      t.equal(answer?.status, 403);
      t.equal(reasonOf(answer), 'policy_denied');
      const record = lastOf(await world.untilRecords(engine.asked.length));
      t.match(record.decision, { effect: 'deny', reason: 'external_denied', external: { result: 'deny' } });
      if (detail !== undefined) t.match(record.decision.detail, detail);
    }
    t.equal(world.upstream.bytes, '');
  },
);

t.test('what is no plain word is no answer: 503, and the upstream sees nothing', async (t) => {
  const { world, engine } = await start(t, 'timeout: 300ms, circuit: { failures: 1000 }');
  const client = await world.client();
  const wrong: readonly [DecisionEngine['reply'], RegExp][] = [
    [writes('{"result":true}', 201), /answered 201/],
    [writes('{"result":true}', 404), /answered 404/],
    [writes('{"code":"internal_error"}', 500), /answered 500/],
    [
      (_, response) => response.writeHead(302, { location: engine.url }).end('{"result":true}'),
      /answered 302/,
    ],
    [(_, response) => response.writeHead(204).end(), /answered 204/],
    [writes('garbage'), /not the JSON/],
    [writes('{"result":false,"result":true}'), /not the JSON/],
    [writes('{"result":"true"}'), /neither true/],
    [writes(`{"result":true,"x":"${'x'.repeat(70_000)}"}`), /longer than 65536 bytes/],
    [(_, _response, socket) => socket.end('SSH-2.0-OpenSSH\r\n'), /./],
    [(_, _response, socket) => socket.destroy(), /./],
    [
      (_, response) => response.writeHead(200, { 'content-length': '50' }).write('{"result":true}'),
      /within 300 ms/,
    ],
    [(_, response) => response.writeHead(200).flushHeaders(), /within 300 ms/],
    [() => undefined, /within 300 ms/],
    [
      (_, _response, socket) => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"result":true}');
        setImmediate(() => socket.end());
      },
      /cut short|aborted/,
    ],
  ];
  for (const [i, [reply, detail]] of wrong.entries()) {
    engine.reply = reply;
    const answer = await ask(client);
    t.equal(answer?.status, 503, String(detail));
    t.equal(reasonOf(answer), 'external_unavailable');
    const { decision } = lastOf(await world.untilRecords(i + 1));
    t.match(decision, {
      effect: 'deny',
      reason: 'external_unavailable',
      external: { result: 'unavailable' },
    });
    t.match(decision.detail, detail);
  }
  t.equal(world.upstream.bytes, '');
  engine.reply = says(true);
  t.equal((await ask(client))?.status, 200, 'and it recovers by itself');
});

t.test('what the policy refuses is refused without asking', async (t) => {
  const { world, engine } = await start(t);
  const client = await world.client(world.bweb);
  const answer = await ask(client, GET.replace('/public/a', '/admin/a'));
  t.equal(answer?.status, 403);
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.reason, 'no_rule_matched');
  t.equal(record?.decision.external, undefined);
  t.equal(engine.asked.length, 0);
});

t.test('only the routes that are named are asked about', async (t) => {
  const { world, engine } = await start(t, 'routes: [r2]');
  const client = await world.client(world.admin);
  t.equal((await ask(client))?.status, 200);
  t.equal(engine.asked.length, 0);
  t.equal((await ask(client, GET.replace('/public/a', '/admin/a')))?.status, 200);
  t.equal(engine.asked.length, 1);
});

const DENYING = `version: 1
default: deny
rules:
  - { id: no-b, effect: deny, principals: ["spiffe://b.test/**"], destinations: [r1] }
`;

t.test('with mayAllow its yes is enough where no rule matches, and never where one denies', async (t) => {
  const { world, engine } = await start(t, 'mayAllow: true', { policy: DENYING });
  const [web, bweb] = [await world.client(), await world.client(world.bweb)];
  t.equal((await ask(web))?.status, 200);
  const [allowed] = await world.untilRecords(1);
  t.match(allowed?.decision, { effect: 'allow', reason: 'external_allowed', rule: '(external)' });
  t.match(engine.asked[0]?.input.local, { effect: 'deny', rule: 'default' });
  engine.reply = says(false);
  t.equal((await ask(web))?.status, 403);
  engine.reply = says(true);
  t.equal((await ask(bweb))?.status, 403);
  t.equal(engine.asked.length, 2, 'a deny is not asked about');
  t.equal(world.upstream.requests.length, 1);
  t.match(lastOf(await world.untilRecords(3)).decision, { reason: 'policy_denied', rule: 'no-b' });
});

t.test(
  'an answer is used again for as long as it says, for the same question, until the policy changes',
  async (t) => {
    const { world, engine } = await start(t);
    engine.reply = says({ allow: true, ttl: '5m' });
    const client = await world.client();
    for (let i = 0; i < 3; i++) t.equal((await ask(client))?.status, 200);
    t.equal(engine.asked.length, 1);
    const { external } = lastOf(await world.untilRecords(3)).decision;
    t.match(external, { result: 'allow', cached: true, id: /^d-/ });
    t.match(await world.metrics(), /countersign_external_decisions_total\{result="cached_allow"\} 2/);
    await ask(client, GET.replace('/public/a', '/public/b'));
    t.equal(engine.asked.length, 2, 'another path is another question');
    await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
    await ask(client);
    t.equal(engine.asked.length, 3, 'a reload forgets');
    const { policyRevision } = await world.snapshot();
    world.replace(
      'policy.yaml',
      `${POLICY}  - { id: more, effect: allow, principals: ["spiffe://a.test/x"], destinations: [r1] }\n`,
    );
    await world.untilSnapshot((snapshot) => snapshot.policyRevision !== policyRevision);
    t.equal((await world.snapshot()).external.cachedAnswers, 0);
    engine.reply = says({ allow: false, ttl: '5m' });
    t.equal((await ask(client))?.status, 403);
    t.equal((await ask(client))?.status, 403);
    t.equal(engine.asked.length, 4, 'a no is kept like a yes');
  },
);

t.test('an engine that is away is left alone for a while, then asked once, then again', async (t) => {
  const { world, engine } = await start(t, 'circuit: { failures: 2, open: 400ms }');
  const { port } = engine;
  await engine.close();
  const client = await world.client();
  for (let i = 0; i < 2; i++) {
    const answer = await ask(client);
    t.equal(answer?.status, 503);
    t.equal(reasonOf(answer), 'external_unavailable');
  }
  t.match(lastOf(await world.untilRecords(2)).decision.detail, /ECONNREFUSED/);
  t.equal((await world.snapshot()).external.state, 'open');
  t.equal((await ask(client))?.status, 503);
  t.match(lastOf(await world.untilRecords(3)).decision.detail, /not asked for a while/);
  t.match((await world.snapshot()).external.lastError.problem, /ECONNREFUSED/, 'why stays to be seen');
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200, 'and readiness is not its business');
  const again = await new DecisionEngine().open(port);
  t.teardown(() => again.close());
  await world.untilSnapshot(({ external }) => external.state === 'half_open');
  t.equal((await ask(client))?.status, 200);
  t.equal((await world.snapshot()).external.state, 'closed');
  t.equal(world.upstream.requests.length, 1);
  const messages = world.diagnostics.map(({ message }) => message);
  t.equal(messages.filter((message) => message === 'the external engine does not answer').length, 1);
  t.equal(messages.filter((message) => message === 'the external engine answers again').length, 1);
});

t.test('more questions than may be under way are refused at once', async (t) => {
  const { world, engine } = await start(t, 'maxConcurrent: 1, timeout: 5s');
  let answerFirst = (): void => undefined;
  engine.reply = (asked, response, socket) => {
    answerFirst = () => says(true)(asked, response, socket);
  };
  const [first, second] = [await world.client(), await world.client()];
  first.send(GET);
  await waitFor(() => engine.asked.length === 1);
  const answer = await ask(second);
  t.equal(answer?.status, 503);
  t.match(lastOf(await world.untilRecords(1)).decision.detail, /1 questions are under way/);
  answerFirst();
  await first.until(() => first.answers.length === 1);
  t.equal(first.answers[0]?.status, 200);
});

t.test('a kept connection that the engine closed meanwhile costs no request', async (t) => {
  const { world, engine } = await start(t);
  const client = await world.client();
  t.equal((await ask(client))?.status, 200);
  t.equal(engine.sockets.size, 1, 'it is kept');
  let dropped = false;
  engine.reply = (asked, response, socket) => {
    if (!dropped) {
      dropped = true;
      return socket.destroy();
    }
    says(true)(asked, response, socket);
  };
  t.equal((await ask(client))?.status, 200);
  t.equal(engine.asked.length, 3);
});

t.test('a path that holds %2F is asked about in both readings, and both must be allowed', async (t) => {
  const { world, engine } = await start(t, '', {
    routes:
      '\n      - { name: r1, host: svc.test, path: /public/**, upstream: u, encodedSlash: allow }\n      - { name: r2, path: /admin/**, upstream: u }\n      - { name: r3, path: /x, upstream: u }\n      - { name: r4, path: /y, upstream: u }\n      - { name: r5, path: /z, upstream: u }',
  });
  const client = await world.client();
  engine.reply = (asked, response, socket) =>
    says(asked.input.request.path !== '/public/a/b')(asked, response, socket);
  const bytes = GET.replace('/public/a', '/public/a%2Fb');
  t.equal((await ask(client, bytes))?.status, 403);
  t.same(
    engine.asked.map(({ input }) => input.request.path),
    ['/public/a%2Fb', '/public/a/b'],
  );
  t.equal(world.upstream.bytes, '');
  engine.reply = says({ allow: true });
  t.equal((await ask(client, bytes))?.status, 200);
  t.match(lastOf(await world.untilRecords(2)).decision.external.id, /^d-\d+ d-\d+$/);
});

t.test('https:// asks only whom the given CA vouches for', async (t) => {
  const world = new World();
  await world.prepare();
  const good = await world.caA.issue('spiffe://a.test/opa', {
    otherSans: ['DNS:localhost'],
  });
  const engine = await new DecisionEngine({ cert: good.chainPem, key: good.keyPem }).open();
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  const url = `https://localhost:${engine.port}/v1/data/countersign/decision`;
  const options = (ca: string): WorldOptions => ({
    extra: `externalDecision: { url: "${url}", ca: ${ca}, timeout: 5s }\n`,
  });
  world.writeConfig(options('b.pem'));
  await world.run();
  const client = await world.client();
  t.equal((await ask(client))?.status, 503);
  t.equal(engine.asked.length, 0);
  world.replace('countersign.yaml', world.configText(options('a.pem')));
  await waitFor(async () => (await world.snapshot()).sequence > 1);
  t.equal((await ask(client))?.status, 200);
  t.equal(engine.asked.length, 1);
});

t.test('an engine behind a unix socket is asked there', async (t) => {
  const world = new World();
  await world.prepare();
  const engine = await new DecisionEngine().openAt(`${world.dir}/opa.sock`);
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  world.writeConfig({
    extra:
      'externalDecision: { url: "http://opa.internal/v1/data/countersign/decision", socket: "unix:opa.sock" }\n',
  });
  await world.run();
  t.equal((await ask(await world.client()))?.status, 200);
  t.equal(engine.asked[0]?.headers.host, 'opa.internal:80');
});
