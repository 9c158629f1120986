import { once } from 'node:events';
import { createServer } from 'node:net';
import t, { type Test } from 'tap';
import { ASK, type OutboundOptions, OutboundWorld } from '../support/outbound-world.js';
import type { CertificateOptions } from '../support/pki.js';
import { changeConfig } from '../support/sources.js';
import { waitFor } from '../support/start-proxy.js';

const LEDGER = 'spiffe://b.test/ledger';

async function start(t: Test, options: OutboundOptions = {}): Promise<OutboundWorld> {
  const outbound = await OutboundWorld.start(options);
  t.teardown(() => outbound.close());
  return outbound;
}

/** Nothing of the request went out; the workload is told no more than that; the record and the metric say why. */
async function assertRefused(t: Test, outbound: OutboundWorld, why: RegExp, reason?: string): Promise<void> {
  const client = await outbound.client();
  const [answer] = await client.ask(ASK);
  t.equal(answer?.status, 502);
  t.match(JSON.parse(answer?.body ?? '{}'), { reason: 'upstream_untrusted' });
  t.notMatch(answer?.body, /spiffe/, 'the answer tells nothing of identities');
  t.equal(outbound.server.recorder.bytes, '', 'the server saw no byte');
  const [record] = await outbound.world.untilRecords(1);
  t.match(record, {
    decision: { effect: 'allow', detail: why },
    response: { status: 502, reason: 'upstream_untrusted', outcome: 'upstream_failed' },
  });
  t.equal(record?.upstream?.server, undefined, 'it proved to be nobody');
  if (reason === undefined) return;
  const line = `countersign_server_handshakes_total{expected="${LEDGER}",result="refused",reason="${reason}"} 1`;
  t.ok((await outbound.world.metrics()).includes(line), line);
}

/** Waits for a record that says why. */
const untilRefused = ({ world }: OutboundWorld, why: RegExp): Promise<void> =>
  waitFor(
    () => world.exchanges.some(({ decision }) => why.test(decision.detail ?? '')),
    5000,
    () => `a record that says ${why}`,
  );

const DAY_MS = 86_400_000;
const long = (days: number): Date => new Date(Date.now() + days * DAY_MS);

type Issue = readonly [
  name: string,
  reason: string,
  uri: string | readonly string[],
  options?: CertificateOptions,
  by?: 'caA' | 'caC',
];

const impostors: readonly Issue[] = [
  ['has another ID of the right domain', 'svid_id_invalid', 'spiffe://b.test/other'],
  ['has an ID that begins like the right one', 'svid_id_invalid', `${LEDGER}/more`],
  ['has the ID in capitals', 'svid_id_invalid', 'spiffe://b.test/LEDGER'],
  ['has its ID from the authority of another trusted domain', 'chain_untrusted', LEDGER, {}, 'caA'],
  ['has its ID from an authority that nobody trusts', 'chain_untrusted', LEDGER, {}, 'caC'],
  ['has an ID of a domain that nobody trusts', 'trust_domain_unknown', 'spiffe://c.test/ledger', {}, 'caC'],
  ['has the ID of another trusted domain', 'svid_id_invalid', 'spiffe://a.test/ledger', {}, 'caA'],
  ['is expired', 'svid_expired', LEDGER, { notBefore: long(-2), notAfter: long(-1) }],
  ['is not valid yet', 'svid_not_yet_valid', LEDGER, { notBefore: long(1), notAfter: long(2) }],
  ['has two URI names', 'svid_uri_san_count', [LEDGER, 'spiffe://b.test/other']],
  ['has the right URI name twice', 'svid_uri_san_count', [LEDGER, LEDGER]],
  ['has no URI name', 'svid_uri_san_count', [], { otherSans: ['DNS:localhost', 'IP:127.0.0.1'] }],
  ['is fit for a client only', 'svid_extended_key_usage', LEDGER, { extendedKeyUsage: ['clientAuth'] }],
  ['is a CA', 'svid_is_ca', LEDGER, { ca: true }],
  ['has no digitalSignature', 'svid_key_usage', LEDGER, { keyUsage: ['keyEncipherment'] }],
];

for (const [name, reason, uri, options, by] of impostors) {
  t.test(`a server whose certificate ${name} gets no byte of a request`, async (t) => {
    const outbound = await start(t, {
      server: (world) => world[by ?? 'caB'].issue(uri, options),
    });
    await assertRefused(t, outbound, new RegExp(`^127\\.0\\.0\\.1:\\d+: ${reason}`), reason);
  });
}

t.test('a server that shows no certificate gets no byte of a request', async (t) => {
  const outbound = await start(t, {
    server: async () => undefined,
    serverTls: { ciphers: 'aNULL:@SECLEVEL=0', maxVersion: 'TLSv1.2', requestCert: false },
  });
  await assertRefused(t, outbound, /handshake failure|ssl|alert/i);
});

t.test('a server that speaks TLS 1.1 at most gets no byte of a request', async (t) => {
  const outbound = await start(t, {
    serverTls: { ciphers: 'DEFAULT:@SECLEVEL=0', minVersion: 'TLSv1', maxVersion: 'TLSv1.1' },
  });
  await assertRefused(t, outbound, /version|protocol/i);
  t.equal(outbound.server.handshakes, 0);
});

t.test('a server that speaks no TLS gets no byte of a request, only the start of a handshake', async (t) => {
  let heard = '';
  const plain = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1');
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  }).listen(0, '127.0.0.1');
  await once(plain, 'listening');
  t.teardown(() => plain.close());
  const { port } = plain.address() as { port: number };
  const outbound = await start(t, { target: `https://127.0.0.1:${port}` });
  await assertRefused(t, outbound, /wrong version|packet length|ssl/i);
  t.notMatch(heard, /ledger|HTTP/);
});

t.test(
  'a server that becomes somebody else between two connections is found out: no session is resumed',
  async (t) => {
    const outbound = await start(t, { upstreamExtra: ', retries: 0' });
    const { server, world } = outbound;
    server.recorder.respond = ({ socket }) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
    const client = await outbound.client();
    t.equal((await client.ask(ASK))[0]?.status, 200);
    const before = server.recorder.bytes;
    server.show(await world.caB.issue('spiffe://b.test/other'));
    t.equal((await client.ask(ASK))[0]?.status, 502);
    t.equal(server.recorder.bytes, before, 'it got nothing of the second request');
    const [, record] = await world.untilRecords(2);
    t.match(record?.decision.detail, /svid_id_invalid: it is spiffe:\/\/b\.test\/other/);
  },
);

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(`no session is offered for resumption over ${version}`, async (t) => {
    const outbound = await start(t, { serverTls: { minVersion: version, maxVersion: version } });
    const { server } = outbound;
    const reused: boolean[] = [];
    server.tls.on('secureConnection', (socket) => reused.push(socket.isSessionReused()));
    server.recorder.respond = ({ socket }) =>
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
    const client = await outbound.client();
    for (let i = 0; i < 3; i++) t.equal((await client.ask(ASK))[0]?.status, 200);
    t.same(reused, [false, false, false]);
  });
}

t.test(
  'a server behind intermediates is verified by what it sends of them, and refused where it sends none',
  async (t) => {
    const outbound = await start(t, {
      server: async ({ caB }) => (await (await caB.intermediate()).intermediate()).issue(LEDGER),
      upstreamExtra: ', retries: 0',
    });
    const { server, world } = outbound;
    const client = await outbound.client();
    t.equal((await client.ask(ASK))[0]?.status, 200);
    const bare = await (await world.caB.intermediate()).issue(LEDGER);
    server.show({ ...bare, chainPem: bare.certPem });
    for (const { socket } of server.recorder.connections) socket.destroy();
    const seen = server.recorder.bytes;
    await waitFor(async () => (await client.ask(ASK))[0]?.status === 502);
    t.equal(server.recorder.bytes, seen);
    await untilRefused(outbound, /chain_untrusted/);
  },
);

t.test('a name is asked for (SNI), an address is not', async (t) => {
  const byAddress = await start(t);
  await (await byAddress.client()).ask(ASK);
  t.same(byAddress.server.serverNames, [false]);
  const byName = await start(t);
  const { world, server } = byName;
  changeConfig(world, (text) => text.replace(/https:\/\/127\.0\.0\.1:(\d+)/, 'https://localhost:$1'));
  await world.app.reload();
  t.equal((await (await byName.client()).ask(ASK))[0]?.status, 200);
  t.same(server.serverNames, ['localhost']);
});

t.test('a pattern takes the workloads that it matches, and no other', async (t) => {
  const outbound = await start(t, {
    spiffeId: 'spiffe://b.test/ns/*/ledger',
    server: ({ caB }) => caB.issue('spiffe://b.test/ns/prod/ledger'),
    upstreamExtra: ', retries: 0',
  });
  const client = await outbound.client();
  t.equal((await client.ask(ASK))[0]?.status, 200);
  outbound.server.show(await outbound.world.caB.issue('spiffe://b.test/ns/prod/eu/ledger'));
  for (const { socket } of outbound.server.recorder.connections) socket.destroy();
  await waitFor(async () => (await client.ask(ASK))[0]?.status === 502);
  await untilRefused(outbound, /svid_id_invalid/);
});
