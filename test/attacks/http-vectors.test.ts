import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import t, { type Test } from 'tap';
import { statusesOf } from '../support/blocked.js';
import { answerOk, type ParsedRequest } from '../support/recorder-upstream.js';
import { World, waitFor } from '../support/start-proxy.js';

/** Vectors that only a whole exchange over sockets can judge; what a head alone decides is judged in the unit tests too. */
interface Vector {
  readonly id: string;
  readonly input: Readonly<Record<string, unknown>> & {
    readonly protocol?: string;
    readonly requestLine?: string;
    readonly headerLines?: readonly string[];
    readonly body?: string;
    readonly raw?: string;
    readonly request?: string;
    readonly upstreamResponse?: readonly string[];
    readonly incoming?: readonly (readonly [string, string])[];
    readonly upstreamHeaders?: readonly (readonly [string, string])[];
  };
  readonly expect: Readonly<Record<string, unknown>> & {
    readonly outcome: string;
    readonly statusAnyOf?: readonly number[];
    readonly allowed?: readonly string[];
    readonly closeConnection?: boolean;
    readonly absent?: readonly string[];
    readonly upstreamAbsent?: readonly string[];
    readonly upstreamPresent?: Readonly<Record<string, string>>;
    readonly present?: Readonly<Record<string, string>>;
    readonly upstreamBody?: string;
  };
}

const readVectors = (category: string): Vector[] =>
  JSON.parse(readFileSync(`test/data/${category}.json`, 'utf8')) as Vector[];

const ROUTES = `
      - { name: api, host: api.b.test, path: /**, upstream: u }`;
const POLICY = `version: 1
default: deny
rules:
  - { id: put, effect: deny, principals: ["spiffe://a.test/**"], destinations: [api], methods: [PUT] }
  - { id: denied, effect: deny, principals: ["spiffe://a.test/**"], destinations: [api], paths: [/denied] }
  - { id: api, effect: allow, principals: ["spiffe://a.test/**"], destinations: [api] }
`;

async function start(t: Test, extra = 'forward: { clientCert: true }'): Promise<World> {
  const world = await World.start({ routes: ROUTES, policy: POLICY, extra });
  t.teardown(() => world.close());
  return world;
}

const open = (world: World) => world.client(world.web, { servername: 'api.b.test' });

/** The octets of a vector; `<close>` ends the connection, bulk is written out. */
function octetsOf({ input }: Vector): { bytes: string; closes: boolean } {
  if (input.id === 'pipelined') return { bytes: '', closes: false };
  const lines = input.headerLines?.map((line) =>
    line.replace(/(b+) \(repeated to 1 MB\)/, 'b'.repeat(1024 * 1024)),
  );
  const text =
    input.raw ?? `${[input.requestLine, ...(lines ?? [])].join('\r\n')}\r\n\r\n${input.body ?? ''}`;
  const closes = text.endsWith('<close>');
  return { bytes: Buffer.from(text.replace('<close>', ''), 'utf8').toString('latin1'), closes };
}

async function exchange(
  world: World,
  vector: Vector,
): Promise<{ statuses: number[]; seen: ParsedRequest[]; closed: boolean; received: string }> {
  const before = new Set(world.upstream.requests.map((request) => request.header('x-request-id')));
  const client = await open(world);
  const { bytes, closes } = octetsOf(vector);
  client.send(bytes);
  if (closes) client.socket.end();
  await client.until(() => statusesOf(client).length > 0);
  if (vector.expect.closeConnection === true) await client.untilClosed(3000);
  const { closed } = client;
  client.destroy();
  const seen = world.upstream.requests.filter((request) => !before.has(request.header('x-request-id')));
  return { statuses: statusesOf(client), seen, closed, received: client.received };
}

function judgeForwarded(t: Test, { id, expect }: Vector, request: ParsedRequest | undefined): void {
  t.ok(request !== undefined, `${id}: forwarded`);
  for (const name of expect.upstreamAbsent ?? [])
    t.same(
      request?.all(name.split(' ')[0]!).filter((v) => /admin|^1$|keep|h2c|timeout|trailers/.test(v)),
      [],
      `${id}: ${name}`,
    );
  for (const [name, value] of Object.entries(expect.upstreamPresent ?? {}))
    t.same(request?.all(name), [value], `${id}: ${name}`);
  if (expect.upstreamBody !== undefined) t.equal(request?.body, expect.upstreamBody, id);
  if (expect.identityHeadersPresent === true) {
    for (const name of ['x-spiffe-id', 'x-forwarded-client-cert', 'client-cert'])
      t.equal(request?.all(name).length, 1, `${id}: ${name}`);
  }
  if (typeof expect.via === 'string')
    t.match(
      request?.header('via'),
      new RegExp(`^${expect.via.replace('<pseudonym>', 'countersign-[0-9a-f]+')}$`),
      id,
    );
  if (expect.viaMustNotContain !== undefined) t.notOk(request?.header('via')?.includes(hostname()), id);
  if (expect.connectionIsOwn === true) t.same(request?.all('connection'), ['keep-alive'], id);
  t.same(request?.all('x-spiffe-id'), ['spiffe://a.test/web'], `${id}: one identity`);
}

async function judgeRequest(t: Test, world: World, vector: Vector): Promise<void> {
  const { id, expect } = vector;
  const { statuses, seen, closed, received } = await exchange(world, vector);
  const [status = 0] = statuses;
  if (expect.outcome === 'abort') {
    t.ok(
      seen.every(({ complete }) => !complete),
      `${id}: nothing whole at the upstream`,
    );
    return;
  }
  if (expect.outcome === 'respond' || expect.outcome === 'policy') {
    const allowed = expect.statusAnyOf ?? expect.allowed?.map(Number) ?? [];
    t.ok(allowed.includes(status), `${id}: ${status}`);
    t.equal(seen.length, 0, `${id}: nothing at the upstream`);
    if (expect.closeConnection === true) t.ok(closed, `${id}: closed`);
    if (expect.noContinueSent === true) t.notMatch(received, /HTTP\/1\.1 100/, id);
    return;
  }
  t.match(expect.outcome, /^forward/, id);
  if (status !== 200) {
    t.match(expect.outcome, /-or-/, `${id}: may be refused`);
    t.equal(status, 400, id);
    t.equal(seen.length, 0, id);
    return;
  }
  t.equal(statuses.length, 1, id);
  judgeForwarded(t, vector, seen[0]);
}

const isRequestVector = ({ id, input }: Vector): boolean =>
  input.protocol !== 'HTTP/2' &&
  input.upstreamResponse === undefined &&
  (input.raw !== undefined || input.requestLine !== undefined) &&
  id !== 'http-framing/pipelined-authz';

for (const category of ['hop-by-hop', 'http-framing']) {
  t.test(`every ${category} vector of a request holds over a socket`, async (t) => {
    const world = await start(t);
    let count = 0;
    for (const vector of readVectors(category).filter(isRequestVector)) {
      count++;
      await judgeRequest(t, world, vector);
    }
    t.ok(count >= 18, `${count} vectors`);
    t.same(
      world.diagnostics.filter(({ level }) => level === 'error'),
      [],
    );
  });
}

t.test('two pipelined requests are each decided alone', async (t) => {
  const world = await start(t);
  const client = await open(world);
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: api.b.test\r\n\r\n`;
  client.send(get('/allowed') + get('/denied'));
  await client.until(() => statusesOf(client).length === 2);
  t.same(statusesOf(client), [200, 403]);
  t.same(
    world.upstream.requests.map(({ target }) => target),
    ['/allowed'],
  );
});

/** Each with an upstream that says exactly this, once; then an ordinary request shows that nothing was left over. */
async function judgeResponse(t: Test, vector: Vector): Promise<void> {
  const { id, input, expect } = vector;
  const world = await start(t);
  const [lines, body] = splitAnswer(input.upstreamResponse ?? []);
  let isFirst = true;
  world.upstream.respond = (connection) => {
    if (!isFirst) return answerOk(connection);
    isFirst = false;
    connection.socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`, 'latin1'));
  };
  const client = await open(world);
  client.send(`${input.request ?? 'GET /a HTTP/1.1'}\r\nHost: api.b.test\r\n\r\n`);
  await client.until(() => statusesOf(client).length > 0);
  const allowed = expect.statusAnyOf ?? [expect.status ?? expect.finalStatus ?? 200];
  t.ok(
    (allowed as readonly number[]).includes(statusesOf(client)[0] ?? 0),
    `${id}: ${statusesOf(client)[0]}`,
  );
  for (const name of expect.absent ?? [])
    t.notMatch(client.received.toLowerCase(), `\r\n${name}:`, `${id}: ${name}`);
  const head = client.received.split('\r\n\r\n')[0] ?? '';
  t.notMatch(head.replaceAll('\r\n', ''), /[\r\n]/, `${id}: no bare CR or LF`);
  if (expect.body === '') t.ok(client.received.endsWith('\r\n\r\n'), `${id}: no body`);
  const other = await open(world);
  const [after] = await other.ask('GET /after HTTP/1.1\r\nHost: api.b.test\r\n\r\n');
  t.equal(after?.status, 200, `${id}: the next caller`);
  t.equal(after?.body, 'ok', `${id}: the next caller reads its own answer`);
  if (/204-body|head-body|cl-te/.test(id)) {
    await waitFor(() => world.upstream.connections[0]?.closed === true);
    t.equal(world.upstream.connections.length, 2, `${id}: the connection was not used again`);
  }
}

/** An empty line ends a head: what follows is a body, or the next head after a 1xx. */
function splitAnswer(lines: readonly string[]): [string[], string] {
  const end = lines.indexOf('');
  if (end < 0) return [[...lines], ''];
  const rest = lines.slice(end + 1);
  return rest[0]?.startsWith('HTTP/') === true
    ? [[...lines.slice(0, end), '', ...rest], '']
    : [lines.slice(0, end), rest.join('\r\n')];
}

for (const vector of [...readVectors('hop-by-hop'), ...readVectors('http-framing')]) {
  const { input, id } = vector;
  if (input.upstreamResponse === undefined || input.downstream === 'HTTP/2') continue;
  t.test(`${id} holds over sockets`, (t) => judgeResponse(t, vector));
}

t.test('a 304 that tells the length of what it stands for is a whole answer', async (t) => {
  const world = await start(t);
  world.upstream.respond = (connection) =>
    connection.socket.write('HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 1234\r\n\r\n');
  const client = await open(world);
  for (let i = 1; i <= 3; i++) {
    client.send('GET /a HTTP/1.1\r\nHost: api.b.test\r\nIf-None-Match: "a"\r\n\r\n');
    await client.until(() => statusesOf(client).length === i);
    t.same(statusesOf(client).at(-1), 304);
  }
  const records = await world.untilRecords(3);
  t.ok(records.every(({ response }) => response.outcome === 'complete'));
});

t.test('early hints reach the client before the answer', async (t) => {
  const world = await start(t);
  world.upstream.respond = (connection) =>
    connection.socket.write(
      'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX-Spiffe-Id: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    );
  const client = await open(world);
  client.send('GET /a HTTP/1.1\r\nHost: api.b.test\r\n\r\n');
  await client.until(() => statusesOf(client).length > 0);
  t.match(client.received, /^HTTP\/1\.1 103 [^\r]*\r\nLink: <\/a>; rel=preload\r\n\r\nHTTP\/1\.1 200 /i);
});

t.test('every identity-header vector holds over sockets', async (t) => {
  const world = await start(t);
  for (const vector of readVectors('identity-header')) {
    const { id, input, expect } = vector;
    const response = input.incoming?.[0]?.[0]?.startsWith('@response:') === true;
    const incoming = (input.incoming ?? []).map(([name, value]) => [name.replace('@response:', ''), value]);
    const lines = incoming.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    const before = world.upstream.bytes.length;
    world.upstream.respond = response
      ? (connection) => connection.socket.write(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 0\r\n\r\n`)
      : answerOk;
    const client = await open(world);
    client.send(`GET /a HTTP/1.1\r\nHost: api.b.test\r\n${response ? '' : lines}Connection: close\r\n\r\n`);
    await client.until(() => statusesOf(client).length > 0);
    const [status] = statusesOf(client);
    if (status !== 200) {
      t.match(expect.outcome, /400/, id);
      t.equal(status, 400, id);
      t.equal(world.upstream.bytes.length, before, id);
      continue;
    }
    t.not(expect.outcome, '400', id);
    const request = world.upstream.requests.at(-1);
    for (const [name, value] of Object.entries(expect.present ?? {})) t.same(request?.all(name), [value], id);
    for (const name of expect.absent ?? []) {
      if (response) t.notMatch(client.received.toLowerCase(), `\r\n${name}:`, id);
      else t.same(request?.all(name), [], `${id}: ${name}`);
    }
  }
});

t.test(
  'client-cert vectors hold over sockets: one true field, none of the client’s, none in answers',
  async (t) => {
    const world = await start(t);
    for (const { id, input } of readVectors('client-cert')) {
      if (input.direction === 'response' || input.mtls === false || input.resumed === true) continue;
      const lines = (input.incoming ?? []).map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const trailers = (input.incomingTrailers as readonly [string, string][] | undefined) ?? [];
      const client = await open(world);
      const tail = trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const [answer] = await client.ask(
        trailers.length === 0
          ? `GET /a HTTP/1.1\r\nHost: api.b.test\r\n${lines}\r\n`
          : `POST /a HTTP/1.1\r\nHost: api.b.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n${tail}\r\n`,
      );
      t.equal(answer?.status, 200, id);
      const der = world.web.certPem.replace(/-----[^-]+-----|\s/g, '');
      t.same(world.upstream.requests.at(-1)?.all('client-cert'), [`:${der}:`], id);
      t.notMatch(world.upstream.bytes, /AAAA:|BBBB:/, id);
    }
  },
);

t.test('client-cert vectors of answers hold over sockets', async (t) => {
  const world = await start(t);
  for (const { id, input, expect } of readVectors('client-cert')) {
    if (input.direction !== 'response') continue;
    const lines = (input.upstreamHeaders ?? []).map(([name, value]) => `${name}: ${value}\r\n`).join('');
    world.upstream.respond = (connection) =>
      connection.socket.write(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 0\r\n\r\n`);
    const [answer] = await (await open(world)).ask('GET /a HTTP/1.1\r\nHost: api.b.test\r\n\r\n');
    for (const name of expect.absent ?? []) t.notOk(name in (answer?.headers ?? {}), `${id}: ${name}`);
    for (const [name, value] of (expect.headers as [string, string][] | undefined) ?? [])
      t.equal(answer?.headers[name], value, id);
  }
});

t.test(
  'without an acceptable certificate nothing is forwarded, so no Client-Cert either (client-cert, xfcc-policy)',
  async (t) => {
    const world = await start(t);
    for (const client of [
      await world.nobody({ servername: 'api.b.test' }),
      await world.client(await world.caC.issue('spiffe://a.test/web'), { servername: 'api.b.test' }),
    ]) {
      client.send(
        'GET /a HTTP/1.1\r\nHost: api.b.test\r\nClient-Cert: :AAAA:\r\nX-Forwarded-Client-Cert: URI=spiffe://a.test/user\r\n\r\n',
      );
      await client.untilClosed();
      t.same(statusesOf(client), [403]);
    }
    t.equal(world.upstream.bytes, '');
  },
);

const MODES = ['sanitize', 'sanitize_set', 'forward_only', 'append_forward'] as const;

t.test(
  'xfcc-policy: a caller that is no gateway never gets its own element through, in any mode',
  async (t) => {
    const incoming = 'By=spiffe://a.test/edge;URI=spiffe://a.test/user';
    for (const mode of MODES) {
      const world = await start(t, `forward: { xfcc: ${mode} }`);
      for (const line of ['', `X-Forwarded-Client-Cert: ${incoming}\r\n`]) {
        await (await open(world)).ask(`GET /a HTTP/1.1\r\nHost: api.b.test\r\n${line}\r\n`);
        const values = world.upstream.requests.at(-1)?.all('x-forwarded-client-cert') ?? [];
        t.notMatch(values.join(), /user/, mode);
        t.equal(values.length, mode === 'sanitize' || mode === 'forward_only' ? 0 : 1, mode);
      }
    }
  },
);

t.test('xfcc-policy vectors over mTLS hold for a trusted gateway', async (t) => {
  let count = 0;
  const worlds = new Map<string, World>();
  for (const { id, input, expect } of readVectors('xfcc-policy')) {
    const mode = String(input.mode).toLowerCase();
    const proxyUri = input.proxyUri;
    if (input.connection !== 'mtls' || proxyUri === null || !(MODES as readonly string[]).includes(mode))
      continue;
    count++;
    const gateways = 'trustedPeers: { gateways: [{ spiffeId: spiffe://a.test/web }] }';
    const world = worlds.get(mode) ?? (await start(t, `forward: { xfcc: ${mode} }\n${gateways}`));
    worlds.set(mode, world);
    const incoming = input.incoming as unknown as string | null;
    const line = incoming === null ? '' : `X-Forwarded-Client-Cert: ${incoming}\r\n`;
    await (await open(world)).ask(`GET /a HTTP/1.1\r\nHost: api.b.test\r\n${line}\r\n`);
    const values = world.upstream.requests.at(-1)?.all('x-forwarded-client-cert') ?? [];
    const expected = expect.header as string | null;
    // The details we write are fixed: Subject and URI are always among them.
    const pattern = expected
      ?.replaceAll('?', '\\?')
      .replace(
        /Hash=[0-9a-f]{64}(;URI=\S+)?$/,
        'Hash=[0-9a-f]{64};Subject="[^"]*";URI=spiffe://a\\.test/web',
      );
    if (pattern === undefined) t.same(values, [], id);
    else t.match(values.join('|'), new RegExp(`^${pattern}$`), id);
  }
  t.ok(count >= 5, `${count} vectors`);
});
