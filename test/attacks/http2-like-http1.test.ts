import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import { END_HEADERS, END_STREAM, Frame, RawHttp2, requestFields } from '../support/raw-http2-client.js';
import type { ParsedRequest } from '../support/recorder-upstream.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

/** A request that both versions can carry. */
interface Case {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly fields?: readonly (readonly [string, string])[];
  readonly body?: string;
}

interface Verdict {
  readonly effect: string;
  readonly status: number;
  readonly reason: string;
  /** What the upstream got, without what differs from call to call. */
  readonly seen: unknown;
}

const NEW_EACH_TIME = new Set(['via', 'x-request-id', 'traceparent', 'connection']);

const whatMatters = ({ method, target, headers, body }: ParsedRequest): unknown => ({
  method,
  target,
  body,
  headers: headers
    .map(([name, value]) => [name.toLowerCase(), value])
    .filter(([name]) => !NEW_EACH_TIME.has(name!)),
});

/** Sends each case once over each version, on a connection of its own, and gives both verdicts. */
class Both {
  private constructor(readonly world: World) {}

  static async start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<Both> {
    const world = await World.start(options);
    t.teardown(() => world.close());
    return new Both(world);
  }

  over1({
    method = 'GET',
    path = '/public/a',
    host = 'svc.test',
    fields = [],
    body,
  }: Case): Promise<Verdict> {
    return this.#judged(async () => {
      const client = await this.world.client();
      const length = body === undefined ? '' : `Content-Length: ${body.length}\r\n`;
      const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const [answer] = await client.ask(
        `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines}${length}\r\n${body ?? ''}`,
      );
      client.destroy();
      return answer?.status ?? 0;
    });
  }

  over2({
    method = 'GET',
    path = '/public/a',
    host = 'svc.test',
    fields = [],
    body,
  }: Case): Promise<Verdict> {
    return this.#judged(async () => {
      const { port, web } = this.world;
      const client = await RawHttp2.open({ port, identity: web });
      const length: [string, string][] = body === undefined ? [] : [['content-length', String(body.length)]];
      const lower = fields.map(([name, value]): [string, string] => [name.toLowerCase(), value]);
      const all = [...requestFields(method, path, host), ...lower, ...length];
      client.headers(1, all, body === undefined ? END_HEADERS | END_STREAM : END_HEADERS);
      if (body !== undefined) client.frame(Frame.data, END_STREAM, 1, body);
      await client.settled(1);
      client.destroy();
      return client.statusOf(1) ?? 0;
    });
  }

  async #judged(send: () => Promise<number>): Promise<Verdict> {
    const { world } = this;
    const before = world.exchanges.length;
    const seenBefore = world.upstream.requests.length;
    const status = await send();
    const records = (await world.untilRecords(before + 1)).slice(before);
    if (records.length !== 1) throw new Error(`${records.length} records of one request`);
    const [record] = records as [ReadRecord];
    return {
      effect: record.decision.effect,
      status,
      reason: record.response.reason ?? record.decision.reason,
      seen: world.upstream.requests.slice(seenBefore).map(whatMatters),
    };
  }

  /** Either version says the same, and the upstream cannot tell them apart. */
  async agree(t: Test, one: Case, name: string): Promise<void> {
    const [by1, by2] = [await this.over1(one), await this.over2(one)];
    t.equal(by2.effect, by1.effect, `${name}: ${by1.reason} and ${by2.reason}`);
    t.same(by2.seen, by1.seen, `${name}: at the upstream`);
    // What a parser of one version refuses by itself has that parser's reason.
    const isParsers = [by1, by2].some(({ reason }) => reason === 'request_malformed');
    if (!isParsers) t.same([by2.status, by2.reason], [by1.status, by1.reason], name);
    if (by1.effect === 'deny') t.same(by2.seen, [], `${name}: nothing at the upstream`);
  }
}

const IDENTITY = [
  'X-Spiffe-Id',
  'X_Spiffe_Id',
  'X.Spiffe.Id',
  'X-Forwarded-Client-Cert',
  'X_Forwarded_Client_Cert',
  'Client-Cert',
  'Client_Cert_Chain',
  'X-Identity-Assertion',
  'X-Remote-User',
  'X!Domain',
  'X-Forwarded-For',
  'X-Forwarded-Proto',
  'X-Forwarded-Host',
  'X-Forwarded-Uri',
  'X-Real-IP',
  'Forwarded',
  'X-Original-URL',
  'X-Rewrite-URL',
  'X-HTTP-Method-Override',
  'X_HTTP_Method_Override',
  'X-Request-Id',
  'Traceparent',
  'Proxy',
  'Proxy-Authorization',
  'Authorization',
  'Via',
  'Max-Forwards',
  'Trailer',
  'Expect',
  'Cookie',
  'Accept',
  'X-App',
];
const VALUES = ['spiffe://a.test/admin', '', '0', '1.1 x', 'a, b'];

t.test('E identity and forwarding headers are the same to the upstream from either version', async (t) => {
  const both = await Both.start(t, {
    extra: 'forward: { clientCert: true, headers: { X-Remote-User: "{id}", X-Domain: "{trustDomain}" } }',
  });
  for (const name of IDENTITY)
    for (const value of VALUES)
      await both.agree(t, { fields: [[name, value]] }, `${name}: ${JSON.stringify(value)}`);
  const twice = [
    ['X-App', 'a'],
    ['X-Spiffe-Id', 'spiffe://a.test/admin'],
    ['X-App', 'b'],
    ['Cookie', 'a=1'],
  ] as const;
  await both.agree(t, { fields: twice }, 'several');
  await both.agree(t, { method: 'POST', body: 'abc', fields: twice }, 'with a body');
  for (const method of ['GET', 'DELETE', 'HEAD'])
    await both.agree(t, { method, body: 'abc' }, `${method} with a body`);
  await holdInvariants(t, both.world);
});

const PATHS = [
  ...[
    '/public/../admin/x',
    '/public/./../admin/x',
    '/public/..',
    '/public/%2e%2e/admin/x',
    '/public/.%2e/admin/x',
  ],
  ...[
    '/public/..%2fadmin/x',
    '/public%2f..%2fadmin/x',
    '/public/..%252fadmin/x',
    '/public/%252e%252e/admin/x',
  ],
  ...['//admin/x', '/public//../admin/x', '/public//a', '/public\\..\\admin\\x', '/public/%5c..%5cadmin/x'],
  ...[
    '/admin;v=1/x',
    '/public/..;/admin/x',
    '/public/a;b',
    '/public/..%3b/admin/x',
    '/admin%00.png',
    '/public/a%00',
  ],
  ...['/public/%0d%0aX:%20y', '/public/a%0a', '/public/%7f', '/public/%c0%ae%c0%ae/admin/x', '/public/%ff'],
  ...[
    '/public/%',
    '/public/%2',
    '/public/%zz',
    '/public/%u002e',
    '/public/%ef%bc%8e/x',
    '/public/..%20/admin/x',
  ],
  ...['/%70ublic/a', '/public/%61', '/public/<x>', '/public/"x"', '/public/{x}', '/public/a|b', '/public/`'],
  ...[
    '/public/#/../admin/x',
    '/public/a#b',
    '#',
    'admin/x',
    '*',
    '?x',
    'public',
    '%2fadmin',
    'http://svc.test/admin/x',
  ],
  ...[
    '/ADMIN/x',
    '/admin',
    '/admin/',
    '/administrator',
    '/publicity',
    '/PUBLIC/a',
    '/',
    '/livez',
    '/metrics',
  ],
  ...[
    '/public/a?/../admin/x',
    '/public/a?x=%2e%2e%2fadmin&y=%00&&',
    '/public/a??',
    '/public/a?',
    '/public/',
    '/public',
  ],
  ...[
    '/public/a%20b',
    '/public/caf%C3%A9',
    '/public/...',
    '/public/..a',
    "/public/a:b@c!$&'()*+,=~_-.",
    '/public/100%25',
  ],
  ...[
    '/public/a%2fb',
    `/public/${'a'.repeat(9000)}`,
    `/public/${'%41'.repeat(500)}`,
    '/public/é',
    '/public/a b',
  ],
];

t.test('F a path is judged and forwarded alike, whatever carries it', async (t) => {
  const both = await Both.start(t);
  for (const path of PATHS) {
    if (path.startsWith('http:')) {
      // HTTP/1.1 has an absolute form; in HTTP/2 the path stands alone (RFC 9113 8.3.1).
      t.match(await both.over2({ path }), { effect: 'deny', seen: [] }, path);
      continue;
    }
    await both.agree(t, { path }, path.slice(0, 60));
  }
  await holdInvariants(t, both.world);
});

const METHODS = [
  ...['get', 'Get', 'FOO', 'G ET', '"GET"', 'POST;', 'TRACE', 'HEAD', 'OPTIONS', 'PUT', 'PATCH', 'DELETE'],
  ...['PROPFIND', 'PURGE', 'M-SEARCH', 'QUERY', 'REPORT', 'PRI', 'M7X'],
];

t.test('G a method is judged alike', async (t) => {
  const both = await Both.start(t);
  for (const method of METHODS)
    for (const path of ['/public/a', '/admin/x']) await both.agree(t, { method, path }, `${method} ${path}`);
  await holdInvariants(t, both.world);
});

const HOSTS = [
  ...[
    'SVC.TEST',
    'svc.test.',
    'svc.test:443',
    'svc.test:8443',
    'svc.test:80',
    'svc.test:',
    'svc.test:0',
    'svc.test:99999',
  ],
  ...[
    'svc.test:4 43',
    'locked.test',
    'LOCKED.TEST:443',
    'other.test',
    '',
    'svc.test,locked.test',
    'svc.test/x',
    'svc.test\\x',
  ],
  ...[
    'user@svc.test',
    'svc.test@locked.test',
    'locked.test#svc.test',
    'svc.test?x',
    '127.0.0.1',
    '[::1]',
    '[::1',
    '%73vc.test',
  ],
  ...[
    'svc..test',
    '.svc.test',
    'svc_test',
    'svc.test:+443',
    'svc.test:0443',
    'xn--e1aybc.test',
    '127.1',
    '0x7f.1',
  ],
];

t.test('H an authority is judged and forwarded alike', async (t) => {
  const both = await Both.start(t);
  for (const host of HOSTS) await both.agree(t, { host }, JSON.stringify(host));
  await holdInvariants(t, both.world);
});

t.test('H a second Host makes a request of two minds, unless it says the same', async (t) => {
  const both = await Both.start(t);
  for (const host of ['locked.test', 'svc.test:80', '', 'svc.test.x', 'svc.test, locked.test'])
    t.match(await both.over2({ fields: [['host', host]] }), { effect: 'deny', seen: [] }, host);
  const { effect, seen } = await both.over2({ fields: [['host', 'svc.test']] });
  t.equal(effect, 'allow');
  t.same(seen, (await both.over1({})).seen);
  await waitFor(() => both.world.exchanges.length === 7);
});
