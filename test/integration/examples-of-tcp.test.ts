import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { Examples, type RunningExample, type Workload } from '../support/example.js';
import { RawClient } from '../support/raw-client.js';
import { missingPostgres, programOf, startPostgres } from '../support/real-postgres.js';
import { missingRedis, startRedis } from '../support/real-redis.js';
import { TcpService } from '../support/tcp-world.js';

const WEB = 'spiffe://example.org/ns/prod/sa/web';
const BILLING = 'spiffe://example.org/ns/prod/sa/billing';

/** A Redis where one is installed; else what answers one of its commands. */
async function redis(t: Test): Promise<number> {
  if (missingRedis() === false) {
    const server = await startRedis();
    t.teardown(() => server.stop());
    return server.port;
  }
  const service = await new TcpService().open();
  t.teardown(() => service.close());
  service.onSocket = (socket) => void socket.on('data', () => socket.write('+PONG\r\n'));
  return service.port;
}

async function ping(t: Test, client: RawClient<never> | RawClient): Promise<void> {
  t.teardown(() => client.destroy());
  client.send('PING\r\n');
  await client.until(() => client.received.length >= 7);
  client.socket.end();
  await client.untilClosed();
}

const startTcp = async (t: Test, examples: Examples): Promise<RunningExample> =>
  examples.run(t, 'tcp.yaml', {
    '0.0.0.0:6380': '127.0.0.1:0',
    '127.0.0.1:6379': `127.0.0.1:${await redis(t)}`,
  });

const outboundTo = (inbound: RunningExample): Record<string, string> => ({
  '127.0.0.1:6379\n': '127.0.0.1:0\n',
  'cache.internal:6380': `localhost:${inbound.port('cache')}`,
});

t.test('tcp.yaml: Redis for those who may, and nothing for others', async (t) => {
  const examples = await Examples.mint(t);
  const example = await startTcp(t, examples);
  const port = example.port('cache');
  const client = await RawClient.open({ identity: examples.svid('web'), port });
  await ping(t, client);
  t.equal(client.received, '+PONG\r\n');
  const other = await RawClient.open({ identity: examples.svid('batch'), port });
  await ping(t, other);
  t.equal(other.received, '');
  t.match(await example.records(3), [
    { phase: 'start', principal: { id: WEB }, request: { protocol: 'tcp', method: 'CONNECT' } },
    { phase: 'end', request: { bytes: 6 }, response: { bytes: 7, outcome: 'complete' } },
    { decision: { effect: 'deny', reason: 'no_rule_matched' } },
  ]);
});

t.test('outbound-tcp.yaml: plaintext in, over mTLS to tcp.yaml, and both sides have records', async (t) => {
  const examples = await Examples.mint(t);
  const inbound = await startTcp(t, examples);
  const outbound = await examples.run(t, 'outbound-tcp.yaml', outboundTo(inbound));
  const client = await RawClient.openPlain({ host: '127.0.0.1', port: outbound.port('to-cache') });
  await ping(t, client as RawClient<never>);
  t.equal(client.received, '+PONG\r\n');
  const [, out] = await outbound.records(2);
  t.match(out, { phase: 'end', request: { direction: 'outbound' }, upstream: { server: { id: BILLING } } });
  const [, there] = await inbound.records(2);
  t.match(there, { phase: 'end', principal: { id: WEB, serial: out?.principal.serial } });
});

t.test('postgresql.yaml: psql with a client certificate', { skip: missingPostgres() }, async (t) => {
  const examples = await Examples.mint(t);
  const server = await startPostgres();
  t.teardown(() => server.stop());
  const places = { '0.0.0.0:5432': '127.0.0.1:0', '127.0.0.1:5433': `127.0.0.1:${server.port}` };
  const example = await examples.run(t, 'postgresql.yaml', places);
  const ask = (who: Workload) => {
    const at = (file: string): string => join(examples.dir, 'pki', file);
    const words = `host=localhost hostaddr=127.0.0.1 port=${example.port('pg')} user=app dbname=postgres sslmode=verify-full`;
    const tls = `sslrootcert=${at('bundle.pem')} sslcert=${at(`${who}.pem`)} sslkey=${at(`${who}-key.pem`)}`;
    return promisify(execFile)(programOf('psql')!, [`${words} ${tls}`, '-Atc', 'select 6 * 7']);
  };
  t.equal((await ask('web')).stdout, '42\n');
  await t.rejects(ask('batch'), /policy_denied/);
  t.match(await example.records(3), [
    { phase: 'start', decision: { rule: 'web-uses-database' } },
    { phase: 'end', principal: { id: WEB }, request: { protocol: 'tcp' } },
    { decision: { effect: 'deny', reason: 'no_rule_matched' } },
  ]);
});

t.test('a service that speaks first is heard through both sidecars, as MySQL is', async (t) => {
  const examples = await Examples.mint(t);
  const service = await new TcpService().open();
  t.teardown(() => service.close());
  service.onSocket = (socket) => void socket.write('greeting');
  const inbound = await examples.run(t, 'tcp.yaml', {
    '0.0.0.0:6380': '127.0.0.1:0',
    '127.0.0.1:6379': `127.0.0.1:${service.port}`,
  });
  const outbound = await examples.run(t, 'outbound-tcp.yaml', outboundTo(inbound));
  const client = await RawClient.openPlain({ host: '127.0.0.1', port: outbound.port('to-cache') });
  t.teardown(() => client.destroy());
  await client.until(() => client.received === 'greeting');
  t.equal(service.received, '', 'before the client has said a byte');
});
