import t, { type Test } from 'tap';
import { type Asked, DecisionEngine, type Reply, says } from '../support/decision-engine.js';
import { GET } from '../support/sources.js';
import { POLICY, type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

/** A request that something let in and something later kept out: its record must not name what let it in as what decided. */

const EXPIRES_MS = Date.now() + 600_000;
const EXCEPTION = `exceptions:
  - { id: EX-1, owner: team, reason: r, expires: ${new Date(EXPIRES_MS).toISOString()}, allow: { principals: ["spiffe://a.test/web"], destinations: [r1] } }
`;
const ONLY_BY_EXCEPTION = POLICY.replace(/^ {2}- \{ id: public.*\n/m, '') + EXCEPTION;

/** The test answers when it wants to. */
class HeldEngine extends DecisionEngine {
  readonly held: (() => void)[] = [];
  override reply: Reply = (asked: Asked, response, socket) => {
    this.held.push(() => says(true)(asked, response, socket));
  };
}

async function start(t: Test, engine: DecisionEngine, options: WorldOptions, more = ''): Promise<World> {
  await engine.open();
  const extra = `externalDecision: { url: "${engine.url}", timeout: 10s }\n${more}`;
  const world = await World.start({ ...options, extra });
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  return world;
}

t.test('an exception that an engine narrows let nobody in, and is not counted as used', async (t) => {
  const engine = new DecisionEngine();
  engine.reply = says(false);
  const world = await start(t, engine, { policy: ONLY_BY_EXCEPTION });
  const client = await world.client();
  t.equal((await client.ask(GET))[0]?.status, 403);
  const [record] = await world.untilRecords(1);
  t.match(record?.decision, { effect: 'deny', reason: 'external_denied', rule: 'EX-1' });
  t.notOk('exception' in record!.decision, 'the record names an exception where one let it in');
  const list = await (await fetch(`${world.adminUrl}/exceptions`)).json();
  t.match(list, { exceptions: [{ id: 'EX-1', uses: 0 }] });
  engine.reply = says(true);
  t.equal((await (await world.client()).ask(GET))[0]?.status, 200);
  t.match((await world.untilRecords(2))[1]?.decision, { effect: 'allow', exception: 'EX-1' });
});

t.test(
  'an exception that dies while the engine is asked: the record says what stands in its place',
  async (t) => {
    let skewMs = 0;
    const engine = new HeldEngine();
    const world = await start(t, engine, { policy: ONLY_BY_EXCEPTION, nowMs: () => Date.now() + skewMs });
    const client = await world.client();
    client.send(GET);
    await waitFor(() => engine.held.length === 1);
    skewMs = 660_000;
    engine.held[0]?.();
    await client.until(() => client.answers.length === 1);
    t.equal(client.answers[0]?.status, 403);
    const [record] = await world.untilRecords(1);
    t.match(record?.decision, { effect: 'deny', reason: 'no_rule_matched', rule: 'default' });
    t.equal(world.upstream.bytes, '');
  },
);

t.test(
  'a policy that comes while the engine is asked: the record has the rule and revision that decide',
  async (t) => {
    const engine = new HeldEngine();
    const world = await start(t, engine, {});
    const client = await world.client();
    client.send(GET);
    await waitFor(() => engine.held.length === 1);
    const { policyRevision: before } = await world.snapshot();
    const deny =
      '  - { id: stop-web, effect: deny, principals: ["spiffe://a.test/web"], destinations: [r1] }\n';
    world.replace('policy.yaml', POLICY + deny);
    await world.untilSnapshot(({ policyRevision }) => policyRevision !== before);
    engine.held[0]?.();
    await client.until(() => client.answers.length === 1);
    const { policyRevision } = await world.snapshot();
    const [record] = await world.untilRecords(1);
    t.match(record?.decision, { effect: 'deny', reason: 'policy_denied', rule: 'stop-web', policyRevision });
    t.equal(world.upstream.bytes, '');
  },
);

t.test('whoever leaves while the engine is asked, request or upgrade, leaves nothing taken', async (t) => {
  const engine = new HeldEngine();
  const limits = 'limits: { concurrentPerPrincipal: 1 }';
  const world = await start(t, engine, {}, limits);
  const upgrade = `GET /ws HTTP/1.1\r\nHost: svc.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`;
  const gone = (): ReadRecord[] =>
    world.exchanges.filter(({ decision }) => decision.reason === 'client_aborted');
  let requests = 0;
  for (const [i, bytes] of [GET, upgrade, GET + GET, upgrade].entries()) {
    const client = await world.client();
    client.send(bytes);
    await waitFor(() => engine.held.length === i + 1);
    const second = await (await world.client()).ask(GET);
    t.equal(second[0]?.status, 429, 'it counts while the engine is asked');
    requests += bytes.split(' HTTP/1.1').length - 1;
    client.destroy();
    await waitFor(() => gone().length === requests);
    t.ok(gone().every(({ decision }) => decision.effect === 'deny'));
  }
  engine.reply = says(true);
  t.equal((await (await world.client()).ask(GET))[0]?.status, 200);
  t.equal(world.upstream.requests.length, 1);
});

t.test(
  'a trust domain that goes while the engine is asked is named as the reason, in either reading',
  async (t) => {
    const routes =
      '[{ name: r1, host: svc.test, path: /public/**, upstream: u, encodedSlash: allow, deadlines: { body: 5s } }]';
    const policy = `version: 1\ndefault: deny\nrules:\n  - { id: b, effect: allow, principals: ["spiffe://b.test/**"], destinations: [r1], when: 'credential.kind == "x509"' }\n`;
    for (const path of ['/public/a', '/public/a%2Fb']) {
      const engine = new HeldEngine();
      const more = 'deadlines: { accessEnd: 5s }';
      const options = { routes, policy };
      const world = await start(t, engine, options, more);
      const client = await world.client(world.bweb);
      client.send(GET.replace('/public/a', path));
      await waitFor(() => engine.held.length === 1);
      const trust = '\n  - { trustDomain: a.test, bundle: { file: a.pem } }';
      const extra = `externalDecision: { url: "${engine.url}", timeout: 10s }\n${more}`;
      const { sequence } = await world.snapshot();
      world.replace('policy.yaml', policy.replaceAll('b.test', 'a.test'));
      world.replace('countersign.yaml', world.configText({ ...options, trust, extra }));
      await world.untilSnapshot((snapshot) => snapshot.sequence > sequence && snapshot.trust.length === 1);
      engine.reply = says(true);
      engine.held[0]?.();
      await client.untilClosed();
      t.equal(client.answers[0]?.status, 403, path);
      const [record] = await world.untilRecords(1);
      t.match(record?.decision, { effect: 'deny', reason: 'trust_domain_unknown' });
      t.equal(world.upstream.bytes, '');
    }
  },
);
