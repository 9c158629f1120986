import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import t, { type Test } from 'tap';
import { mintRoot } from '../support/pki.js';
import { World } from '../support/start-proxy.js';

const ca = await mintRoot('ca.test');
const svid = await ca.issue([], { otherSans: ['DNS:localhost'] });

type Ending = 'goodbye' | 'fin';

/** A TLS server that says something and then ends, with TLS's goodbye or with nothing but TCP's. */
async function server(t: Test, said: string, ending: Ending): Promise<number> {
  const tls = createServer({ cert: svid.chainPem, key: svid.keyPem });
  const transports = new Map<number | undefined, Socket>();
  tls.on('connection', (transport: Socket) => transports.set(transport.remotePort, transport));
  tls.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write(said, () => {
        if (ending === 'goodbye') socket.end();
        else transports.get(socket.remotePort)?.end();
      });
    });
  });
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  t.teardown(() => {
    for (const transport of transports.values()) transport.destroy();
    tls.close();
  });
  return (tls.address() as AddressInfo).port;
}

const UNTIL_CLOSE = 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it';

for (const [ending, outcome] of [
  ['goodbye', 'complete'],
  ['fin', 'upstream_cut_short'],
] as const) {
  t.test(`RFC 9112 9.8: a body that lasts until ${ending} of a TLS server is ${outcome}`, async (t) => {
    const port = await server(t, UNTIL_CLOSE, ending);
    const world = await World.start({
      files: { 'ca.pem': ca.certPem },
      upstreams: `\n  u: { url: "https://localhost:${port}", protocol: http1, tls: { ca: ca.pem } }`,
    });
    t.teardown(() => world.close());
    const client = await world.client();
    client.send('GET /public/a HTTP/1.1\r\nHost: svc.test\r\nConnection: close\r\n\r\n');
    await client.untilClosed();
    t.match(client.received, /half of it/);
    t.equal(client.received.endsWith('0\r\n\r\n'), ending === 'goodbye', 'what was cut short is not ended');
    const [record] = await world.untilRecords(1);
    t.equal(record?.response.outcome, outcome);
    if (ending === 'fin') t.equal(record?.response.reason, 'upstream_reset');
  });

  t.test(`RFC 8446 6.1: a TCP connection that ends by ${ending} of a TLS server is ${outcome}`, async (t) => {
    const port = await server(t, 'half of it', ending);
    const world = await World.start({
      files: { 'ca.pem': ca.certPem },
      protocol: 'tcp',
      routes: '\n      - { name: r1, upstream: u }',
      policy: `version: 1
default: deny
rules: [{ id: all, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r1] }]
`,
      upstreams: `\n  u: { url: "tls://localhost:${port}", tls: { ca: ca.pem } }`,
    });
    t.teardown(() => world.close());
    const client = await world.client(world.web, { ALPNProtocols: undefined as never });
    client.send('hello');
    await client.until(() => client.received === 'half of it');
    client.socket.end();
    await client.untilClosed();
    const records = await world.untilRecords(2);
    t.match(records[1], { phase: 'end', response: { outcome } });
  });
}
