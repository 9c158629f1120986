import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer as createPlainServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import t, { type Test } from 'tap';
import { Failure } from '../../../src/reasons.js';
import type { Carrier, OpenOptions } from '../../../src/upstream/connector.js';
import { Roots } from '../../../src/upstream/roots.js';
import { RootsConnector } from '../../../src/upstream/roots-connector.js';
import { mintRoot, type Svid } from '../../support/pki.js';
import { waitFor } from '../../support/start-proxy.js';

const ca = await mintRoot('ca.test');
const other = await mintRoot('other.test');
const good = await ca.issue([], { otherSans: ['DNS:svc.test', 'DNS:localhost'] });

class Server {
  readonly sockets: TLSSocket[] = [];
  bytes = '';

  private constructor(readonly port: number) {}

  static async open(t: Test, svid: Svid, change: TlsOptions = {}): Promise<Server> {
    const tls = createServer({
      cert: svid.chainPem,
      key: svid.keyPem,
      requestCert: true,
      rejectUnauthorized: false,
      ...change,
    });
    tls.listen(0, '127.0.0.1');
    await once(tls, 'listening');
    const server = new Server((tls.address() as AddressInfo).port);
    tls.on('secureConnection', (socket) => {
      server.sockets.push(socket);
      socket.on('data', (chunk) => {
        server.bytes += chunk.toString('latin1');
      });
      socket.on('error', () => undefined);
    });
    tls.on('tlsClientError', () => undefined);
    t.teardown(() => {
      for (const socket of server.sockets) socket.destroy();
      tls.close();
    });
    return server;
  }
}

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-roots-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

function rootsOf(t: Test, pem: string): Roots {
  const file = join(folderOf(t), 'ca.pem');
  writeFileSync(file, pem);
  const roots = new Roots(file);
  t.equal(roots.read(), undefined);
  return roots;
}

interface Ask extends Partial<OpenOptions> {
  readonly host?: string;
  readonly serverName?: string;
}

async function open(t: Test, port: number, roots: Roots, ask: Ask = {}): Promise<Carrier | Failure> {
  const { host = 'localhost', serverName, ...options } = ask;
  const address = { kind: 'tcp', host, port } as const;
  const connector = new RootsConnector({ address, name: `${host}:${port}` }, roots, serverName);
  const result = await new Promise<Carrier | Failure>((resolve) => {
    connector.open({ connectMs: 2000, ...options }, resolve);
  });
  if (!(result instanceof Failure)) t.teardown(() => result.socket.destroy());
  return result;
}

async function refused(t: Test, port: number, roots: Roots, ask: Ask, why: RegExp): Promise<void> {
  const result = await open(t, port, roots, ask);
  t.match(result, { code: 'upstream_untrusted' });
  t.match((result as Failure).message, why);
}

t.test('a server with a certificate of the private authority and the right name is reached', async (t) => {
  const server = await Server.open(t, good, { ALPNProtocols: ['h2', 'http/1.1'] });
  const roots = rootsOf(t, ca.certPem);
  const carrier = (await open(t, server.port, roots, { alpn: ['http/1.1'] })) as Carrier;
  t.match(carrier, { alpn: 'http/1.1', server: { target: `localhost:${server.port}`, identity: undefined } });
  t.equal(carrier.refusal(), undefined);
  const both = (await open(t, server.port, roots, { alpn: ['h2', 'http/1.1'] })) as Carrier;
  t.equal(both.alpn, 'h2');
  const none = (await open(t, server.port, roots)) as Carrier;
  t.equal(none.alpn, undefined);
  await waitFor(() => server.sockets.length === 3);
  t.equal(server.sockets[0]?.servername, 'localhost');
  t.same(server.sockets[0]?.getPeerCertificate(), {}, 'no certificate of ours is shown');
  t.notOk(
    server.sockets.some((socket) => socket.isSessionReused()),
    'each verifies anew',
  );
});

t.test('the name in the configuration is asked for and verified in place of the host', async (t) => {
  const server = await Server.open(t, good);
  const roots = rootsOf(t, ca.certPem);
  const carrier = (await open(t, server.port, roots, {
    host: '127.0.0.1',
    serverName: 'svc.test',
  })) as Carrier;
  t.notOk(carrier instanceof Failure);
  await waitFor(() => server.sockets.length === 1);
  t.equal(server.sockets[0]?.servername, 'svc.test');
  await refused(t, server.port, roots, { serverName: 'else.test' }, /altnames/);
});

t.test('an address is verified as an address, and never sent as a name', async (t) => {
  const roots = rootsOf(t, ca.certPem);
  const named = await Server.open(t, good);
  await refused(t, named.port, roots, { host: '127.0.0.1' }, /IP: 127\.0\.0\.1/);
  const svid = await ca.issue([], { otherSans: ['IP:127.0.0.1'] });
  const server = await Server.open(t, svid);
  t.notOk((await open(t, server.port, roots, { host: '127.0.0.1' })) instanceof Failure);
  await waitFor(() => server.sockets.length === 1);
  t.notOk(server.sockets[0]?.servername);
});

t.test(
  'another name, another authority, none, too late, too early, too old a protocol: all untrusted',
  async (t) => {
    const roots = rootsOf(t, ca.certPem);
    const hour = 3_600_000;
    const sans = { otherSans: ['DNS:localhost'] };
    const wrongName = await ca.issue([], { otherSans: ['DNS:svc.test'] });
    await refused(t, (await Server.open(t, wrongName)).port, roots, {}, /altnames/);
    const foreign = await other.issue([], sans);
    await refused(t, (await Server.open(t, foreign)).port, roots, {}, /unable to|self.signed/);
    const selfSigned = await mintRoot('self.test', {
      otherSans: ['DNS:localhost'],
      ca: false,
      keyUsage: ['digitalSignature'],
      extendedKeyUsage: ['serverAuth'],
    });
    const self = { ...good, chainPem: selfSigned.certPem, keyPem: selfSigned.keyPem };
    await refused(t, (await Server.open(t, self)).port, roots, {}, /self.signed/);
    const past = await ca.issue([], {
      ...sans,
      notBefore: new Date(Date.now() - 2 * hour),
      notAfter: new Date(Date.now() - hour),
    });
    await refused(t, (await Server.open(t, past)).port, roots, {}, /expired/);
    const future = await ca.issue([], {
      ...sans,
      notBefore: new Date(Date.now() + hour),
      notAfter: new Date(Date.now() + 2 * hour),
    });
    await refused(t, (await Server.open(t, future)).port, roots, {}, /not yet valid/);
    const clientOnly = await ca.issue([], { ...sans, extendedKeyUsage: ['clientAuth'] });
    await refused(t, (await Server.open(t, clientOnly)).port, roots, {}, /purpose/);
    const old = await Server.open(t, good, {
      maxVersion: 'TLSv1.1',
      minVersion: 'TLSv1',
      ciphers: 'ALL@SECLEVEL=0',
    });
    await refused(t, old.port, roots, {}, /version|protocol|alert/i);
    t.equal(old.bytes, '');
  },
);

t.test('a private server is not trusted by the public roots, nor by a file that names none', async (t) => {
  const server = await Server.open(t, good);
  const roots = new Roots(undefined);
  t.equal(roots.read(), undefined);
  await refused(t, server.port, roots, {}, /unable to/);
  t.equal(server.bytes, '');
});

t.test(
  'a file of authorities that is empty, broken, half or away is refused by name; nothing is sent',
  async (t) => {
    const server = await Server.open(t, good);
    const file = join(folderOf(t), 'ca.pem');
    for (const [content, why] of [
      ['', /holds no certificate/],
      ['\n\n', /holds no certificate/],
      [ca.certPem.slice(0, 300), /line/],
      [`${ca.certPem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`, /./],
      [`${ca.certPem}${ca.keyPem}`, /PRIVATE KEY/],
      [undefined, /ENOENT/],
    ] as const) {
      if (content === undefined) rmSync(file);
      else writeFileSync(file, content);
      const roots = new Roots(file);
      const problem = roots.read();
      t.match(problem, why);
      t.ok(problem?.startsWith(`${file}: `));
      await refused(t, server.port, roots, {}, /holds no authorities/);
    }
    t.equal(server.sockets.length, 0);
  },
);

t.test('a changed file: what is open carries nothing more; a broken one changes nothing', async (t) => {
  const server = await Server.open(t, good);
  const roots = rootsOf(t, ca.certPem);
  const carrier = (await open(t, server.port, roots)) as Carrier;
  writeFileSync(roots.file!, `# the same\n${ca.certPem}`);
  t.equal(roots.read(), undefined);
  t.equal(carrier.refusal(), undefined, 'the same authorities are no change');
  writeFileSync(roots.file!, 'rubbish');
  writeFileSync(roots.file!, '');
  t.match(roots.read(), /holds no certificate/);
  t.equal(carrier.refusal(), undefined);
  t.notOk((await open(t, server.port, roots)) instanceof Failure, 'the last good ones stand');
  writeFileSync(roots.file!, other.certPem);
  t.equal(roots.read(), undefined);
  t.match(carrier.refusal()?.message, /have changed/);
  await refused(t, server.port, roots, {}, /unable to/);
});

t.test('what does not speak TLS is untrusted; what hangs up or is silent is out of reach', async (t) => {
  const roots = rootsOf(t, ca.certPem);
  for (const [act, code] of [
    ['rubbish', 'upstream_untrusted'],
    ['close', 'upstream_unreachable'],
    ['silence', 'upstream_connect_timeout'],
  ] as const) {
    const plain = createPlainServer((socket) => {
      socket.on('error', () => undefined);
      t.teardown(() => socket.destroy());
      if (act === 'rubbish') socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
      if (act === 'close') socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(plain, 'listening');
    t.teardown(() => plain.close());
    const { port } = plain.address() as AddressInfo;
    t.match(await open(t, port, roots, { connectMs: 300, host: '127.0.0.1' }), { code }, act);
  }
});
