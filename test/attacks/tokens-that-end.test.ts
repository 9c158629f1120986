import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Http2Client } from '../support/http2-client.js';
import type { RecorderUpstream } from '../support/recorder-upstream.js';
import { waitFor } from '../support/start-proxy.js';
import { ask, TokenWorld } from '../support/token-world.js';
import { mintSigner } from '../support/tokens.js';

const EVENTS =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata:\n\r\n';
const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';
const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

/** Event streams that never end, and WebSockets. */
function streams(upstream: RecorderUpstream): void {
  upstream.respond = ({ socket }, fresh) => {
    if (fresh.startsWith('GET ')) socket.write(/upgrade: websocket/i.test(fresh) ? SWITCHED : EVENTS);
  };
}

async function start(t: Test, clock: { skewMs: number } = { skewMs: 0 }): Promise<TokenWorld> {
  const tokens = await TokenWorld.start({
    nowMs: () => Date.now() + clock.skewMs,
    extra: 'deadlines: { accessEnd: 0s }',
  });
  t.teardown(() => tokens.close());
  streams(tokens.world.upstream);
  return tokens;
}

/** One of each: over HTTP/1.1 without a certificate, a WebSocket, and over one HTTP/2 connection one with each token. */
async function open(t: Test, { world }: TokenWorld, ending: string, lasting: string) {
  const [events, socket] = [await world.nobody(), await world.nobody()];
  events.send(ask('/token/events', ending));
  await events.until(() => events.received.includes('data:'));
  socket.send(ask('/token/ws', ending, UPGRADE));
  await socket.until(() => socket.received.includes('101 Switching'));
  const session = await Http2Client.open(world.port, world.web);
  t.teardown(() => session.destroy());
  const ends = session.send('/token/a', { authorization: `Bearer ${ending}` });
  const lasts = session.send('/token/b', { authorization: `Bearer ${lasting}` });
  await Promise.all([ends, lasts].map((one) => new Promise((resolve) => one.stream.once('data', resolve))));
  return { events, socket, session, ends, lasts };
}

async function allEnd(
  t: Test,
  { world }: TokenWorld,
  opened: Awaited<ReturnType<typeof open>>,
  reason: string,
): Promise<void> {
  await Promise.all([opened.events.untilClosed(), opened.socket.untilClosed(), opened.ends.done]);
  t.not(opened.ends.isWhole, true, 'a stream is reset, never cleanly ended');
  t.notMatch(opened.events.received, /\r\n0\r\n\r\n$/, 'nor is one of HTTP/1.1');
  t.equal(opened.lasts.stream.closed, false, 'another token on the same connection is not touched');
  t.ok(opened.session.isOpen);
  const records = await world.untilRecords(4);
  const ended = records.filter(({ response }) => response?.outcome === 'access_ended');
  t.equal(ended.length, 3);
  await waitFor(() =>
    world.records.some(({ event, connections }) => event === 'revocation.enforced' && connections > 0),
  );
  const terminated = world.records.filter(({ event }) => event === 'connection.terminated');
  t.same(
    terminated.map((record) => record.reason),
    [reason, reason],
    'of the two connections that are gone',
  );
  const enforced = world.records.filter(
    ({ event, connections }) => event === 'revocation.enforced' && connections > 0,
  );
  t.equal(
    enforced.reduce((sum, { connections }) => sum + connections, 0),
    3,
    'all three are counted',
  );
  t.match(enforced[0]?.detail, reason);
}

t.test('what is open ends when its token expires', async (t) => {
  const clock = { skewMs: 0 };
  const tokens = await start(t, clock);
  const exp = Math.floor(Date.now() / 1000) + 60;
  const opened = await open(t, tokens, tokens.token({ exp }), tokens.token());
  clock.skewMs = 61_000;
  await allEnd(t, tokens, opened, 'token_expired');
});

t.test('what is open ends when the key that signed its token is gone', async (t) => {
  const tokens = await start(t);
  const next = mintSigner('ES256', 'k2');
  tokens.replaceKeys(tokens.signer, next);
  await tokens.world.untilSnapshot(({ sequence }) => sequence > 1);
  const opened = await open(t, tokens, tokens.token(), next.sign(tokens.claims()));
  tokens.replaceKeys(next);
  await allEnd(t, tokens, opened, 'token_key_unknown');
});

for (const [what, entry] of [
  ['its principal', () => 'id: "ci:octo/app"'],
  ['everything below', () => 'idPrefix: "ci:octo/app"'],
  ['the token itself', (sha256: string) => `sha256: "${sha256}"`],
] as const) {
  t.test(`what is open ends when ${what} is revoked, and nothing gets in after that`, async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const token = tokens.token();
    const opened = await open(t, tokens, token, tokens.token({ sub: 'octo/other' }));
    const sha256 = createHash('sha256').update(token).digest('hex');
    world.replace('revoked.yaml', `version: 1\nrevoked:\n  - { ${entry(sha256)}, reason: stolen }\n`);
    await allEnd(t, tokens, opened, 'token_revoked');
    const [answer] = await (await world.nobody()).ask(ask('/token/a', token));
    t.equal(answer?.status, 401);
  });
}

t.test('a route that asks for more than was shown ends what is open on it', async (t) => {
  const tokens = await start(t);
  const { world } = tokens;
  const client = await world.nobody();
  client.send(ask('/token/events', tokens.token()));
  await client.until(() => client.received.includes('data:'));
  const now = readFileSync(join(world.dir, 'countersign.yaml'), 'utf8');
  world.replace('countersign.yaml', now.replace('accept: token, upgrade', 'accept: mtls+token, upgrade'));
  await client.untilClosed();
  const records = await world.untilRecords(1);
  t.equal(records.at(-1)?.response.outcome, 'access_ended');
});

t.test(
  'with a policy that lets its principal in no more, what a client without a certificate has open ends',
  async (t) => {
    const tokens = await start(t);
    const { world } = tokens;
    const client = await world.nobody();
    client.send(ask('/token/events', tokens.token()));
    await client.until(() => client.received.includes('data:'));
    world.replace('policy.yaml', 'version: 1\ndefault: deny\nrules: []\n');
    await client.untilClosed();
    const [record] = await world.untilRecords(1);
    t.equal(record?.response.outcome, 'access_ended');
  },
);
