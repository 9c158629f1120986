import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Roots } from '../../../src/upstream/roots.js';
import { RootsConnector } from '../../../src/upstream/roots-connector.js';
import { Upstream } from '../../../src/upstream/upstream.js';
import { mintRoot } from '../../support/pki.js';
import { Caller, Counts, postOf, requestOf, upstreamConfig } from './caller.js';

const ca = await mintRoot('ca.test');
const svid = await ca.issue([], { otherSans: ['DNS:localhost'] });
const tls = { cert: svid.chainPem, key: svid.keyPem };

interface Seen {
  readonly version: string;
  readonly method: string | undefined;
}

/** A server that answers over what ALPN settles; `sockets` are the connections that it has. */
class Spoken {
  readonly seen: Seen[] = [];
  connections = 0;
  readonly #sockets = new Set<Socket>();
  #server: Http2SecureServer | ReturnType<typeof createHttps> | undefined;

  async open(kind: 'h2' | 'http/1.1', port = 0): Promise<number> {
    const answer = (
      request: { httpVersion: string; method?: string | undefined },
      response: { end(text: string): void },
    ): void => {
      this.seen.push({ version: request.httpVersion, method: request.method });
      response.end('ok');
    };
    const server =
      kind === 'h2' ? createSecureServer({ ...tls }, answer as never) : createHttps(tls, answer as never);
    server.on('secureConnection', (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }
}

function upstreamAt(t: Test, port: number): Upstream {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-auto-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'ca.pem'), ca.certPem);
  const roots = new Roots(join(folder, 'ca.pem'));
  t.equal(roots.read(), undefined);
  const target = { address: { kind: 'tcp', host: 'localhost', port }, name: `localhost:${port}` } as const;
  const ignore = (): void => undefined;
  const parts = { metrics: new Counts(), diagnostics: { info: ignore, warn: ignore, error: ignore } };
  const config = upstreamConfig({ protocol: 'auto', targets: [target], tls: { kind: 'roots' } });
  const upstream = new Upstream(config, parts, (at) => new RootsConnector(at, roots, undefined));
  t.teardown(() => upstream.destroy());
  return upstream;
}

for (const [kind, version] of [
  ['h2', '2.0'],
  ['http/1.1', '1.1'],
] as const) {
  t.test(`a server that settles on ${kind} is spoken to in it, from the first call on`, async (t) => {
    const server = new Spoken();
    const upstream = upstreamAt(t, await server.open(kind));
    t.teardown(() => server.close());
    const callers = [
      new Caller(t).send(upstream, requestOf('GET', '/1')),
      new Caller(t).send(upstream, postOf('/2', ['hello'], 5)),
      new Caller(t).send(upstream, requestOf('GET', '/3')),
    ];
    for (const caller of callers) t.match(await caller.over, { status: 200, body: 'ok', failure: undefined });
    t.equal((await new Caller(t).send(upstream, requestOf('GET', '/4')).over).status, 200);
    t.same(
      server.seen.map((one) => one.version),
      [version, version, version, version],
    );
    if (kind === 'h2') t.equal(server.connections, 1, 'what settled it carries the calls');
  });

  t.test(`a server that speaks ${kind} no more is understood again`, async (t) => {
    const server = new Spoken();
    const port = await server.open(kind);
    const upstream = upstreamAt(t, port);
    const ask = async (): Promise<Caller> => new Caller(t).send(upstream, requestOf('GET', '/')).over;
    t.equal((await ask()).status, 200);
    await server.close();
    const next = new Spoken();
    await next.open(kind === 'h2' ? 'http/1.1' : 'h2', port);
    t.teardown(() => next.close());
    let caller = await ask();
    for (let i = 0; i < 3 && caller.failure !== undefined; i++) caller = await ask();
    t.match(caller, { status: 200, body: 'ok' });
    t.equal(next.seen.at(-1)?.version, kind === 'h2' ? '1.1' : '2.0');
  });
}

t.test('where nobody answers every call hears why, and the next call tries again', async (t) => {
  const server = new Spoken();
  const port = await server.open('h2');
  await server.close();
  const upstream = upstreamAt(t, port);
  const callers = [1, 2, 3].map(() => new Caller(t).send(upstream, requestOf('GET', '/')));
  const gone = new Caller(t).send(upstream, requestOf('GET', '/'));
  gone.call?.abort();
  for (const caller of callers) t.equal((await caller.over).code, 'upstream_unreachable');
  t.equal(gone.failure, undefined);
  await server.open('h2', port);
  t.teardown(() => server.close());
  t.equal((await new Caller(t).send(upstream, requestOf('GET', '/')).over).status, 200);
});

t.test('what is destroyed while it finds out fails what waits', async (t) => {
  const server = new Spoken();
  const upstream = upstreamAt(t, await server.open('h2'));
  t.teardown(() => server.close());
  const caller = new Caller(t).send(upstream, requestOf('GET', '/'));
  upstream.destroy();
  t.equal((await caller.over).code, 'upstream_reset');
  t.equal((await new Caller(t).send(upstream, requestOf('GET', '/')).over).code, 'upstream_reset');
});
