import { X509Certificate } from 'node:crypto';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { mintRoot } from '../support/pki.js';
import { World } from '../support/start-proxy.js';

const shown = (port: number, servername: string | undefined, ca: string): Promise<[string, boolean]> =>
  new Promise((resolve, reject) => {
    const socket: TLSSocket = connect(
      {
        host: '127.0.0.1',
        port,
        ...(servername === undefined ? {} : { servername }),
        ca,
        rejectUnauthorized: false,
      },
      () => {
        const certificate: DetailedPeerCertificate = socket.getPeerCertificate(true);
        resolve([new X509Certificate(certificate.raw).subjectAltName ?? '', socket.authorized]);
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });

async function start(t: Test) {
  const web = await mintRoot('web.test');
  const issue = (name: string) =>
    web.issue('spiffe://web.test/server', { otherSans: [`DNS:${name}`, `DNS:*.${name}`] });
  const server = await issue('api.example');
  const world = await World.start({
    listenerExtra: '\n    serverCertificate: { certificate: server.pem, key: server-key.pem }',
    files: { 'server.pem': server.chainPem, 'server-key.pem': server.keyPem },
  });
  t.teardown(() => world.close());
  return { world, web, issue };
}

t.test(
  'a client that asks for a name of the server certificate sees it, and any other sees our SVID',
  async (t) => {
    const { world, web } = await start(t);
    const at = (name: string | undefined) => shown(world.port, name, web.certPem);
    t.match(await at('api.example'), [/DNS:api\.example/, true]);
    t.match(await at('API.example'), [/DNS:api\.example/, true], 'whatever its case');
    t.match(await at('x.api.example'), [/DNS:\*\.api\.example/, true]);
    for (const name of ['x.y.api.example', 'svc.test', 'apiexample', 'example', undefined])
      t.match(await at(name), [/URI:spiffe:\/\/a\.test\/proxy/, false], name ?? 'none');
  },
);

t.test('client certificates are read and judged whatever name was asked for', async (t) => {
  const { world } = await start(t);
  const client = await world.client(world.web, { servername: 'api.example' });
  const request = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
  t.equal((await client.ask(request))[0]?.status, 421, 'it asked TLS for another name than the route is of');
  const [record] = await world.untilRecords(1);
  t.equal(record?.principal.id, 'spiffe://a.test/web');
  t.equal(record?.tls.resumed, false);
  const stranger = await world.client(await world.caC.issue('spiffe://c.test/web'), {
    servername: 'api.example',
  });
  t.equal((await stranger.ask(request))[0]?.status, 403);
});

t.test('a renewed server certificate is shown without a restart', async (t) => {
  const { world, web, issue } = await start(t);
  const next = await issue('next.example');
  const { sequence: before } = await world.snapshot();
  world.replace('server.pem', next.chainPem);
  world.replace('server-key.pem', next.keyPem);
  await world.untilSnapshot(({ sequence }) => sequence > before);
  t.match(await shown(world.port, 'next.example', web.certPem), [/DNS:next\.example/, true]);
  t.match(await shown(world.port, 'api.example', web.certPem), [/URI:spiffe:\/\/a\.test\/proxy/, false]);
});
