import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import type { BundleEndpointOptions } from '../../src/sources/bundle-endpoint-options.js';
import {
  BundleServer,
  bundleDocument,
  bundleOf,
  idOf,
  pollerOf,
  subjectsOf,
  urlOf,
} from '../support/bundle-server.js';
import { generateKeys, mintRoot } from '../support/pki.js';

const webRoot = await mintRoot('web', { subject: 'CN=web root', uriSans: [] });
const onLocalhost = await webRoot.issue([], { otherSans: ['DNS:localhost'] });
const [ca1, ca2] = [
  await mintRoot('a.test', { subject: 'CN=CA1' }),
  await mintRoot('a.test', { subject: 'CN=CA2' }),
];
const web: BundleEndpointOptions['profile'] = { kind: 'https_web', ca: [webRoot.certPem] };
const good = bundleDocument([ca1], { sequence: 5 });

type Teardown = { teardown(run: () => Promise<void>): void };

/** A poller that has the good bundle, and its endpoint, which may do what it likes from here on. */
async function trusted(t: Teardown) {
  const server = await BundleServer.start(onLocalhost);
  server.serve(good);
  const poller = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(async () => {
    await poller.endpoint.close();
    await server.close();
  });
  if (!(await poller.endpoint.poll())) throw new Error(poller.told.problems.join());
  return { server, ...poller };
}

/** A server below HTTP, for what no HTTP server would do. */
async function rawServer(t: Teardown, onSocket: (socket: TLSSocket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTlsServer({ cert: onLocalhost.chainPem, key: onLocalhost.keyPem }, (socket) => {
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return `https://localhost:${(server.address() as AddressInfo).port}/bundle`;
}

t.test(
  'whatever an endpoint serves, the last good bundle stays, and each problem is said once',
  async (t) => {
    const { server, endpoint, told } = await trusted(t);
    const leaf = await ca1.issue('spiffe://a.test/web');
    const jwk = await crypto.subtle.exportKey('jwk', (await generateKeys()).privateKey);
    const x509Key = (der: Buffer) => `{"use":"x509-svid","kty":"EC","x5c":["${der.toString('base64')}"]}`;
    const one = x509Key(ca2.certDer);
    const cases: [string, string | Buffer, RegExp][] = [
      ['nothing', '', /not sound JSON/],
      ['a page', '<!doctype html><html></html>', /not sound JSON/],
      ['PEM', ca2.certPem, /not sound JSON/],
      ['half of it', good.slice(0, good.length / 2), /not sound JSON/],
      ['text after it', `${good}x`, /not sound JSON/],
      ['a list', '[]', /not a JSON object/],
      ['null', 'null', /not a JSON object/],
      ['no keys', '{}', /keys is missing/],
      ['keys of another kind', '{"keys":{}}', /keys is missing/],
      ['keys twice', `{"keys":[],"keys":[${one}]}`, /"keys" is there twice/],
      ['not UTF-8', Buffer.from('{"keys":[],"x":"\xff"}', 'latin1'), /not UTF-8/],
      ['UTF-16', Buffer.from(good, 'utf16le'), /not sound JSON/],
      ['a byte order mark', `\ufeff${good}`, /not sound JSON/],
      ['too deep', `{"keys":${'['.repeat(10_000)}`, /nested too deeply/],
      [
        'garbage in a key',
        `{"keys":[${one},{"use":"x509-svid","kty":"EC","x5c":["AAAA"]}]}`,
        /key 2: the certificate cannot be read/,
      ],
      ['a leaf as an authority', `{"keys":[${x509Key(leaf.certDer)}]}`, /key 1: .* is not a CA/],
      [
        'a private key',
        JSON.stringify({ keys: [{ use: 'jwt-svid', kid: 'k', ...jwk }] }),
        /holds a private key/,
      ],
      ['a sequence of text', '{"keys":[],"spiffe_sequence":"9"}', /spiffe_sequence is not a whole number/],
      [
        'an older sequence',
        bundleDocument([ca2], { sequence: 4 }),
        /not taken: its sequence number 4 is older than 5/,
      ],
      [
        'an older revocation of all',
        bundleDocument([], { sequence: 4 }),
        /its sequence number 4 is older than 5/,
      ],
    ];
    for (const [name, body, why] of cases) {
      server.serve(body);
      const before = told.problems.length;
      t.equal(await endpoint.poll(), false, name);
      t.match(endpoint.status.lastError, why, name);
      t.equal(await endpoint.poll(), false, name);
      t.same(subjectsOf(endpoint.bundle), ['CN=CA1'], `${name}: the last good one stays`);
      t.ok(told.problems.length <= before + 1, `${name}: said at most once`);
      server.serve(good);
      t.equal(await endpoint.poll(), true, `${name}: and all is well again`);
    }
    t.same([told.bundles.length, told.recoveries], [1, cases.length]);
    t.same(told.problems.length, cases.length);
  },
);

t.test('an answer with another status is no bundle, whatever its body', async (t) => {
  const { server, endpoint } = await trusted(t);
  const other = bundleDocument([ca2], { sequence: 6 });
  for (const status of [201, 203, 204, 206, 304, 400, 401, 403, 404, 500, 503]) {
    server.serve(status === 204 || status === 304 ? '' : other, status);
    t.equal(await endpoint.poll(), false);
    t.equal(endpoint.status.lastError, `the endpoint answered ${status}`);
  }
  t.same(subjectsOf(endpoint.bundle), ['CN=CA1']);
});

t.test('a bundle of more than 4 MiB is not read, said or unsaid', async (t) => {
  const { server, endpoint } = await trusted(t);
  const padded = (bytes: number): string => {
    const document = bundleDocument([ca2], { sequence: 6 });
    return document + ' '.repeat(bytes - document.length);
  };
  const limit = 4 * 1024 * 1024;
  server.serve(padded(limit + 1), 200, { 'content-length': String(limit + 1) });
  t.equal(await endpoint.poll(), false);
  t.equal(endpoint.status.lastError, 'the bundle is longer than 4194304 bytes');
  let sent = 0;
  server.respond = (_request, response) => {
    const chunk = Buffer.alloc(64 * 1024, 0x20);
    const more = (): void => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      sent += chunk.length;
      response.once('drain', more);
    };
    more();
  };
  t.equal(await endpoint.poll(), false);
  t.equal(endpoint.status.lastError, 'the bundle is longer than 4194304 bytes');
  t.ok(sent < 4 * limit, `an endless body was broken off after ${sent} bytes`);
  t.same(subjectsOf(endpoint.bundle), ['CN=CA1']);
  server.serve(padded(limit));
  t.equal(await endpoint.poll(), true, 'the limit itself is allowed');
  t.same(subjectsOf(endpoint.bundle), ['CN=CA2']);
});

t.test('a bundle of a great many parts is refused before it is read', async (t) => {
  const { server, endpoint } = await trusted(t);
  const problem = async (document: string): Promise<string | undefined> => {
    server.serve(document);
    return (await endpoint.poll()) ? 'taken' : endpoint.status.lastError;
  };
  const keys = (count: number): string =>
    `{"keys":[${Array(count).fill('{}').join(',')}],"spiffe_sequence":6}`;
  t.equal(await problem(keys(500)), 'taken');
  t.equal(await problem(keys(501)), 'the bundle holds more than 500 keys');
  t.equal(await problem(keys(1_000_000)), 'the bundle holds more than 500 keys');
  t.equal(
    await problem(`{"keys":[],"x":[${'1,'.repeat(20_000)}1]}`),
    'the bundle holds more than 20000 values',
  );
  t.equal(
    await problem(`{"keys":[],"x":[${'[],'.repeat(10_000)}1]}`),
    'the bundle holds more than 20000 values',
  );
});

t.test('compressed answers are refused, whatever they hold', async (t) => {
  const { server, endpoint } = await trusted(t);
  server.serve(gzipSync(Buffer.alloc(64 * 1024 * 1024)), 200, { 'content-encoding': 'gzip' });
  t.equal(await endpoint.poll(), false);
  t.equal(endpoint.status.lastError, 'the answer is compressed, which was not asked for');
  server.serve(bundleDocument([ca2], { sequence: 6 }), 200, { 'content-encoding': 'identity' });
  t.equal(await endpoint.poll(), true);
});

t.test('one authority many times is one, and odd content types do not matter', async (t) => {
  const { server, endpoint } = await trusted(t);
  server.serve(bundleDocument(Array(500).fill(ca2), { sequence: 6 }), 200, { 'content-type': 'text/html' });
  t.equal(await endpoint.poll(), true);
  t.same(subjectsOf(endpoint.bundle), ['CN=CA2']);
});

t.test('an empty bundle distrusts all, and is said with the bundle', async (t) => {
  const { server, endpoint, told } = await trusted(t);
  server.serve(bundleDocument([], { sequence: 6 }));
  t.equal(await endpoint.poll(), true);
  t.same(subjectsOf(endpoint.bundle), []);
  t.same(told.notes, [
    undefined,
    'the bundle holds no X.509 authority: every X509-SVID of a.test is refused',
  ]);
  t.same(told.problems, []);
});

t.test('a server that does not speak, or stops in the middle, is given up in time', async (t) => {
  const silent = createServer();
  const sockets: Socket[] = [];
  silent.on('connection', (socket) => sockets.push(socket.on('error', () => undefined)));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });
  const url = `https://localhost:${(silent.address() as AddressInfo).port}/bundle`;
  const mute = pollerOf({ url: urlOf(url), profile: web });
  const connected = once(silent, 'connection');
  const polling = mute.endpoint.poll();
  await connected;
  t.same(mute.clock.waiting, [10_000, 30_000]);
  mute.clock.advance(10_000);
  t.equal(await polling, false);
  t.equal(mute.endpoint.status.lastError, 'no TLS connection within 10 seconds');
  await mute.endpoint.close();

  const { server, endpoint, clock } = await trusted(t);
  const stages: BundleServer['respond'][] = [
    () => undefined,
    (_request, response) => response.flushHeaders(),
    (_request, response) => response.write(good.slice(0, 10)),
    (_request, response) => response.writeProcessing(),
  ];
  for (const [i, stage] of stages.entries()) {
    const asked = new Promise<void>((resolve) => {
      server.respond = (request, response) => {
        stage(request, response);
        resolve();
      };
    });
    const waiting = endpoint.poll();
    await asked;
    t.same(clock.waiting, [30_000], `stage ${i}: only the whole exchange is still timed`);
    clock.advance(30_000);
    t.equal(await waiting, false);
    t.equal(endpoint.status.lastError, 'no whole answer within 30 seconds', `stage ${i}`);
  }
  t.same(clock.waiting, [300_000], 'no timer was left behind');
});

t.test('a connection that breaks at any point is a failed poll and nothing worse', async (t) => {
  const raw = async (answer: string | Buffer): Promise<string | undefined> => {
    const url = await rawServer(t, (socket) => socket.once('data', () => socket.end(answer)));
    const { endpoint } = pollerOf({ url: urlOf(url), profile: web });
    await endpoint.poll();
    await endpoint.close();
    return endpoint.bundle === undefined ? endpoint.status.lastError : 'taken';
  };
  const length = (bytes: number, more = ''): string =>
    `HTTP/1.1 200 OK\r\nContent-Length: ${bytes}\r\n${more}\r\n${good}`;
  t.equal(await raw(length(good.length)), 'taken', 'the harness serves what is sound');
  t.match(await raw(''), /no HTTP answer|closed without an answer/);
  t.match(await raw(length(good.length + 1)), /cut short/);
  t.match(await raw(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"key`), /cut short/);
  t.match(await raw(`HTTP/1.1 200 OK\r\n\r\n${good.slice(0, 30)}`), /not sound JSON/, 'no length at all');
  t.match(await raw('SSH-2.0-OpenSSH_9.9\r\n'), /no HTTP answer: .*HPE_/);
  t.match(await raw(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`), /HPE_HEADER_OVERFLOW/);
  t.match(await raw(length(good.length, 'Transfer-Encoding: chunked\r\n')), /HPE_/, 'two framings');
  t.match(
    await raw('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    /switched protocols|answered 101/,
  );
  const reset = await rawServer(t, (socket) => socket.once('data', () => socket.destroy()));
  const { endpoint } = pollerOf({ url: urlOf(reset), profile: web });
  t.equal(await endpoint.poll(), false);
  t.match(endpoint.status.lastError, /no HTTP answer|closed without an answer/);
  await endpoint.close();
});

t.test('a closed port and a server that speaks no TLS are failed polls', async (t) => {
  const closed = createServer().listen(0, '127.0.0.1');
  await once(closed, 'listening');
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  const problem = async (url: string): Promise<string | undefined> => {
    const { endpoint } = pollerOf({ url: urlOf(url), profile: web });
    t.equal(await endpoint.poll(), false);
    await endpoint.close();
    return endpoint.status.lastError;
  };
  t.match(await problem(`https://127.0.0.1:${port}/b`), /no TLS connection: .*ECONNREFUSED/);
  const plain = createServer((socket) =>
    socket
      .on('error', () => undefined)
      .resume()
      .end('SSH-2.0\r\n'),
  );
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  t.teardown(() => new Promise<void>((resolve) => plain.close(() => resolve())));
  t.match(
    await problem(`https://127.0.0.1:${(plain.address() as AddressInfo).port}/b`),
    /no TLS connection: .*SSL|no TLS connection: .*ECONNRESET/,
  );
});

t.test('TLS 1.1 is not spoken', async (t) => {
  const server = createTlsServer({
    cert: onLocalhost.chainPem,
    key: onLocalhost.keyPem,
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'DEFAULT@SECLEVEL=0',
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const url = `https://localhost:${(server.address() as AddressInfo).port}/b`;
  const { endpoint } = pollerOf({ url: urlOf(url), profile: web });
  t.equal(await endpoint.poll(), false);
  t.match(endpoint.status.lastError, /no TLS connection: .*(PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL)/);
  await endpoint.close();
});

t.test('a server of another identity gets not one byte of a request', async (t) => {
  const impostor = await ca2.issue('spiffe://a.test/b');
  let bytes = 0;
  const server = createTlsServer({ cert: impostor.chainPem, key: impostor.keyPem }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => new Promise<void>((resolve) => server.close(() => resolve())));
  server.on('tlsClientError', () => undefined); // gone before the server had finished its side
  const gone = new Promise<void>((resolve) =>
    server.on('connection', (socket: Socket) => socket.once('close', () => resolve())),
  );
  const { endpoint } = pollerOf({
    url: urlOf(`https://localhost:${(server.address() as AddressInfo).port}/b`),
    profile: { kind: 'https_spiffe', endpointId: idOf('spiffe://a.test/b') },
    bootstrap: bundleOf([ca1]),
  });
  t.equal(await endpoint.poll(), false);
  await gone;
  t.equal(bytes, 0);
  await endpoint.close();
});

t.test('an endpoint that words its errors anew each time cannot fill the log', async (t) => {
  const { server, endpoint, told } = await trusted(t);
  for (let i = 0; i < 30; i++) {
    server.redirect(`http://host-${i}.test/`);
    await endpoint.poll();
    server.serve('', 400 + i);
    t.equal(await endpoint.poll(), false);
  }
  t.equal(told.problems.length, 8);
  t.equal(endpoint.status.failures, 60, 'all of them are counted');
  server.serve(good);
  t.equal(await endpoint.poll(), true);
  t.equal(told.recoveries, 1);
});

t.test('what a server says is told on one line, in plain characters, and cut short', async (t) => {
  const nasty = `DNS:${'x'.repeat(400)}.test`;
  const server = await BundleServer.start(
    await webRoot.issue([], { otherSans: [nasty, 'DNS:a\u001b[2Jb\n'] }),
  );
  t.teardown(() => server.close());
  const { endpoint, told } = pollerOf({ url: urlOf(server.url), profile: web });
  t.equal(await endpoint.poll(), false);
  t.match(told.problems[0], /^[\x20-\x7e]+$/);
  t.ok(told.problems[0]!.length < 450);
  await endpoint.close();
});

t.test('a query, which may hold a secret, is asked but never told', async (t) => {
  const server = await BundleServer.start(onLocalhost);
  t.teardown(() => server.close());
  const { endpoint, told } = pollerOf({ url: urlOf(`${server.url}?token=s3cret`), profile: web });
  server.respond = (request, response) =>
    request.url === '/bundle?token=s3cret'
      ? response.writeHead(302, { location: '/moved?token=s3cret' }).end()
      : response.writeHead(403).end();
  t.equal(await endpoint.poll(), false);
  t.same(server.asked, ['GET /bundle?token=s3cret', 'GET /moved?token=s3cret']);
  t.notMatch(JSON.stringify([told.problems, endpoint.status]), /s3cret/);
  await endpoint.close();
});
