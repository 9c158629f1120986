import t from 'tap';
import {
  isWebSocketHandshake,
  type RewriteContext,
  rewriteRequest,
  rewriteUpgradeHeaders,
} from '../../../src/message/rewrite-request.js';
import {
  contextOf,
  headOf,
  identityOf,
  namesOf,
  peerOf,
  planOf,
  readVectors,
  valuesOf,
  WEB,
} from './fixtures.js';

const forwarded = (lines: readonly string[], changes: Partial<RewriteContext> = {}): string[] =>
  rewriteRequest(headOf(lines), contextOf(changes)).headers;

interface HeaderVectorInput {
  readonly incoming?: readonly (readonly [string, string])[];
}
interface HeaderVectorExpect {
  readonly outcome: string;
  readonly present?: Readonly<Record<string, string>>;
  readonly absent?: readonly string[];
  readonly count?: number;
}

t.test('every identity-header vector that is a request is judged as the vector says', (t) => {
  for (const { id, input, expect } of readVectors<HeaderVectorInput, HeaderVectorExpect>('identity-header')) {
    const incoming = input.incoming ?? [];
    // the answer's side is in rewrite-response.test.ts
    if (incoming.some(([name]) => name.startsWith('@response'))) continue;
    if (expect.outcome === '400') {
      t.throws(() => headOf(incoming.map(([name, value]) => `${name}:${value}`)), /header_malformed/, id);
      continue;
    }
    const headers = forwarded(incoming.map(([name, value]) => `${name}: ${value}`));
    for (const [name, value] of Object.entries(expect.present ?? {})) {
      t.same(valuesOf(headers, name), [value], id);
    }
    for (const name of expect.absent ?? []) t.same(valuesOf(headers, name), [], `${id}: ${name}`);
  }
  t.end();
});

interface ClientCertInput {
  readonly enabled?: boolean;
  readonly mtls?: boolean;
  readonly resumed?: boolean;
  readonly direction?: string;
  readonly leafDer?: string | null;
  readonly chainDer?: readonly string[];
  readonly incoming?: readonly (readonly [string, string])[];
  readonly incomingTrailers?: readonly (readonly [string, string])[];
}
interface ClientCertExpect {
  readonly headers?: readonly (readonly [string, string])[];
  readonly headersAnyOf?: readonly (readonly (readonly [string, string])[])[];
}

t.test('every client-cert vector that is a request head is judged as the vector says', (t) => {
  const plan = planOf({ clientCert: true });
  for (const { id, input, expect } of readVectors<ClientCertInput, ClientCertExpect>('client-cert')) {
    // answers and trailers: rewrite-response.test.ts. A peer without a certificate (resumed) is refused before there is a head
    if (input.direction === 'response' || input.incomingTrailers !== undefined || input.resumed === true)
      continue;
    const identity =
      input.mtls === true
        ? identityOf(plan, {
            leafDer: Buffer.from(input.leafDer ?? '', 'hex'),
            chainDer: (input.chainDer ?? []).map((hex) => Buffer.from(hex, 'hex')),
          })
        : undefined;
    const headers = forwarded(
      (input.incoming ?? []).map(([name, value]) => `${name}: ${value}`),
      { plan, identity },
    );
    const wanted = expect.headers ?? expect.headersAnyOf?.[0] ?? [];
    for (const name of ['client-cert', 'client-cert-chain']) {
      t.same(
        valuesOf(headers, name),
        wanted.filter(([key]) => key === name).map(([, value]) => value),
        `${id}: ${name}`,
      );
    }
  }
  t.end();
});

t.test('a spoofed identity never reaches the upstream in any spelling', (t) => {
  const spellings = [
    'X-Spiffe-Id',
    'x-spiffe-id',
    'X-SPIFFE-ID',
    'X_Spiffe_Id',
    'x.spiffe.id',
    'X-Spiffe_Id',
    'X~Spiffe~Id',
    'X-Forwarded-Client-Cert',
    'X_Forwarded_Client_Cert',
    'Client-Cert',
    'Client_Cert',
    'Client-Cert-Chain',
    'X-Identity-Assertion',
    'X-Remote-User',
    'x_remote.user',
  ];
  const plan = planOf({ headers: [{ name: 'X-Remote-User', template: '{id}' }] });
  for (const name of spellings) {
    for (const values of [['spiffe://a.test/admin'], [''], ['a,b', 'spiffe://a.test/admin', '']]) {
      const headers = forwarded(
        values.map((value) => `${name}: ${value}`),
        { plan, identity: identityOf(plan) },
      );
      t.notMatch(headers.join('\n'), /admin/, name);
      const canonical = name.toLowerCase().replace(/[^a-z0-9]/g, '-');
      const same = namesOf(headers).filter((other) => other.replace(/[^a-z0-9]/g, '-') === canonical);
      t.ok(same.length <= 1, `${name}: ${same}`);
    }
  }
  t.end();
});

t.test('without a verified certificate identity headers are stripped all the same and none is set', (t) => {
  const plan = planOf({
    clientCert: true,
    headers: [{ name: 'X-User', template: '{id}' }],
    xfcc: 'append_forward',
  });
  const headers = forwarded(
    [
      'X-Spiffe-Id: spiffe://a.test/admin',
      'X-User: admin',
      'Client-Cert: :AAAA:',
      'X-Forwarded-Client-Cert: URI=spiffe://a.test/admin',
    ],
    { plan, identity: undefined, peerTrusted: true },
  );
  for (const name of ['x-spiffe-id', 'x-user', 'client-cert', 'x-forwarded-client-cert']) {
    t.same(valuesOf(headers, name), [], name);
  }
  t.end();
});

t.test('every header that claims an address, a URL, a method or a certificate is dropped', (t) => {
  const names = [
    'X-Real-IP',
    'True-Client-IP',
    'X-Client-IP',
    'X-Cluster-Client-IP',
    'CF-Connecting-IP',
    'Fastly-Client-IP',
    'X-Envoy-External-Address',
    'X-Envoy-Original-Path',
    'X-Original-URL',
    'X-Rewrite-URL',
    'X-Original-URI',
    'X-Original-Method',
    'X-HTTP-Method',
    'X-HTTP-Method-Override',
    'X_HTTP_Method_Override',
    'X-Method-Override',
    'X-Forwarded-Uri',
    'X-Forwarded-Prefix',
    'X-Forwarded-Server',
    'X_Forwarded_For',
    'Proxy',
    'Proxy-Connection',
    'Proxy-Authorization',
    'SSL-Client-Verify',
    'X-SSL-Client-S-DN',
    'X-Client-Cert',
    'X-Client-Cert-Chain',
    'Keep-Alive',
    'TE',
    'Trailer',
    'Upgrade',
    'HTTP2-Settings',
    'Content_Length',
    'Transfer_Encoding',
  ];
  for (const name of names) {
    for (const peerTrusted of [false, true]) {
      const headers = forwarded([`${name}: evil`], { peerTrusted });
      t.notMatch(headers.join('\n'), /evil/, `${name}, trusted ${peerTrusted}`);
    }
  }
  t.end();
});

t.test('headers that nobody knows cross unchanged, in order and with their case', (t) => {
  const lines = [
    'X-Unknown: a',
    'Accept: */*',
    'x-unknown: b',
    'User-Agent: c',
    'X-Spiffe-Idea: d',
    'X_Custom: e',
  ];
  t.same(
    forwarded(lines).slice(0, 12),
    lines.flatMap((line) => line.split(': ')),
  );
  t.end();
});

t.test('host, connection and framing are left for the upstream client to write', (t) => {
  const names = namesOf(
    rewriteRequest(
      headOf(['Connection: keep-alive', 'Content-Length: 3', 'Expect: 100-continue'], 'POST /a HTTP/1.1'),
      contextOf(),
    ).headers,
  );
  for (const name of ['host', 'connection', 'content-length', 'transfer-encoding', 'expect']) {
    t.notOk(names.includes(name), name);
  }
  t.end();
});

t.test('an untrusted peer cannot say where it comes from', (t) => {
  const headers = forwarded([
    'X-Forwarded-For: 10.0.0.1',
    'X-Forwarded-Proto: http',
    'X-Forwarded-Host: locked.test',
    'Forwarded: for=10.0.0.1',
    'X-Request-Id: theirs',
  ]);
  t.same(valuesOf(headers, 'x-forwarded-for'), ['192.0.2.7']);
  t.same(valuesOf(headers, 'x-forwarded-proto'), ['https']);
  t.same(valuesOf(headers, 'x-forwarded-host'), ['svc.test']);
  t.same(valuesOf(headers, 'forwarded'), ['for=192.0.2.7;host=svc.test;proto=https']);
  t.same(valuesOf(headers, 'x-request-id'), ['own-request-id']);
  t.end();
});

t.test('what a trusted peer says is kept and extended', (t) => {
  const { headers, requestId } = rewriteRequest(
    headOf([
      'X-Forwarded-For: 10.0.0.1',
      'X-Forwarded-For: 10.0.0.2',
      'X-Forwarded-Proto: http',
      'X-Forwarded-Host: Shop.Example',
      'Forwarded: for=10.0.0.1',
      'Forwarded: for=10.0.0.2',
      'X-Request-Id: theirs',
    ]),
    contextOf({ peerTrusted: true, peerAddress: '2001:db8::1' }),
  );
  t.same(valuesOf(headers, 'x-forwarded-for'), ['10.0.0.1, 10.0.0.2, 2001:db8::1']);
  t.same(valuesOf(headers, 'x-forwarded-proto'), ['http']);
  t.same(valuesOf(headers, 'x-forwarded-host'), ['shop.example']);
  t.same(valuesOf(headers, 'forwarded'), [
    'for=10.0.0.1, for=10.0.0.2, for="[2001:db8::1]";host=svc.test;proto=https',
  ]);
  t.equal(requestId, 'theirs');
  t.same(valuesOf(headers, 'x-request-id'), ['theirs']);
  t.end();
});

t.test('nonsense of a trusted peer is replaced, not extended', (t) => {
  const headers = forwarded(
    [
      'X-Forwarded-Proto: javascript',
      'X-Forwarded-Host: a.test, b.test',
      'Forwarded: for="unclosed',
      'X-Request-Id: has space',
      `X-Forwarded-For: ${'1.1.1.1, '.repeat(2000)}`,
    ],
    { peerTrusted: true },
  );
  t.same(valuesOf(headers, 'x-forwarded-proto'), ['https']);
  t.same(valuesOf(headers, 'x-forwarded-host'), ['svc.test']);
  t.same(valuesOf(headers, 'forwarded'), ['for=192.0.2.7;host=svc.test;proto=https']);
  t.same(valuesOf(headers, 'x-request-id'), ['own-request-id']);
  t.same(valuesOf(headers, 'x-forwarded-for'), ['192.0.2.7']);
  for (const lines of [
    ['X-Request-Id: a', 'X-Request-Id: b'],
    [`X-Request-Id: ${'a'.repeat(129)}`],
    ['X-Request-Id:'],
  ]) {
    t.same(valuesOf(forwarded(lines, { peerTrusted: true }), 'x-request-id'), ['own-request-id']);
  }
  t.end();
});

t.test('addresses are written the way others read them', (t) => {
  const of = (peerAddress: string): string[] =>
    ['x-forwarded-for', 'forwarded'].map((name) => valuesOf(forwarded([], { peerAddress }), name)[0] ?? '');
  t.same(of('::ffff:192.0.2.1'), ['192.0.2.1', 'for=192.0.2.1;host=svc.test;proto=https']);
  t.same(of('fe80::1%eth0'), ['fe80::1', 'for="[fe80::1]";host=svc.test;proto=https']);
  t.same(of(''), ['unknown', 'for=unknown;host=svc.test;proto=https']);
  t.end();
});

t.test('Via names the version that was received, after all earlier hops', (t) => {
  t.same(valuesOf(forwarded(['Via: 1.0 fred', 'Via: 1.1 bob (x, y)']), 'via'), [
    '1.0 fred, 1.1 bob (x, y), 1.1 countersign',
  ]);
  const old = rewriteRequest(headOf([], 'GET /a HTTP/1.0'), contextOf());
  t.same(valuesOf(old.headers, 'via'), ['1.0 countersign']);
  t.end();
});

t.test('Max-Forwards of OPTIONS is counted down', (t) => {
  const of = (value: string): string[] =>
    valuesOf(
      rewriteRequest(headOf([`Max-Forwards: ${value}`], 'OPTIONS /a HTTP/1.1'), contextOf()).headers,
      'max-forwards',
    );
  t.same(of('5'), ['4']);
  t.same(of('99999999999999999999'), ['999']);
  t.end();
});

t.test('configured headers are built of verified fields and escaped', (t) => {
  const plan = planOf({
    headers: [
      { name: 'X-Remote-User', template: '{id}' },
      { name: 'X-Who', template: '{{{trustDomain}}} {path} {serial} until {notAfter}' },
      { name: 'X-DN', template: '{subject}' },
      { name: 'X-Owner', template: 'team {owner}' },
    ],
  });
  const headers = forwarded([], {
    plan,
    identity: identityOf(plan, { subject: 'CN=J\u00f6rg\r\nX-Evil: 1' }),
  });
  t.same(valuesOf(headers, 'x-remote-user'), [WEB]);
  t.same(valuesOf(headers, 'x-who'), ['{a.test} /web 0a1b until 2030-01-01T00:00:00.000Z']);
  t.same(valuesOf(headers, 'x-dn'), ['CN=J\\C3\\B6rg\\0D\\0AX-Evil: 1']);
  t.same(valuesOf(headers, 'x-owner'), [], 'an unknown field leaves its header out');
  t.end();
});

t.test('headers that the operator switched off are absent', (t) => {
  const plan = planOf({ spiffeId: false, xfcc: 'sanitize' });
  const names = namesOf(forwarded([], { plan, identity: identityOf(plan) }));
  for (const name of ['x-spiffe-id', 'x-forwarded-client-cert', 'client-cert'])
    t.notOk(names.includes(name), name);
  t.end();
});

t.test('identity is set last', (t) => {
  const names = namesOf(forwarded(['X-App: 1']));
  t.same(names.slice(-2), ['x-forwarded-client-cert', 'x-spiffe-id']);
  t.end();
});

t.test('an upgrade keeps Sec-WebSocket-*, loses spoofed headers and gets its own Connection', (t) => {
  const head = headOf([
    'Connection: Upgrade, X-Spiffe-Id',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'X-Spiffe-Id: spiffe://a.test/admin',
  ]);
  t.equal(isWebSocketHandshake(head), true);
  const { headers } = rewriteUpgradeHeaders(head, contextOf());
  t.same(valuesOf(headers, 'sec-websocket-key'), ['dGhlIHNhbXBsZSBub25jZQ==']);
  t.same(valuesOf(headers, 'connection'), ['Upgrade']);
  t.same(valuesOf(headers, 'upgrade'), ['websocket']);
  t.same(valuesOf(headers, 'x-spiffe-id'), [WEB]);
  t.end();
});

t.test('an upgrade that is no WebSocket handshake is not taken for one', (t) => {
  const good = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
  ];
  t.equal(isWebSocketHandshake(headOf(good)), true);
  t.equal(isWebSocketHandshake(headOf(good, 'POST /a HTTP/1.1')), false);
  t.equal(isWebSocketHandshake(headOf([...good, 'Content-Length: 5'])), false);
  t.equal(isWebSocketHandshake(headOf([...good, 'Transfer-Encoding: chunked'])), false);
  t.equal(isWebSocketHandshake(headOf([...good, 'Upgrade: h2c'])), false);
  t.equal(isWebSocketHandshake(headOf([...good, good[2] ?? ''])), false);
  t.equal(isWebSocketHandshake(headOf(good.slice(0, 3))), false);
  t.end();
});

t.test('rewriting changes neither the head nor the identity it is given', (t) => {
  const head = headOf(['X-App: 1', 'Via: 1.0 fred']);
  const context = contextOf();
  const before = JSON.stringify([head, context.identity, peerOf()]);
  const first = rewriteRequest(head, context).headers;
  rewriteUpgradeHeaders(head, context);
  t.equal(JSON.stringify([head, context.identity, peerOf()]), before);
  t.same(rewriteRequest(head, context).headers, first);
  t.end();
});
