import t from 'tap';
import { World } from '../support/start-proxy.js';

const GET = 'GET /public/a?q=1 HTTP/1.1\r\nHost: svc.test\r\n\r\n';

t.test('an allowed call arrives with the verified identity and leaves one record', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const client = await world.client();
  const [answer] = await client.ask(GET);
  t.equal(answer?.status, 200);
  t.equal(answer?.body, 'ok');
  const [request] = world.upstream.requests;
  t.equal(request?.target, '/public/a?q=1');
  t.same(request?.all('x-spiffe-id'), ['spiffe://a.test/web']);
  t.match(request?.header('x-forwarded-client-cert'), /URI=spiffe:\/\/a\.test\/web/);
  const [record] = await world.untilRecords(1);
  t.equal(record?.event, 'access');
  t.equal(record?.principal.id, 'spiffe://a.test/web');
  t.equal(record?.decision.effect, 'allow');
  t.equal(record?.decision.rule, 'public');
  t.equal(record?.request.path, '/public/a', 'never the query');
  t.equal(record?.response.status, 200);
});

t.test('a call that no rule allows is 403 and the upstream sees no byte', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const client = await world.client();
  const [answer] = await client.ask('GET /admin/x HTTP/1.1\r\nHost: svc.test\r\n\r\n');
  t.equal(answer?.status, 403);
  t.match(answer?.headers['content-type'], /application\/problem\+json/);
  t.equal(JSON.parse(answer?.body ?? '{}').reason, 'policy_denied');
  t.equal(world.upstream.bytes, '');
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.reason, 'no_rule_matched');
  t.equal(record?.decision.rule, 'default');
});

t.test('a foreign workload reads why in a 403, and the connection closes', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const client = await world.client(await world.caC.issue('spiffe://c.test/web'));
  const [answer] = await client.ask(GET);
  t.equal(answer?.status, 403);
  t.equal(JSON.parse(answer?.body ?? '{}').reason, 'trust_domain_unknown');
  await client.untilClosed();
  t.equal(world.upstream.bytes, '');
  const records = await world.untilRecords(1);
  t.equal(records.length, 1);
  t.equal(records[0]?.decision.reason, 'trust_domain_unknown');
});
