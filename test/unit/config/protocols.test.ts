import { join } from 'node:path';
import t, { type Test } from 'tap';
import { loadConfig } from '../../../src/config/load.js';
import { formatProblem } from '../../../src/config/problem.js';

const POLICY = `version: 1
default: deny
rules:
  - { id: open, owner: a, effect: allow, principals: ["spiffe://a.test/**"], destinations: [svc] }
`;

const LISTENER = '{ name: in, address: "127.0.0.1:1", routes: [{ name: all, path: /**, upstream: svc }] }';
const UPSTREAM = '{ url: "http://127.0.0.1:8080" }';

/** Line 7 is the listener, line 8 the upstream, from line 9 on what is `more`. */
async function load(t: Test, listener = LISTENER, upstream = UPSTREAM, more = '') {
  const text = `version: 1
identity: { files: { certificate: svid.pem, key: key.pem } }
trust:
  - { trustDomain: a.test, bundle: { file: a.pem } }
policy: policy.yaml
listeners:
  - ${listener}
upstreams: { svc: ${upstream} }
${more}`;
  const folder = t.testdir({ 'c.yaml': text, 'policy.yaml': POLICY });
  const { config, problems, warnings } = await loadConfig(join(folder, 'c.yaml'), {});
  return {
    folder,
    listener: config?.listeners[0],
    upstream: config?.upstreams.get('svc'),
    said: [...problems, ...warnings].map((one) => formatProblem(one).replace(`${folder}/c.yaml:`, '')),
  };
}

const inbound = (more: string): string => LISTENER.replace(', routes:', `, ${more}, routes:`);
const tcp = (more = '', route = '{ name: all, upstream: svc }'): string =>
  `{ name: in, address: "127.0.0.1:1", protocol: tcp, ${more} routes: [${route}] }`;
const route = (more: string): string => LISTENER.replace('path: /**', `path: /**, ${more}`);
const TCP = '{ url: "tcp://127.0.0.1:5432" }';
const SPIFFE = '{ url: "https://127.0.0.1:1", spiffeId: "spiffe://a.test/svc" }';

interface Case {
  readonly what: string;
  readonly listener?: string;
  readonly upstream?: string;
  readonly more?: string;
  /** `line: path: beginning of the message`; the column is that of the value and is checked to be there. */
  readonly problems: readonly string[];
}

const cases: readonly Case[] = [
  {
    what: 'a mode that is no mode',
    listener: inbound('socketMode: "0668"'),
    problems: ['7 listeners[0].socketMode: must be three octal digits in quotes, such as "0660"'],
  },
  {
    what: 'a mode that YAML read as a number',
    listener: inbound('socketMode: 0660'),
    problems: ['7 listeners[0].socketMode: must be three octal digits in quotes, such as "0660"'],
  },
  {
    what: 'a mode of an address that is no file',
    listener: inbound('socketMode: "0660"'),
    problems: ['7 listeners[0].socketMode: needs a unix:/path address'],
  },
  {
    what: 'protocols and directions that there are not',
    listener: inbound('protocol: udp, direction: out, http2: 2, startTls: mysql'),
    problems: [
      '7 listeners[0].protocol: must be one of http, tcp, not "udp"',
      '7 listeners[0].direction: must be one of inbound, outbound, not "out"',
      '7 listeners[0].http2: must be true or false, not 2',
      '7 listeners[0].startTls: must be postgres, not "mysql"',
    ],
  },
  {
    what: 'the start of PostgreSQL before requests',
    listener: inbound('startTls: postgres'),
    problems: ['7 listeners[0].startTls: goes with `protocol: tcp`'],
  },
  {
    what: 'PROXY headers from nobody, from everybody and from a name',
    listener: inbound('proxyProtocol: { from: [] }'),
    problems: ['7 listeners[0].proxyProtocol.from: must name at least one address'],
  },
  {
    what: 'PROXY headers from everybody and from a name',
    listener: inbound('proxyProtocol: { from: [0.0.0.0/0, lb.internal] }'),
    problems: [
      '7 listeners[0].proxyProtocol.from[0]: names every address there is: name the load balancer',
      '7 listeners[0].proxyProtocol.from[1]: "lb.internal" is not an IP address or a range such as',
    ],
  },
  {
    what: 'PROXY headers over a unix socket',
    listener: inbound('proxyProtocol: { from: [10.1.0.0/16] }').replace('127.0.0.1:1', 'unix:/run/a.sock'),
    problems: ['7 listeners[0].proxyProtocol: needs an IP address to listen on'],
  },
  {
    what: 'what comes before TLS where there is none',
    listener: tcp('direction: outbound, startTls: postgres, proxyProtocol: { from: [10.1.0.0/16] },'),
    upstream: '{ url: "tls://127.0.0.1:1", spiffeId: "spiffe://a.test/svc" }',
    problems: [
      '7 listeners[0].startTls: goes with `direction: inbound`',
      '7 listeners[0].proxyProtocol: goes with `direction: inbound`',
    ],
  },
  {
    what: 'a route of requests on a tcp listener',
    listener: tcp('', '{ name: all, path: /**, bodyBytes: 1MiB, upgrade: [websocket], upstream: svc }'),
    upstream: TCP,
    problems: [
      '7 listeners[0].routes[0].path: a tcp listener carries no requests',
      '7 listeners[0].routes[0].bodyBytes: a tcp listener carries no requests',
      '7 listeners[0].routes[0].upgrade: a tcp listener carries no requests',
    ],
  },
  {
    what: 'a route of requests without a path',
    listener: LISTENER.replace('path: /**, ', ''),
    problems: ['7 listeners[0].routes[0].path: is missing; /** takes every path'],
  },
  {
    what: 'bytes to a service of requests',
    listener: tcp(),
    problems: [
      '7 listeners[0].routes[0].upstream: "svc" takes HTTP requests, and the listener is `protocol:',
    ],
  },
  {
    what: 'requests to a service of bytes',
    upstream: TCP,
    problems: ['7 listeners[0].routes[0].upstream: "svc" takes bytes (tcp), and the listener is `protocol:'],
  },
  {
    what: 'a WebSocket to HTTP/2 alone',
    listener: route('upgrade: [websocket]'),
    upstream: '{ url: "http://127.0.0.1:1", protocol: http2 }',
    problems: ['7 listeners[0].routes[0].upgrade: "svc" speaks HTTP/2 only: a WebSocket needs HTTP/1.1'],
  },
  {
    what: 'our SVID shown to anybody, asked for by anybody',
    listener: inbound('direction: outbound').replace('127.0.0.1:1', '0.0.0.0:1'),
    upstream: '{ url: "https://127.0.0.1:1" }',
    problems: [
      '7 listeners[0].address: 0.0.0.0:1 can be reached by other machines: `direction: outbound` needs a',
      '7 listeners[0].routes[0].upstream: "svc" needs a `spiffeId`: what goes out shows our SVID, and says',
    ],
  },
  {
    what: 'a name that may resolve to anything, asked for our SVID',
    listener: inbound('direction: outbound').replace('127.0.0.1:1', 'sidecar.internal:1'),
    upstream: SPIFFE,
    problems: ['7 listeners[0].address: sidecar.internal:1 can be reached by other machines: `direction:'],
  },
  {
    what: 'a server whose domain nobody vouches for',
    upstream: SPIFFE.replace('a.test', 'b.test'),
    problems: ['8 upstreams.svc.spiffeId: trust domain b.test is not configured under `trust`'],
  },
  {
    what: 'a server of which only the domain is named, by a wildcard',
    upstream: SPIFFE.replace('a.test', '*'),
    problems: ['8 upstreams.svc.spiffeId: '],
  },
  {
    what: 'neither place nor places',
    upstream: '{ balance: least_requests }',
    problems: ['8 upstreams.svc: needs either `url` or `targets`'],
  },
  {
    what: 'a place and places',
    upstream: '{ url: "http://a:1", targets: ["http://b:1"] }',
    problems: ['8 upstreams.svc: needs either `url` or `targets`, not both'],
  },
  {
    what: 'no places',
    upstream: '{ targets: [] }',
    problems: ['8 upstreams.svc.targets: must hold at least one target'],
  },
  {
    what: 'a place twice, in two spellings',
    upstream: '{ targets: ["http://A", "http://a:80/"] }',
    problems: ['8 upstreams.svc.targets[1]: a:80 stands there already'],
  },
  {
    what: 'one with TLS beside one without',
    upstream: '{ targets: ["https://a", "http://a"] }',
    problems: ['8 upstreams.svc.targets: must all begin with the same scheme'],
  },
  {
    what: 'a URL that says another protocol than the key',
    upstream: '{ url: "https://a", protocol: tcp }',
    problems: ['8 upstreams.svc.protocol: tcp needs tcp://, tls:// or unix: in place of https://'],
  },
  {
    what: 'the other way round',
    upstream: '{ url: "tls://a:1", protocol: http2 }',
    problems: ['8 upstreams.svc.protocol: http2 needs http://, https:// or unix: in place of tls://'],
  },
  {
    what: 'a protocol that TLS is to settle, without TLS',
    upstream: '{ url: "unix:/run/a.sock", protocol: auto }',
    problems: ['8 upstreams.svc.protocol: auto is settled by TLS: it needs https://'],
  },
  {
    what: 'an identity and a CA, both in plaintext',
    upstream: '{ url: "http://a", spiffeId: "spiffe://a.test/svc", tls: { serverName: A } }',
    problems: ['8 upstreams.svc.tls.serverName: must be a host name in lower case'],
  },
  {
    what: 'an identity and authorities, both in plaintext',
    upstream: '{ url: "http://a", spiffeId: "spiffe://a.test/svc", tls: { serverName: b } }',
    problems: [
      '8 upstreams.svc.spiffeId: needs https:// or tls://',
      '8 upstreams.svc.tls: does not go with `spiffeId`',
      '8 upstreams.svc.tls: needs https:// or tls://',
    ],
  },
  {
    what: 'an identity beside authorities',
    upstream: '{ url: "https://a", spiffeId: "spiffe://a.test/svc", tls: { ca: ca.pem } }',
    problems: ['8 upstreams.svc.tls: does not go with `spiffeId`'],
  },
  {
    what: 'a PROXY header before requests',
    upstream: '{ url: "http://a", proxyProtocol: v2 }',
    problems: ['8 upstreams.svc.proxyProtocol: goes with tcp only'],
  },
  {
    what: 'a PROXY header of the first version',
    upstream: '{ url: "tcp://a:1", proxyProtocol: v1 }',
    problems: ['8 upstreams.svc.proxyProtocol: must be v2, not "v1"'],
  },
  {
    what: 'a path asked of bytes',
    listener: tcp(),
    upstream: '{ url: "tcp://a:1", healthCheck: { path: /healthz } }',
    problems: ['8 upstreams.svc.healthCheck: has no `path` where requests are not HTTP'],
  },
  {
    what: 'numbers out of their bounds',
    upstream:
      '{ url: "http://a", healthCheck: { path: healthz, every: 99ms, timeout: 61s, healthy: 0 }, retries: 6, maxConnections: 0 }',
    problems: [
      '8 upstreams.svc.healthCheck.path: must be a path, such as /healthz',
      '8 upstreams.svc.healthCheck.every: must be at least 100ms',
      '8 upstreams.svc.healthCheck.timeout: must be at most 60s',
      '8 upstreams.svc.healthCheck.healthy: must be at least 1',
      '8 upstreams.svc.retries: must be at most 5',
      '8 upstreams.svc.maxConnections: must be at least 1',
    ],
  },
  {
    what: 'an ejection that is neither false nor a mapping',
    upstream: '{ url: "http://a", ejection: true }',
    problems: ['8 upstreams.svc.ejection: must be `false` or `{ failures, for, maxPercent }`'],
  },
  {
    what: 'more streams than there may be, and a tunnel that has no age',
    more: 'limits: { streams: 0 }\ndeadlines: { tunnelAge: 0s }\n',
    problems: ['9 limits.streams: must be at least 1', '10 deadlines.tunnelAge: must be more than 0'],
  },
  {
    what: 'a probe of bytes',
    listener: tcp(),
    upstream: TCP,
    more: 'health: { address: "127.0.0.1:2", probes: [{ path: /p, upstream: svc, target: / }] }\n',
    problems: ['9 health.probes[0].upstream: "svc" cannot be probed: a probe is plaintext HTTP/1.1'],
  },
  {
    what: 'a probe over TLS',
    upstream: '{ url: "https://a", protocol: http1 }',
    more: 'health: { address: "127.0.0.1:2", probes: [{ path: /p, upstream: svc, target: / }] }\n',
    problems: ['9 health.probes[0].upstream: "svc" cannot be probed: a probe is plaintext HTTP/1.1'],
  },
];

t.test('what cannot be is refused, all of it at once, each where it stands', async (t) => {
  for (const { what, listener, upstream, more, problems } of cases) {
    const { said } = await load(t, listener, upstream, more);
    const placed = said.map((one) => one.replace(/^(\d+):\d+ /, '$1 '));
    t.equal(placed.length, problems.length, `${what}: ${said.join(' | ')}`);
    for (const [i, problem] of problems.entries())
      t.equal(placed[i]?.slice(0, problem.length), problem, what);
    for (const one of said) t.match(one, /^\d+:\d+ /, what);
  }
});

t.test('a listener speaks HTTP/2, inward, unless told otherwise', async (t) => {
  const { listener, said } = await load(t);
  t.same(said, []);
  t.match(listener, { protocol: 'http', direction: 'inbound', http2: true });
  for (const key of ['socketMode', 'proxyProtocol', 'startTls']) t.notOk(key in listener!, key);
});

t.test('a unix socket is for our own user alone, unless told otherwise', async (t) => {
  const socket = inbound('http2: false').replace('127.0.0.1:1', 'unix:/run/a.sock');
  t.match((await load(t, socket)).listener, { socketMode: 0o600, http2: false });
  for (const [text, mode] of [
    ['"0660"', 0o660],
    ['"666"', 0o666],
    ['"0000"', 0],
  ] as const) {
    const { listener, said } = await load(t, socket.replace('http2: false', `socketMode: ${text}`));
    t.same([listener?.socketMode, said], [mode, []], text);
  }
});

t.test('a route of a tcp listener takes whatever comes, by the name that TLS was asked for', async (t) => {
  const routes = '{ name: db, host: db.internal, upstream: svc }, { name: all, upstream: svc }';
  const { listener, upstream, said } = await load(t, tcp('startTls: postgres,', routes), TCP);
  t.same(said, []);
  t.match(listener, { protocol: 'tcp', startTls: 'postgres', direction: 'inbound' });
  t.same(
    listener?.routes.map(({ host, pathText }) => [host, pathText]),
    [
      ['db.internal', '/**'],
      [undefined, '/**'],
    ],
  );
  t.match(upstream, { protocol: 'tcp', targets: [{ name: '127.0.0.1:5432' }], ejection: { failures: 5 } });
});

t.test('what is spoken to a service is what its URL says, unless told otherwise', async (t) => {
  for (const [text, protocol, listener] of [
    ['{ url: "http://a" }', 'http1'],
    ['{ url: "http://a", protocol: http2 }', 'http2'],
    ['{ url: "https://a" }', 'auto'],
    ['{ url: "https://a", protocol: http1 }', 'http1'],
    ['{ url: "unix:/a" }', 'http1'],
    ['{ url: "unix:/a", protocol: http2 }', 'http2'],
    ['{ url: "unix:/a", protocol: tcp }', 'tcp', tcp()],
    ['{ url: "tls://a:1" }', 'tcp', tcp()],
  ] as const) {
    const { upstream, said } = await load(t, listener, text);
    t.same([upstream?.protocol, said], [protocol, []], text);
  }
});

t.test('whom a server must be is one of three: nobody, a host name, or a SPIFFE ID', async (t) => {
  t.equal((await load(t)).upstream?.tls, undefined);
  t.same((await load(t, LISTENER, '{ url: "https://a" }')).upstream?.tls, { kind: 'roots' });
  const { folder, upstream } = await load(
    t,
    LISTENER,
    '{ url: "https://a", tls: { ca: ca.pem, serverName: b.internal } }',
  );
  t.same(upstream?.tls, { kind: 'roots', caFile: join(folder, 'ca.pem'), serverName: 'b.internal' });
  t.match((await load(t, LISTENER, SPIFFE)).upstream?.tls, { kind: 'spiffe', id: { trustDomain: 'a.test' } });
  const pattern = SPIFFE.replace('/svc"', '/ns/*/sa/svc"');
  t.same((await load(t, LISTENER, pattern)).said, []);
});

t.test('several targets share what is said of them; defaults are those of the documents', async (t) => {
  const { upstream, said } = await load(
    t,
    LISTENER,
    '{ targets: ["http://a:1", "http://[::1]"], ejection: { failures: 2 }, healthCheck: {}, timeouts: { connect: 1s } }',
    'deadlines: { upstreamConnect: 3s, upstreamFirstByte: 4s }\n',
  );
  t.same(said, []);
  t.match(upstream, {
    targets: [{ name: 'a:1' }, { name: '[::1]:80' }],
    balance: 'round_robin',
    ejection: { failures: 2, forMs: 10_000, maxShare: 0.5 },
    healthCheck: { everyMs: 5000, timeoutMs: 1000, healthy: 2, unhealthy: 3 },
    retries: 1,
    timeouts: { connectMs: 1000, responseMs: 4000 },
  });
  t.equal((await load(t, LISTENER, '{ url: "http://a", ejection: false }')).upstream?.ejection, false);
});

t.test('an outbound listener needs this machine and a server that is named', async (t) => {
  for (const address of ['127.0.0.1:1', '[::1]:1', 'localhost:1', 'unix:/run/a.sock']) {
    const listener = inbound('direction: outbound').replace('127.0.0.1:1', address);
    const { listener: read, said } = await load(t, listener, SPIFFE);
    t.same([read?.direction, said], ['outbound', []], address);
  }
});
