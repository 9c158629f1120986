import t from 'tap';
import { Http2Client } from '../support/http2-client.js';
import { waitFor } from '../support/start-proxy.js';
import { ask, reasonIn, TokenWorld } from '../support/token-world.js';

t.test(
  'clients without a certificate take no more connections than their share, and starve nobody',
  async (t) => {
    const tokens = await TokenWorld.start({
      extra: 'limits: { connections: 40, connectionsWithoutCertificate: 5 }',
    });
    t.teardown(() => tokens.close());
    const { world } = tokens;
    const held = await Promise.all(Array.from({ length: 5 }, () => world.nobody()));
    const excess = await world.nobody();
    await excess.untilClosed();
    t.match(excess.received, /^HTTP\/1.1 503 /);
    t.equal(reasonIn(excess.answers[0]?.body), 'connection_limit');
    const client = await world.client();
    t.equal((await client.ask(ask('/cert/a')))[0]?.status, 200, 'whoever has one gets in');
    held[0]?.destroy();
    await waitFor(async () => {
      const next = await world.nobody();
      const [answer] = await next.ask(ask('/token/a', tokens.token()));
      return answer?.status === 200;
    });
    const [record] = await world.untilRecords(1);
    t.match(record?.decision, { reason: 'connection_limit', detail: '5 connections without a certificate' });
  },
);

t.test('a flood of forged tokens lets nobody in, and good ones are served meanwhile', async (t) => {
  const tokens = await TokenWorld.start({ extra: 'limits: { requestsPerConnection: 0 }' });
  t.teardown(() => tokens.close());
  const { world } = tokens;
  const flood = await Http2Client.open(world.port, world.admin);
  const good = await Http2Client.open(world.port, world.web);
  t.teardown(() => {
    flood.destroy();
    good.destroy();
  });
  const [head, , signature] = tokens.token().split('.') as [string, string, string];
  const forged = (i: number): string =>
    `${head}.${Buffer.from(JSON.stringify({ ...tokens.claims(), jti: String(i) })).toString('base64url')}.${signature}`;
  const refused = { status: 0, other: 0 };
  const flooding = (async () => {
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          flood.ask('/token/a', { authorization: `Bearer ${forged(round * 50 + i)}` }),
        ),
      );
      for (const { status } of answers) status === 401 ? refused.status++ : refused.other++;
    }
  })();
  for (let i = 0; i < 20; i++) {
    const { status } = await good.ask('/token/a', {
      authorization: `Bearer ${tokens.token({ jti: `g${i}` })}`,
    });
    t.equal(status, 200);
  }
  await flooding;
  t.same(refused, { status: 1000, other: 0 });
  t.equal(world.upstream.requests.length, 20);
});

t.test('a bad token of one of a gateway users does not end the connection of the others', async (t) => {
  const tokens = await TokenWorld.start();
  t.teardown(() => tokens.close());
  const gateway = await tokens.world.client();
  t.equal((await gateway.ask(ask('/either/a', 'garbage')))[0]?.status, 401);
  t.equal((await gateway.ask(ask('/either/a', tokens.svid())))[0]?.status, 200, 'on the same connection');
  const stranger = await tokens.world.nobody();
  t.equal((await stranger.ask(ask('/either/a', 'garbage')))[0]?.status, 401);
  await stranger.untilClosed();
  const session = await Http2Client.open(tokens.world.port);
  t.teardown(() => session.destroy());
  const answer = await session.ask('/token/a', { authorization: 'Bearer garbage' });
  t.match(answer, {
    status: 401,
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
    isWhole: true,
  });
  await session.untilClosed();
});

t.test('a gRPC call with a bad token is UNAUTHENTICATED', async (t) => {
  const tokens = await TokenWorld.start();
  t.teardown(() => tokens.close());
  const session = await Http2Client.open(tokens.world.port, tokens.world.web);
  t.teardown(() => session.destroy());
  const fields = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  const answer = await session.ask('/token/a', { ...fields, authorization: 'Bearer garbage' }, '\0\0\0\0\0');
  t.match(answer.headers, {
    ':status': 200,
    'grpc-status': '16',
    'grpc-message': 'token_invalid',
    'www-authenticate': 'Bearer error="invalid_token"',
  });
  t.equal(tokens.world.upstream.bytes, '');
});
