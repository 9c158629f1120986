import t, { type Test } from 'tap';
import { isBlocked } from '../support/blocked.js';
import { holdInvariants } from '../support/invariants.js';
import type { ParsedRequest } from '../support/recorder-upstream.js';
import { World } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n';
const ADMIN = 'spiffe://a.test/admin';
const WEB = 'spiffe://a.test/web';

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

/** Sends a GET with these lines as `web` and gives what the upstream got. */
async function seenOf(world: World, lines: string, head = GET): Promise<ParsedRequest> {
  const client = await world.client();
  const [answer] = await client.ask(`${head}${lines}\r\n`);
  if (answer?.status !== 200) throw new Error(`${answer?.status}: ${lines}`);
  return world.upstream.requests.at(-1)!;
}

/** All values of headers that a CGI, WSGI or PHP server would file under this name. */
const aliasesOf = (request: ParsedRequest, name: string): string[] =>
  request.headers
    .filter(([key]) => key.toLowerCase().replace(/[^a-z0-9]/g, '-') === name)
    .map(([, value]) => value);

const identityConfig =
  'forward: { clientCert: true, headers: { X-Remote-User: "{id}", X-Domain: "{trustDomain}" } }';

/** Every header that tells who is calling says it once, and truly. */
function tellsTheTruth(t: Test, world: World, request: ParsedRequest, what: string): void {
  t.same(aliasesOf(request, 'x-spiffe-id'), [WEB], `${what}: x-spiffe-id`);
  t.same(aliasesOf(request, 'x-remote-user'), [WEB], `${what}: x-remote-user`);
  t.same(aliasesOf(request, 'x-domain'), ['a.test'], `${what}: x-domain`);
  const [xfcc, ...more] = aliasesOf(request, 'x-forwarded-client-cert');
  t.same(more, [], `${what}: one XFCC`);
  t.match(xfcc, new RegExp(`;URI=${WEB}$`), `${what}: XFCC`);
  t.notMatch(xfcc, /admin/, `${what}: XFCC`);
  const der = Buffer.from(world.web.certPem.replace(/-----[^-]+-----/g, ''), 'base64').toString('base64');
  t.same(aliasesOf(request, 'client-cert'), [`:${der}:`], `${what}: client-cert`);
  t.same(
    aliasesOf(request, 'client-cert-chain'),
    [],
    `${what}: the chain is the root alone, which is left out`,
  );
  t.same(aliasesOf(request, 'x-identity-assertion'), [], `${what}: x-identity-assertion`);
}

const NAMES = [
  'X-Spiffe-Id',
  'x-spiffe-id',
  'X-SPIFFE-ID',
  'X_Spiffe_Id',
  'X-Spiffe_Id',
  'X.Spiffe.Id',
  'X-Spiffe~Id',
  "X'Spiffe'Id",
  'X-Forwarded-Client-Cert',
  'X_Forwarded_Client_Cert',
  'X-Forwarded_Client-Cert',
  'Client-Cert',
  'client_cert',
  'Client-Cert-Chain',
  'Client_Cert_Chain',
  'X-Identity-Assertion',
  'X_Identity_Assertion',
  'X-Remote-User',
  'x_remote_user',
  'X-Domain',
  'X!Domain',
];

t.test('P034-P036 no spelling of an identity header gets a word of the client through', async (t) => {
  const world = await start(t, { extra: identityConfig });
  for (const name of NAMES) {
    const lies = [
      `${name}: ${ADMIN}\r\n`,
      `${name}: ${ADMIN}\r\n`.repeat(3),
      `${name}: a,b\r\n`,
      `${name}: By=x;URI=${ADMIN}\r\n`,
    ];
    for (const lie of lies) tellsTheTruth(t, world, await seenOf(world, lie), lie);
  }
  await holdInvariants(t, world);
});

t.test('P145 empty and padded copies leave one true value', async (t) => {
  const world = await start(t, { extra: identityConfig });
  for (const name of NAMES) {
    const lines = `${name}:\r\n${name}: \r\n${name}:\t${ADMIN}\t\r\n`;
    tellsTheTruth(t, world, await seenOf(world, lines), name);
  }
  await holdInvariants(t, world);
});

t.test('P037 what Connection names is dropped before ours is set, so ours arrives', async (t) => {
  const world = await start(t, { extra: identityConfig });
  const named = [
    ...NAMES,
    'X-Forwarded-For',
    'Forwarded',
    'Via',
    'Traceparent',
    'X-Request-Id',
    'Host',
    'Date',
  ];
  for (const option of named) {
    for (const lines of [
      `Connection: close, ${option}\r\n`,
      `Connection: ${option}\r\n${option === 'Host' ? '' : `${option}: ${ADMIN}\r\n`}`,
      `Connection: keep-alive\r\nConnection: ,${option.toUpperCase()},,\r\n`,
    ]) {
      const request = await seenOf(world, lines);
      tellsTheTruth(t, world, request, lines);
      t.equal(request.header('x-forwarded-for'), '127.0.0.1', lines);
      t.equal(request.header('x-forwarded-proto'), 'https', lines);
      t.equal(request.all('forwarded').length, 1, lines);
      t.equal(request.all('via').length, 1, lines);
      t.equal(request.all('traceparent').length, 1, lines);
      t.equal(request.all('x-request-id').length, 1, lines);
      t.same(request.all('host'), ['svc.test'], lines);
    }
  }
  await holdInvariants(t, world);
});

t.test(
  'P038 headers that claim where a request came from or what it asked for are ours or nobody’s',
  async (t) => {
    const world = await start(t);
    const claims = [
      ['X-Forwarded-For', '10.6.6.6'],
      ['X-Forwarded-Proto', 'gopher'],
      ['X-Forwarded-Host', 'locked.test'],
      ['X-Forwarded-Uri', '/admin/x'],
      ['X-Forwarded-Method', 'DELETE'],
      ['X-Forwarded-Prefix', '/admin'],
      ['X-Forwarded-Port', 'evil-666'],
      ['X-Forwarded-User', ADMIN],
      ['X-Forwarded-Email', 'admin@a.test'],
      ['X-Real-IP', '10.6.6.6'],
      ['True-Client-IP', '10.6.6.6'],
      ['CF-Connecting-IP', '10.6.6.6'],
      ['X-Client-IP', '10.6.6.6'],
      ['X-Cluster-Client-IP', '10.6.6.6'],
      ['Forwarded', 'for=10.6.6.6;host=locked.test'],
      ['X-Original-URL', '/admin/x'],
      ['X-Rewrite-URL', '/admin/x'],
      ['X-Original-Host', 'locked.test'],
      ['X-Host', 'locked.test'],
      ['X-HTTP-Method-Override', 'DELETE'],
      ['X-HTTP-Method', 'DELETE'],
      ['X-Method-Override', 'DELETE'],
      ['X-SSL-Client-Cert', 'forged'],
      ['SSL-Client-Verify', 'SUCCESS'],
      ['X-Client-Cert', 'forged'],
      ['X-Client-DN', 'CN=admin'],
      ['Proxy', 'http://evil.test/'],
      ['Proxy-Authorization', 'Basic YTpi'],
    ] as const;
    for (const [name, value] of claims) {
      for (const spelled of [
        name,
        name.toUpperCase(),
        name.replaceAll('-', '_'),
        name.replaceAll('-', '.'),
      ]) {
        const request = await seenOf(world, `${spelled}: ${value}\r\n${spelled}: ${value}2\r\n`);
        const crossed = request.headers.filter(([, text]) => text.includes(value));
        t.same(crossed, [], spelled);
      }
    }
    const records = await world.untilRecords(claims.length * 4);
    t.ok(records.every(({ peer, request }) => peer.address === '127.0.0.1' && request.path === '/public/a'));
    await holdInvariants(t, world);
  },
);

t.test('P039 without an acceptable identity nothing is forwarded, whatever the headers say', async (t) => {
  const world = await start(t);
  const nobody = await world.nobody();
  await isBlocked(t, world, `${GET}X-Spiffe-Id: ${ADMIN}\r\nX-Forwarded-Client-Cert: URI=${ADMIN}\r\n\r\n`, {
    reason: 'certificate_missing',
    closes: true,
    client: nobody,
  });
  const foreign = await world.client(await world.caC.issue(ADMIN));
  await isBlocked(t, world, `${GET}X-Spiffe-Id: ${ADMIN}\r\n\r\n`, {
    reason: ['chain_untrusted', 'chain_signature'],
    closes: true,
    client: foreign,
  });
  await holdInvariants(t, world);
});

t.test('P040 an identity in a trailer goes nowhere', async (t) => {
  const world = await start(t);
  for (const name of ['X-Spiffe-Id', 'X_Spiffe_Id', 'X-Forwarded-Client-Cert', 'Authorization', 'Host']) {
    const client = await world.client();
    const [answer] = await client.ask(
      `POST /public/p HTTP/1.1\r\nHost: svc.test\r\nTransfer-Encoding: chunked\r\nTrailer: ${name}\r\n\r\n` +
        `5\r\nhello\r\n0\r\n${name}: ${ADMIN}\r\nX-Other: 1\r\n\r\n`,
    );
    t.equal(answer?.status, 200, name);
    const request = world.upstream.requests.at(-1);
    t.equal(request?.body, 'hello', name);
    t.same(request?.all('trailer'), [], name);
    t.notMatch(world.upstream.bytes, /admin/, name);
  }
  await holdInvariants(t, world);
});

t.test('P041 names of Object.prototype are headers like any other', async (t) => {
  const world = await start(t);
  const request = await seenOf(
    world,
    '__proto__: x\r\nconstructor: y\r\ntoString: z\r\nhasOwnProperty: w\r\n__proto__: v\r\n',
  );
  t.same(request.all('__proto__'), ['x', 'v']);
  t.same(request.all('constructor'), ['y']);
  t.same(request.all('tostring'), ['z']);
  t.same(request.all('x-spiffe-id'), [WEB]);
  await isBlocked(t, world, 'GET /admin/__proto__ HTTP/1.1\r\nHost: svc.test\r\n__proto__: x\r\n\r\n', {
    reason: 'no_rule_matched',
  });
  await isBlocked(t, world, 'GET /x HTTP/1.1\r\nHost: __proto__\r\n\r\n', { reason: 'route_not_found' });
  await isBlocked(t, world, 'GET /__proto__/constructor HTTP/1.1\r\nHost: svc.test\r\n\r\n', {
    reason: 'route_not_found',
  });
  await holdInvariants(t, world);
});

t.test('P042 doubled headers reach the upstream as the list that came', async (t) => {
  const world = await start(t);
  for (const name of [
    'Authorization',
    'Content-Type',
    'Cookie',
    'X-Role',
    'User-Agent',
    'Range',
    'If-Match',
  ]) {
    const request = await seenOf(world, `${name}: user\r\nX-Between: 1\r\n${name.toLowerCase()}: admin\r\n`);
    t.same(request.all(name), ['user', 'admin'], name);
  }
  await holdInvariants(t, world);
});

t.test('values that end a header, a name or a line in some reader stay inside their value', async (t) => {
  const world = await start(t);
  for (const value of [
    `a\x85X-Spiffe-Id: ${ADMIN}`,
    `a\u0155\u010dX-Spiffe-Id: ${ADMIN}`,
    `"\\r\\nX-Spiffe-Id: ${ADMIN}`,
    `%0d%0aX-Spiffe-Id:%20${ADMIN}`,
  ]) {
    const octets = Buffer.from(value, 'utf8').toString('latin1');
    const request = await seenOf(world, `X-A: ${octets}\r\n`);
    t.same(request.all('x-a'), [octets]);
    t.same(aliasesOf(request, 'x-spiffe-id'), [WEB]);
  }
  await holdInvariants(t, world);
});

t.test(
  'a trace, a request id and a Via of the client are continued or replaced, never a second opinion',
  async (t) => {
    const world = await start(t);
    const request = await seenOf(
      world,
      'X-Request-Id: chosen\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\nVia: 1.0 fred\r\n',
    );
    t.equal(request.all('x-request-id').length, 1);
    t.not(request.header('x-request-id'), 'chosen');
    t.match(request.header('traceparent'), /^00-0af7651916cd43dd8448eb211c80319c-/);
    t.match(request.header('via'), /^1\.0 fred, 1\.1 countersign-/);
    const own = request.header('via')?.split(' ').at(-1) ?? '';
    await world.untilRecords(1);
    await isBlocked(t, world, `${GET}Via: 1.1 ${own}\r\n\r\n`, { reason: 'loop_detected', status: 508 });
    await holdInvariants(t, world);
  },
);
