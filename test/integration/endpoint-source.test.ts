import { renameSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { EndpointSource } from '../../src/sources/endpoint-source.js';
import { readPeerChain } from '../../src/tls/peer-chain.js';
import { A_TEST, BundleServer, urlOf } from '../support/bundle-server.js';
import { mintRoot } from '../support/pki.js';
import { waitFor } from '../support/start-proxy.js';

t.test('however often its files are looked at when they change, an endpoint has one client', async (t) => {
  const web = await mintRoot('web.test');
  const server = await BundleServer.start(
    await web.issue('spiffe://web.test/x', { otherSans: ['DNS:localhost'] }),
  );
  t.teardown(() => server.close());
  const sockets = new Set<Socket>();
  server.respond = ({ socket }) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  };
  const caFile = join(t.testdir(), 'ca.pem');
  writeFileSync(caFile, web.certPem);
  const source = new EndpointSource(
    A_TEST,
    { kind: 'endpoint', url: urlOf(server.url), profile: { kind: 'https_web', caFile } },
    {
      adopted: () => undefined,
      spoke: () => undefined,
      noted: () => undefined,
      nowMs: Date.now,
      clockSkewMs: 0,
      readPeer: readPeerChain,
      bundles: () => new Map(),
      checkSvid: () => undefined,
    },
  );
  await source.loadNow();
  await waitFor(() => sockets.size === 1);
  const asked = server.asked.length;
  writeFileSync(`${caFile}.tmp`, `${web.certPem}${(await mintRoot('other.test')).certPem}`);
  renameSync(`${caFile}.tmp`, caFile);
  await Promise.all([source.check(), source.check()]);
  await waitFor(() => server.asked.length > asked);
  source.close(false);
  await waitFor(
    () => sockets.size === 0,
    3000,
    () => `${sockets.size} connections that nobody closes`,
  );
  t.equal(sockets.size, 0);
});
