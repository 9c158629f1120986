import { networkInterfaces } from 'node:os';
import t from 'tap';
import { ASK, OutboundWorld } from '../support/outbound-world.js';
import type { Test } from 'tap';
import type { OutboundOptions } from '../support/outbound-world.js';

async function start(t: Test, options: OutboundOptions = {}): Promise<OutboundWorld> {
  const outbound = await OutboundWorld.start(options);
  t.teardown(() => outbound.close());
  return outbound;
}

t.test('a workload beside us reaches a service over mTLS, as us, and the record says whom it reached', async (t) => {
  const outbound = await start(t);
  const { world, server } = outbound;
  const client = await outbound.client();
  const [answer] = await client.ask(ASK);
  t.equal(answer?.status, 200);
  t.equal(answer?.body, 'ok');
  t.equal(server.clients[0], world.own.serial, 'the server was shown our own SVID');
  const [request] = server.recorder.requests;
  t.equal(request?.header('host'), 'ledger.test', 'the authority is what the workload asked for');
  const [record] = await world.untilRecords(1);
  t.match(record, {
    event: 'access',
    principal: { id: 'spiffe://a.test/proxy', kind: 'workload' },
    decision: { effect: 'allow', rule: 'calls' },
    request: { listener: 'out', direction: 'outbound', destination: 'ledger', path: '/ledger/1' },
    upstream: { server: { id: 'spiffe://b.test/ledger', kind: 'workload' } },
    response: { status: 200, outcome: 'complete' },
  });
  t.equal(request?.header('x-request-id'), record?.id);
  t.match(request?.header('traceparent'), new RegExp(`^00-${record?.request.traceId}-`));
});
