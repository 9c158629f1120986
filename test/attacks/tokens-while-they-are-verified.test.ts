import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import { mintRoot } from '../support/pki.js';
import type { Answer } from '../support/raw-client.js';
import { waitFor } from '../support/start-proxy.js';
import { AUDIENCE, ask, reasonIn, TOKEN_POLICY, TokenWorld } from '../support/token-world.js';

const WEB = 'spiffe://a.test/web';

/** A proxy whose agent does not answer before the test wants it to. */
async function start(t: Test): Promise<{ tokens: TokenWorld; asked: () => number; answer: () => void }> {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-slow-agent-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const agent = await WorkloadApiServer.listen(`unix:${dir}/agent.sock`);
  t.teardown(() => agent.close());
  const ca = await mintRoot('c.test');
  agent.offer('FetchX509Bundles', { bundles: { 'spiffe://c.test': ca.certDer } });
  const waiting: (() => void)[] = [];
  agent.validateBy(() => new Promise((resolve) => waiting.push(() => resolve(WEB))));
  const tokens = await TokenWorld.start({
    trust: `
  - { trustDomain: a.test, bundle: { file: a.json } }
  - { trustDomain: b.test, bundle: { file: b.pem } }
  - { trustDomain: c.test, bundle: { workloadApi: true } }`,
    identity: 'files: { certificate: own.pem, key: own-key.pem }',
    env: { SPIFFE_ENDPOINT_SOCKET: `unix://${dir}/agent.sock` },
    extra: `  - { name: asked, kind: jwt-svid, audience: ${AUDIENCE}, validate: workloadApi }`,
  });
  t.teardown(() => tokens.close());
  await tokens.world.app.ready;
  const answer = (): void => {
    for (const go of waiting.splice(0)) go();
  };
  return { tokens, asked: () => waiting.length, answer };
}

const outcome = (answer: Answer | undefined): string =>
  answer?.status === 200 ? '200' : `${answer?.status} ${reasonIn(answer?.body)}`;

t.test('who is revoked while his token is verified is refused', async (t) => {
  const { tokens, asked, answer } = await start(t);
  const { world } = tokens;
  const client = await world.nobody();
  client.send(ask('/svids/a', tokens.svid()));
  await waitFor(() => asked() === 1);
  const { sequence } = await world.snapshot();
  world.replace('revoked.yaml', `version: 1\nrevoked: [{ id: "${WEB}", reason: stolen }]\n`);
  await world.untilSnapshot((now) => now.sequence > sequence);
  answer();
  await client.untilClosed();
  t.equal(outcome(client.answers[0]), '401 token_invalid');
  t.equal((await world.untilRecords(1))[0]?.decision.reason, 'token_revoked');
  t.equal(world.upstream.bytes, '');
});

t.test('who loses his rule, or the route its tokens, meanwhile is refused', async (t) => {
  const { tokens, asked, answer } = await start(t);
  const { world } = tokens;
  const [one, other] = [await world.nobody(), await world.nobody()];
  one.send(ask('/svids/a', tokens.svid({ jti: '1' })));
  other.send(ask('/token/a', tokens.svid({ jti: '2' })));
  await waitFor(() => asked() === 2);
  const { sequence } = await world.snapshot();
  world.replace('policy.yaml', TOKEN_POLICY.replaceAll('passed, svids', 'passed'));
  await world.untilSnapshot((now) => now.sequence > sequence);
  answer();
  await Promise.all([one.until(() => one.answers.length > 0), other.until(() => other.answers.length > 0)]);
  t.equal(outcome(one.answers[0]), '403 policy_denied');
  t.equal(outcome(other.answers[0]), '200', 'who has one still goes on');
  t.same(
    world.upstream.requests.map(({ target }) => target),
    ['/token/a'],
  );
});

t.test('who goes away meanwhile reaches nothing, and leaves one record', async (t) => {
  const { tokens, asked, answer } = await start(t);
  const { world } = tokens;
  const upgrade = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n`;
  const heads = [
    ask('/svids/a', tokens.svid({ jti: '1' })),
    ask('/token/ws', tokens.svid({ jti: '2' }), upgrade),
    `POST /svids/c HTTP/1.1\r\nHost: svc.test\r\nAuthorization: Bearer ${tokens.svid({ jti: '3' })}\r\nContent-Length: 9\r\n\r\npart`,
  ];
  const clients = await Promise.all(heads.map(() => world.nobody()));
  for (const [i, client] of clients.entries()) client.send(heads[i]!);
  await waitFor(() => asked() === heads.length);
  for (const client of clients) client.destroy();
  const records = await world.untilRecords(heads.length);
  for (const { decision, response } of records) {
    t.match(
      { effect: decision.effect, reason: decision.reason },
      { effect: 'deny', reason: 'client_aborted' },
    );
    t.equal(response.outcome, 'client_aborted');
  }
  answer();
  const last = await world.nobody();
  t.equal((await last.ask(ask('/token/last', tokens.token())))[0]?.status, 200);
  t.same(
    world.upstream.requests.map(({ target }) => target),
    ['/token/last'],
  );
  t.equal((await world.untilRecords(heads.length + 1)).length, heads.length + 1);
});

t.test('what comes behind waits its turn, and no byte of a body crosses before', async (t) => {
  const { tokens, asked, answer } = await start(t);
  const { world } = tokens;
  const client = await world.client();
  const svid = tokens.svid();
  client.send(
    `POST /svids/a HTTP/1.1\r\nHost: svc.test\r\nAuthorization: Bearer ${svid}\r\nContent-Length: 6\r\n\r\nsecret` +
      ask('/cert/b') +
      ask('/token/c'),
  );
  await waitFor(() => asked() === 1);
  t.equal(world.upstream.bytes, '');
  t.equal(client.received, '');
  answer();
  await client.until(() => client.answers.length === 3);
  t.same(client.answers.map(outcome), ['200', '200', '401 token_missing']);
  t.same(
    world.upstream.requests.map(({ target, body }) => [target, body]),
    [
      ['/svids/a', 'secret'],
      ['/cert/b', ''],
    ],
  );
});

t.test('an entry that has its tokens count once from now on has that one count once, too', async (t) => {
  const { tokens, asked, answer } = await start(t);
  const { world } = tokens;
  const token = tokens.svid({ jti: 'replayed' });
  const client = await world.client();
  client.send(ask('/svids/a', token));
  await waitFor(() => asked() === 1);
  const { sequence } = await world.snapshot();
  const config = readFileSync(join(world.dir, 'countersign.yaml'), 'utf8');
  world.replace('countersign.yaml', config.replace('name: svids, kind: jwt-svid,', '$& oneTime: true,'));
  await world.untilSnapshot((now) => now.sequence > sequence);
  answer();
  await waitFor(() => asked() === 1); // by the entry as it is now
  answer();
  await client.until(() => client.answers.length === 1);
  const [again] = await client.ask(ask('/svids/b', token));
  t.same([outcome(client.answers[0]), outcome(again)], ['200', '401 token_invalid']);
  t.equal((await world.untilRecords(2))[1]?.decision.reason, 'token_replayed');
  t.equal(world.upstream.requests.length, 1);
});

t.test('a proxy that ends meanwhile sends nothing on, and records it', async (t) => {
  const { tokens, asked } = await start(t);
  const { world } = tokens;
  const client = await world.nobody();
  client.send(ask('/svids/a', tokens.svid()));
  await waitFor(() => asked() === 1);
  await world.app.close();
  await client.untilClosed();
  t.equal(world.upstream.bytes, '');
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.effect, 'deny');
});
