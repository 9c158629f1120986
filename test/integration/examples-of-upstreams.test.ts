import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Examples } from '../support/example.js';
import { MtlsServer } from '../support/outbound-world.js';
import { RawClient } from '../support/raw-client.js';

const WEB = 'spiffe://example.org/ns/prod/sa/web';
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

async function listen(t: Test, server: Server, path?: string): Promise<number> {
  await once(path === undefined ? server.listen(0, '127.0.0.1') : server.listen(path), 'listening');
  t.teardown(() => void server.close());
  return path === undefined ? (server.address() as AddressInfo).port : 0;
}

/** Says its name, and who called. */
const says =
  (name: string): RequestListener =>
  (request, response) => {
    response.setHeader('connection', 'close');
    response.end(`${name} for ${request.headers['x-spiffe-id'] ?? 'nobody'}`);
  };

t.test(
  'upstreams.yaml: three targets in turn, a unix socket and TLS by an authority of its own',
  async (t) => {
    const examples = await Examples.mint(t);
    examples.write('policy.yaml', POLICY);
    const socket = join(examples.dir, 'files.sock');
    await listen(t, createServer(says('files')), socket);
    const { chainPem: cert, keyPem: key } = examples.svid('sidecar');
    const payments = await listen(t, createHttps({ cert, key }, says('payments')));
    const example = await examples.run(t, 'upstreams.yaml', {
      '0.0.0.0:8443': '127.0.0.1:0',
      '127.0.0.1:8081': `127.0.0.1:${await listen(t, createServer(says('billing-1')))}`,
      '127.0.0.1:8082': `127.0.0.1:${await listen(t, createServer(says('billing-2')))}`,
      '127.0.0.1:8083': `127.0.0.1:${await listen(t, createServer(says('billing-3')))}`,
      '/run/files/app.sock': socket,
      'payments.internal:8443': `127.0.0.1:${payments}`,
    });
    const client = await RawClient.open({ identity: examples.svid('web'), port: example.port('inbound') });
    t.teardown(() => client.destroy());
    const seen: (string | undefined)[] = [];
    for (let i = 0; i < 3; i++) seen.push((await client.ask(get('/invoices/7')))[0]?.body);
    t.same(seen.sort(), [`billing-1 for ${WEB}`, `billing-2 for ${WEB}`, `billing-3 for ${WEB}`]);
    t.match((await client.ask(get('/files/a')))[0], { status: 200, body: `files for ${WEB}` });
    t.match((await client.ask(get('/payments/a')))[0], { status: 200, body: `payments for ${WEB}` });
    const records = await example.records(5);
    t.equal(new Set(records.slice(0, 3).map(({ upstream }) => upstream.target)).size, 3);
    t.match(records[4], { request: { destination: 'payments' }, response: { status: 200 } });
  },
);

t.test('unix-sockets.yaml: a service, an app and an admin that no port leads to', async (t) => {
  const examples = await Examples.mint(t);
  const at = (name: string): string => join(examples.dir, name);
  await listen(t, createServer(says('billing')), at('app.sock'));
  const ledger = await MtlsServer.open(examples.svid('ledger'));
  t.teardown(() => ledger.close());
  const example = await examples.run(t, 'unix-sockets.yaml', {
    '0.0.0.0:8443': '127.0.0.1:0',
    '/run/billing/app.sock': at('app.sock'),
    '/run/countersign/ledger.sock': at('ledger.sock'),
    '/run/countersign/admin.sock': at('admin.sock'),
    'ledger.internal:8443': `localhost:${ledger.port}`,
  });
  t.equal(statSync(at('ledger.sock')).mode & 0o777, 0o660);
  t.equal(statSync(at('admin.sock')).mode & 0o777, 0o600);
  const caller = await RawClient.open({ identity: examples.svid('web'), port: example.port('inbound') });
  const app = await RawClient.openPlain({ path: at('ledger.sock') });
  const operator = await RawClient.openPlain({ path: at('admin.sock') });
  for (const client of [caller, app, operator]) t.teardown(() => client.destroy());
  t.match((await caller.ask(get('/invoices/7')))[0], { status: 200, body: `billing for ${WEB}` });
  t.match((await app.ask(get('/entries/7')))[0], { status: 200 });
  t.match((await operator.ask(get('/readyz')))[0], { status: 200 });
  t.match(await example.records(2), [
    { principal: { id: WEB }, request: { listener: 'inbound' } },
    {
      principal: { id: 'spiffe://example.org/ns/prod/sa/billing' },
      request: { listener: 'to-ledger', direction: 'outbound' },
      upstream: { server: { id: 'spiffe://example.org/ns/prod/sa/ledger' } },
    },
  ]);
});

const POLICY = `version: 1
default: deny
rules:
  - { id: web-reads, effect: allow, principals: ["${WEB}"], destinations: [billing, files, payments], methods: [GET] }
`;
