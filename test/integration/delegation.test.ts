import t, { type Test } from 'tap';
import {
  ALICE,
  BOB,
  DelegationWorld,
  ENVOY,
  GATEWAY,
  outcomeOf,
  PAIRS,
  SIDECAR,
} from '../support/delegation-world.js';
import { type ReadRecord, type WorldOptions, waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: WorldOptions = {}): Promise<DelegationWorld> {
  const of = await DelegationWorld.start(options);
  t.teardown(() => of.world.close());
  return of;
}

const registry = (delegations: string): string => `version: 1
unregistered: allow
identities:
  - { id: "${GATEWAY}", owner: team-edge${delegations} }
  - { id: "${ALICE}", owner: team-alice }
`;

t.test('a gateway is let in for one caller and refused for another, on one connection', async (t) => {
  const of = await start(t);
  const client = await of.client();
  const alice = `x-identity-assertion: ${await of.assertion()}`;
  const bob = `x-identity-assertion: ${await of.assertion({ sub: BOB })}`;
  t.equal(outcomeOf(await of.ask(client, '/invoices/1', alice)), '200');
  t.equal(outcomeOf(await of.ask(client, '/invoices/2', bob)), '403 policy_denied');
  t.equal(outcomeOf(await of.ask(client, '/invoices/3', alice)), '200', 'the connection stays');
  t.same(
    of.world.upstream.requests.map(({ target }) => target),
    ['/invoices/1', '/invoices/3'],
  );
  const [first, second] = await of.world.untilRecords(3);
  const behalfOf = { id: ALICE, trustDomain: 'a.test', by: 'assertion', actors: [GATEWAY], issuer: SIDECAR };
  t.match(first, { principal: { id: GATEWAY }, behalfOf, decision: { effect: 'allow', rule: 'for-alice' } });
  t.match(first?.behalfOf.jti, /^[0-9a-f-]{36}$/);
  t.match(second, { principal: { id: GATEWAY }, behalfOf: { id: BOB }, decision: { effect: 'deny' } });
  t.notMatch(JSON.stringify(of.world.records), alice.slice(-40), 'the assertion stands in no record');
  const metrics = await of.world.metrics();
  t.match(
    metrics,
    /^countersign_delegated_requests_total\{listener="inbound",by="assertion",effect="allow"\} 2$/m,
  );
  t.match(
    metrics,
    /^countersign_delegated_requests_total\{listener="inbound",by="assertion",effect="deny"\} 1$/m,
  );
  t.match(metrics, /^countersign_token_verifications_total\{kind="assertion",result="ok"\} 2$/m);
  t.same((await of.world.snapshot()).memory.assertions, { verified: 2, refused: 0 });
});

t.test('what the gateway may do itself it may not do for anybody, and the other way round', async (t) => {
  const of = await start(t);
  const client = await of.client();
  t.equal(outcomeOf(await of.ask(client, '/status')), '200', 'its own call');
  const bob = `x-identity-assertion: ${await of.assertion({ sub: BOB })}`;
  t.equal(outcomeOf(await of.ask(client, '/status', bob)), '403 policy_denied', 'not for bob');
  t.equal(outcomeOf(await of.ask(client, '/invoices/1')), '403 delegation_missing', 'not its own');
  const own = `x-identity-assertion: ${await of.assertion({ sub: GATEWAY })}`;
  t.equal(outcomeOf(await of.ask(client, '/invoices/1', own)), '403 delegation_missing');
  const records = await of.world.untilRecords(4);
  t.same(
    records.map(({ decision, behalfOf }) => [decision.rule, behalfOf?.id]),
    [
      ['itself', undefined],
      ['default', BOB],
      [undefined, undefined],
      [undefined, undefined],
    ],
  );
});

t.test(
  'where a route does not look at it, the call is the caller’s own, and nothing of it crosses',
  async (t) => {
    const of = await start(t, {
      policy: `${PAIRS}  - { id: plain, effect: allow, principals: ["${GATEWAY}"], destinations: [plain] }\n`,
    });
    t.equal(await of.outcome('not even a token', { path: '/plain' }), '200');
    const [request] = of.world.upstream.requests;
    t.equal(request?.header('x-identity-assertion'), undefined);
    t.match(await of.world.untilRecords(1), [{ behalfOf: undefined, decision: { rule: 'plain' } }]);
  },
);

t.test('the registry says for whom a gateway may act, and where', async (t) => {
  const extra = 'registry: registry.yaml\n';
  const files = {
    'registry.yaml': registry(`, delegations: [{ for: ["${ALICE}"], destinations: [invoices] }]`),
  };
  const of = await start(t, { extra, files });
  const text = await of.assertion();
  t.equal(await of.outcome(text), '200');
  t.equal(await of.outcome(text, { path: '/status' }), '403 policy_denied', 'elsewhere not');
  const [first, second] = await of.world.untilRecords(2);
  t.match(first, { behalfOf: { owner: 'team-alice', registered: true } });
  t.match(second, { decision: { reason: 'delegation_denied', rule: 'registry' } });
  const { registry: before } = await of.world.snapshot();
  of.world.replace('registry.yaml', registry(''));
  await of.world.untilSnapshot((snapshot) => snapshot.registry.revision !== before.revision);
  t.equal(await of.outcome(text), '403 policy_denied', 'without a word in the registry for nobody');
});

t.test('XFCC of a named proxy says for whom it acts', async (t) => {
  const of = await start(t);
  const client = await of.client(of.envoy);
  const ask = async (xfcc: string) =>
    outcomeOf(await of.ask(client, '/invoices/1', `x-forwarded-client-cert: ${xfcc}`));
  t.equal(await ask(`By=${ENVOY};Hash=${'00'.repeat(32)};Subject="CN=x";URI=${ALICE}`), '200');
  t.equal(await ask(`By=${ENVOY};URI=${BOB}`), '403 policy_denied');
  t.equal(await ask(`By=${BOB};URI=${ALICE}`), '403 delegation_untrusted');
  t.match(await of.world.untilRecords(3), [{ behalfOf: { id: ALICE, by: 'xfcc', actors: [ENVOY] } }]);
  const xfcc = `x-forwarded-client-cert: By=${GATEWAY};URI=${ALICE}`;
  const gateway = await of.client();
  t.equal(
    outcomeOf(await of.ask(gateway, '/invoices/1', xfcc)),
    '403 delegation_missing',
    'not of another peer',
  );
});

t.test('the whole chain is recorded, and no rule is met by those who acted before', async (t) => {
  const of = await start(t, {
    policy: PAIRS.replace(`["${GATEWAY}", "${ENVOY}"]`, `["spiffe://a.test/first"]`),
    extra: 'limits: { delegationDepth: 3 }\n',
  });
  const act = { sub: 'spiffe://a.test/second', act: { sub: 'spiffe://a.test/first' } };
  t.equal(await of.outcome(await of.assertion({ act })), '403 policy_denied');
  t.match(await of.world.untilRecords(1), [
    { behalfOf: { id: ALICE, actors: ['spiffe://a.test/first', 'spiffe://a.test/second', GATEWAY] } },
  ]);
});

t.test('a subject that is revoked ends what is open for it, at once and alone', async (t) => {
  const of = await start(t, {
    policy: PAIRS.replace(`behalfOf: ["${ALICE}"]`, 'behalfOf: ["spiffe://a.test/*"]'),
  });
  const open = async (sub: string) => {
    const client = await of.client();
    const text = await of.assertion({ sub });
    client.send(
      `GET /live HTTP/1.1\r\nHost: svc.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Identity-Assertion: ${text}\r\n\r\n`,
    );
    await client.until(() => client.received.includes('101 Switching'));
    return { client, text };
  };
  of.world.upstream.respond = (connection) => {
    connection.socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n',
    );
  };
  const alice = await open(ALICE);
  const bob = await open(BOB);
  of.world.replace('revoked.yaml', `version: 1\nrevoked:\n  - { id: "${ALICE}", reason: "leaked" }\n`);
  await alice.client.untilClosed();
  t.equal(bob.client.closed, false);
  const ended = (): ReadRecord | undefined =>
    of.world.exchanges.find(({ phase, behalfOf }) => phase === 'end' && behalfOf?.id === ALICE);
  await waitFor(() => ended() !== undefined);
  t.match(ended(), { response: { outcome: 'access_ended' } });
  t.equal(await of.outcome(alice.text), '403 delegation_untrusted', 'the next request');
  const refused = (): ReadRecord | undefined =>
    of.world.exchanges.find(({ decision }) => decision.reason === 'delegation_untrusted');
  await waitFor(() => refused() !== undefined);
  t.match(refused(), { behalfOf: { id: ALICE }, decision: { detail: `${ALICE} is revoked: leaked` } });
});

t.test('a stream ends with what says for whom it is; a request that was sent by then does not', async (t) => {
  let aheadMs = 0;
  const of = await start(t, {
    nowMs: () => Date.now() + aheadMs,
    extra: 'deadlines: { accessEnd: 0s }\n',
  });
  of.world.upstream.respond = (connection, fresh) => {
    const isStream = fresh.startsWith('GET /invoices/stream');
    connection.socket.write(
      isStream
        ? 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n'
        : 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst',
    );
  };
  const said = `x-identity-assertion: ${await of.assertion()}`;
  const open = async (path: string, until: string) => {
    const client = await of.client();
    client.send(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${said}\r\n\r\n`);
    await client.until(() => client.received.includes(until));
    return client;
  };
  const stream = await open('/invoices/stream', 'data: 1');
  const answer = await open('/invoices/1', 'first');
  aheadMs = 61_000;
  await stream.untilClosed();
  t.equal(answer.closed, false);
  const ended = (): ReadRecord | undefined =>
    of.world.exchanges.find(({ response }) => response.outcome === 'access_ended');
  await waitFor(() => ended() !== undefined);
  t.equal(ended()?.request.path, '/invoices/stream');
  of.world.upstream.connections.find(({ bytes }) => bytes.includes('/invoices/1'))?.socket.write('after');
  await answer.until(() => answer.received.endsWith('firstafter'));
  const client = await of.client();
  t.equal(
    outcomeOf(await of.ask(client, '/invoices/2', said)),
    '403 delegation_untrusted',
    'the next one is refused',
  );
});

t.test('keys of a gateway’s sidecar come and go while it runs', async (t) => {
  const of = await start(t);
  const { AssertionSigner } = await import('../support/assertion-signer.js');
  const newer = await AssertionSigner.create('k2', 'ES256');
  const old = await of.assertion();
  t.equal(await of.outcome(old), '200');
  t.equal(await of.outcome(await of.assertion({}, newer)), '403 delegation_untrusted');
  of.world.replace('gateway-keys.json', JSON.stringify({ keys: [of.signer.jwk, newer.jwk] }));
  await waitFor(async () => (await of.outcome(await of.assertion({}, newer))) === '200');
  t.equal(await of.outcome(old), '200', 'both for a while');
  of.world.replace('gateway-keys.json', newer.jwks);
  await waitFor(async () => (await of.outcome(old)) === '403 delegation_untrusted');
  t.equal(await of.outcome(await of.assertion({}, newer)), '200');
});
