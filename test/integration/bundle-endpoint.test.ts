import t from 'tap';
import type { BundleEndpointOptions } from '../../src/sources/bundle-endpoint-options.js';
import {
  BundleServer,
  bundleDocument,
  bundleOf,
  type DocumentParts,
  idOf,
  pollerOf,
  subjectsOf,
  urlOf,
} from '../support/bundle-server.js';
import { type Authority, mintRoot, type Svid } from '../support/pki.js';
import { allows, readVectors } from '../unit/identity/vectors.js';

const webRoot = await mintRoot('web', { subject: 'CN=web root', uriSans: [] });
const [ca1, ca2] = [
  await mintRoot('a.test', { subject: 'CN=CA1' }),
  await mintRoot('a.test', { subject: 'CN=CA2' }),
];
const foreign = await mintRoot('b.test', { subject: 'CN=CA-B' });
const roots = new Map<string, Authority>([
  ['CA1', ca1],
  ['CA2', ca2],
]);
const DAY_MS = 86_400_000;
const SERVER_ID = 'spiffe://a.test/b';

const webCertificate = (names: readonly string[]): Promise<Svid> =>
  webRoot.issue([], { otherSans: names, ttlMs: 30 * DAY_MS });
const onLocalhost = await webCertificate(['DNS:localhost', 'IP:127.0.0.1']);
const web: BundleEndpointOptions['profile'] = { kind: 'https_web', ca: [webRoot.certPem] };
const spiffe: BundleEndpointOptions['profile'] = { kind: 'https_spiffe', endpointId: idOf(SERVER_ID) };

const serving = async (
  t: { teardown(run: () => Promise<void>): void },
  credential: Svid,
  document = '',
): Promise<BundleServer> => {
  const server = await BundleServer.start(credential);
  t.teardown(() => server.close());
  if (document !== '') server.serve(document);
  return server;
};

t.test('https_web: a sound answer is in force, and is asked for as the standard says', async (t) => {
  const server = await serving(t, onLocalhost);
  let headers: object = {};
  server.respond = (request, response) => {
    headers = request.headers;
    response.end(bundleDocument([ca1], { sequence: 3 })); // without a content type, which is advice
  };
  const { endpoint, told } = pollerOf({ url: urlOf(`${server.url}?x=1#part`), profile: web });
  t.teardown(() => endpoint.close());
  t.equal(await endpoint.poll(), true);
  t.same(subjectsOf(endpoint.bundle), ['CN=CA1']);
  t.same(told.bundles, [endpoint.bundle]);
  t.same([told.problems, told.recoveries, told.stale], [[], 0, []]);
  t.same(server.asked, ['GET /bundle?x=1']);
  t.match(headers, { accept: 'application/json', 'accept-encoding': 'identity', connection: 'close' });
  t.notMatch(headers, { authorization: /./ });
  t.match(endpoint.status, { url: server.url, failures: 0, lastError: undefined, sequence: '3' });
});

t.test('https_web: the certificate must be of a trusted authority and name the host', async (t) => {
  const selfMade = await mintRoot('web', { subject: 'CN=localhost', uriSans: [] });
  const svid = await ca1.issue(SERVER_ID);
  const named = await selfMade.issue([], { otherSans: ['DNS:localhost'] });
  const expired = await webRoot.issue([], {
    otherSans: ['DNS:localhost'],
    notBefore: new Date(Date.now() - 2000),
    notAfter: new Date(Date.now() - 1000),
  });
  const cases: [string, Svid, readonly string[] | undefined, RegExp][] = [
    [
      'another host',
      await webCertificate(['DNS:other.test']),
      [webRoot.certPem],
      /ERR_TLS_CERT_ALTNAME_INVALID/,
    ],
    [
      'its own authority',
      named,
      [webRoot.certPem],
      /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED|UNABLE_TO_GET/,
    ],
    ["Node's roots", onLocalhost, undefined, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED|UNABLE_TO_GET/],
    ['expired', expired, [webRoot.certPem], /CERT_HAS_EXPIRED/],
    [
      'an SVID, by no authority of the web',
      svid,
      [webRoot.certPem],
      /UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET/,
    ],
    ['an SVID, by a trusted authority', svid, [ca1.certPem], /ERR_TLS_CERT_ALTNAME_INVALID/],
    ['no authority at all', onLocalhost, [], /hold no certificate/],
    ['an empty authority', onLocalhost, [''], /hold no certificate/],
    ['half an authority', onLocalhost, [webRoot.certPem.slice(0, 200)], /cannot be read: .* has no end/],
    ['a good one and garbage', onLocalhost, [webRoot.certPem, 'garbage-----'], /cannot be read: line 1/],
  ];
  for (const [name, credential, ca, why] of cases) {
    const server = await serving(t, credential, bundleDocument([ca1]));
    const profile: BundleEndpointOptions['profile'] =
      ca === undefined ? { kind: 'https_web' } : { kind: 'https_web', ca };
    const { endpoint, told } = pollerOf({ url: urlOf(server.url), profile });
    t.equal(await endpoint.poll(), false, name);
    t.match(told.problems, [why], name);
    t.same([endpoint.bundle, server.asked], [undefined, []], `${name}: nothing was asked`);
    await endpoint.close();
  }
});

t.test('https_spiffe: exactly the configured ID under its own domain, whatever the host name', async (t) => {
  const server = await serving(t, await ca1.issue(SERVER_ID), bundleDocument([ca1, ca2]));
  const url = urlOf(`https://127.0.0.1:${server.port}/bundle`);
  const { endpoint, told } = pollerOf({ url, profile: spiffe, bootstrap: bundleOf([ca1]) });
  t.teardown(() => endpoint.close());
  t.equal(await endpoint.poll(), true);
  t.same(told.bundles.map(subjectsOf), [['CN=CA1'], ['CN=CA1', 'CN=CA2']]);
  t.same(server.handshakes, [{ resumed: false, clientCertificate: false }]);
});

t.test('https_spiffe: intermediates that the server presents count', async (t) => {
  const intermediate = await ca1.intermediate();
  const server = await serving(t, await intermediate.issue(SERVER_ID), bundleDocument([ca2]));
  const { endpoint } = pollerOf({ url: urlOf(server.url), profile: spiffe, bootstrap: bundleOf([ca1]) });
  t.teardown(() => endpoint.close());
  t.equal(await endpoint.poll(), true, String(endpoint.status.lastError));
});

t.test('https_spiffe: any other server is refused before a byte is asked of it', async (t) => {
  const past = { notBefore: new Date(Date.now() - 9000), notAfter: new Date(Date.now() - 1000) };
  const cases: [string, Svid, RegExp][] = [
    [
      'another ID',
      await ca1.issue('spiffe://a.test/cdn'),
      /svid_id_invalid it presents spiffe:\/\/a\.test\/cdn/,
    ],
    ['a longer ID', await ca1.issue(`${SERVER_ID}/c`), /svid_id_invalid/],
    ['another domain', await foreign.issue('spiffe://b.test/b'), /svid_id_invalid/],
    ["another domain's authority", await foreign.issue(SERVER_ID), /chain_untrusted/],
    ['a web certificate', onLocalhost, /svid_uri_san_count/],
    ['two IDs', await ca1.issue([SERVER_ID, 'spiffe://a.test/c']), /svid_uri_san_count/],
    ['expired', await ca1.issue(SERVER_ID, past), /svid_expired/],
    [
      'for clients only',
      await ca1.issue(SERVER_ID, { extendedKeyUsage: ['clientAuth'] }),
      /svid_extended_key_usage/,
    ],
    ['an authority', await ca1.issue(SERVER_ID, { ca: true }), /svid_is_ca/],
  ];
  for (const [name, credential, why] of cases) {
    const server = await serving(t, credential, bundleDocument([ca2]));
    const { endpoint, told } = pollerOf({
      url: urlOf(server.url),
      profile: spiffe,
      bootstrap: bundleOf([ca1]),
    });
    t.equal(await endpoint.poll(), false, name);
    t.match(told.problems, [why], name);
    t.match(told.problems, [/the server is not accepted as spiffe:\/\/a\.test\/b:/]);
    t.same([subjectsOf(endpoint.bundle), server.asked], [['CN=CA1'], []], `${name}: nothing was asked`);
    await endpoint.close();
  }
});

t.test('https_spiffe: an endpoint of another domain is verified with that domain alone', async (t) => {
  const server = await serving(t, await foreign.issue('spiffe://b.test/server'), bundleDocument([ca1]));
  const profile = { kind: 'https_spiffe', endpointId: idOf('spiffe://b.test/server') } as const;
  const known = new Map([
    ['b.test', { ...bundleOf([foreign]), trustDomain: profile.endpointId.trustDomain }],
  ]);
  const url = urlOf(server.url);
  const good = pollerOf({ url, profile }, { endpointBundles: () => known });
  t.equal(await good.endpoint.poll(), true, String(good.endpoint.status.lastError));
  const unknown = pollerOf({ url, profile, bootstrap: bundleOf([foreign]) });
  t.equal(
    await unknown.endpoint.poll(),
    false,
    'the bundle of the domain served does not vouch for the server',
  );
  t.match(unknown.told.problems, [/trust_domain_unknown b\.test/]);
  await Promise.all([good.endpoint.close(), unknown.endpoint.close()]);
});

t.test(
  'https_spiffe: what else stands against the server is asked for, also once it has answered',
  async (t) => {
    const server = await serving(t, await ca1.issue(SERVER_ID), bundleDocument([ca2]));
    const options = { url: urlOf(server.url), profile: spiffe, bootstrap: bundleOf([ca1]) };
    const revoked = { reason: 'svid_revoked', detail: 'key leaked' } as const;
    const refused = pollerOf(options, { checkSvid: () => revoked });
    t.equal(await refused.endpoint.poll(), false);
    t.match(refused.told.problems, [/svid_revoked key leaked/]);
    t.same(server.asked, []);
    const later = pollerOf(options, { checkSvid: () => (server.asked.length > 0 ? revoked : undefined) });
    t.equal(await later.endpoint.poll(), false);
    t.match(later.told.problems, [/svid_revoked key leaked/]);
    t.same(
      [server.asked.length, subjectsOf(later.endpoint.bundle)],
      [1, ['CN=CA1']],
      'its answer is not taken',
    );
    const broken = pollerOf(options, {
      checkSvid: () => {
        throw new Error('out of order');
      },
    });
    t.equal(await broken.endpoint.poll(), false);
    t.match(broken.told.problems, [/could not be judged: out of order/]);
    await Promise.all([refused, later, broken].map(({ endpoint }) => endpoint.close()));
  },
);

t.test('no connection and no session is used twice', async (t) => {
  const server = await serving(t, onLocalhost, bundleDocument([ca1]));
  const { endpoint } = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(() => endpoint.close());
  for (let i = 0; i < 3; i++) t.equal(await endpoint.poll(), true);
  t.same(server.handshakes, Array(3).fill({ resumed: false, clientCertificate: false }));
});

interface RedirectInput {
  readonly profile: 'https_web' | 'https_spiffe';
  readonly url?: string;
  readonly endpointSpiffeId?: string;
  readonly serverId?: string;
  readonly chain?: string;
  readonly redirect?: {
    readonly status: number;
    readonly location: string;
    readonly serverId?: string;
    readonly serverCert?: string;
  };
}

t.test('every vector that needs servers is judged as it asks', async (t) => {
  let judged = 0;
  for (const { id, input, expect, why } of readVectors<RedirectInput>('bundle-endpoint')) {
    const { redirect } = input;
    if (redirect === undefined && input.serverId === undefined) continue; // written parameters: unit test
    judged++;
    const isSpiffe = input.profile === 'https_spiffe';
    const showsSvid = isSpiffe || input.chain === 'spiffe-only';
    const first = await serving(
      t,
      showsSvid ? await ca1.issue(input.serverId ?? input.endpointSpiffeId ?? SERVER_ID) : onLocalhost,
    );
    const targetId = redirect?.serverId ?? input.endpointSpiffeId;
    const isWeb = !isSpiffe || redirect?.serverCert !== undefined;
    const second = await serving(t, isWeb ? onLocalhost : await ca1.issue(targetId!));
    const host = `localhost:${first.port}`;
    const place = (text: string): string =>
      text.replace('a.example', host).replace('cdn.example', `localhost:${second.port}`);
    const document = bundleDocument([ca2], { sequence: 7 });
    second.serve(document);
    if (redirect === undefined) first.serve(document);
    else first.redirect(place(redirect.location), redirect.status);
    const { endpoint, told } = pollerOf({
      url: urlOf(input.url?.includes('10.0.0.5') ? `https://127.0.0.1:${first.port}/b` : `https://${host}/b`),
      profile: isSpiffe ? spiffe : web,
      ...(isSpiffe ? { bootstrap: bundleOf([ca1]) } : {}),
    });
    const isTaken = await endpoint.poll();
    const outcome = expect.outcome === 'follow' ? 'accept' : expect.outcome;
    t.ok(allows({ ...expect, outcome }, isTaken ? 'accept' : 'reject'), `${id}: ${why} ${told.problems}`);
    t.equal(endpoint.status.sequence, isTaken ? '7' : undefined, id);
    if (expect.nextPollUrl !== undefined) {
      await endpoint.poll();
      t.same(first.asked, ['GET /b', 'GET /b'], `${id}: the configured URL is asked again`);
    }
    if (expect.reason === 'server-id') t.same(second.asked, [], `${id}: nothing was asked of the target`);
    await endpoint.close();
  }
  t.equal(judged, 9);
});

interface UpdateInput {
  readonly current?: { readonly seq: number; readonly roots: readonly string[] };
  readonly fetched?: string | { readonly status: number; readonly body: string };
  readonly action?: string;
  readonly configured?: readonly string[];
  readonly stored?: readonly string[] | null;
  readonly endpointSvidSignedBy?: string;
}
const named = (names: readonly string[]): Authority[] => names.map((name) => roots.get(name)!);
const subjectsNamed = (names: unknown): string[] => (names as string[]).map((name) => `CN=${name}`);

t.test('every vector of an update that needs a server is judged as it asks', async (t) => {
  let judged = 0;
  for (const { id, input, expect, why } of readVectors<UpdateInput>('bundle-update')) {
    const { current, fetched, configured } = input;
    const isServed = typeof fetched === 'string' || (fetched !== undefined && 'status' in fetched);
    if (!isServed && input.action === undefined && configured === undefined) continue; // pure: unit test
    judged++;
    const signer = roots.get(input.endpointSvidSignedBy ?? 'CA1')!;
    const server = await serving(t, await signer.issue(SERVER_ID));
    const bootstrap = bundleOf(named(configured ?? current?.roots ?? []));
    const { endpoint, told, clock } = pollerOf({ url: urlOf(server.url), profile: spiffe, bootstrap });
    const publish = (names: readonly string[], parts: DocumentParts): void =>
      server.serve(bundleDocument(named(names), parts));
    if (current !== undefined) {
      publish(current.roots, { sequence: current.seq });
      t.equal(await endpoint.poll(), true, `${id}: the current bundle`);
    }
    if (isServed) {
      if (typeof fetched === 'string') server.serve(fetched);
      else server.serve(fetched!.body, fetched!.status);
      t.equal(await endpoint.poll(), false, `${id}: ${why}`);
      t.same(subjectsOf(endpoint.bundle), subjectsNamed(expect.roots), id);
      t.equal(told.problems.length, 1, `${id}: said`);
      t.ok(clock.waiting.includes(300_000), `${id}: again at the next interval`);
    } else if (input.action !== undefined) {
      const before = server.asked.length;
      await endpoint.forget();
      clock.advance(10 * 300_000);
      t.same(
        [clock.waiting, server.asked.length - before, endpoint.bundle],
        [[], 0, undefined],
        `${id}: ${why}`,
      );
    } else {
      if (input.stored !== null && input.stored !== undefined) {
        server.present(await ca1.issue(SERVER_ID));
        publish(input.stored, {});
        t.equal(await endpoint.poll(), true, `${id}: the first fetch`);
        server.present(await signer.issue(SERVER_ID));
      } else publish(['CA2'], {});
      t.equal(await endpoint.poll(), expect.outcome === 'connect', `${id}: ${why}`);
      if (expect.outcome === 'refuse') t.match(told.problems, [/chain_untrusted/], id);
    }
    await endpoint.close();
  }
  t.equal(judged, 5);
});

t.test('redirects are counted, resolved, and each target is judged', async (t) => {
  const server = await serving(t, onLocalhost);
  const follow = async (respond: BundleServer['respond']): Promise<string> => {
    server.respond = respond;
    server.asked.length = 0;
    const { endpoint, told } = pollerOf({ url: urlOf(server.url), profile: web });
    const isTaken = await endpoint.poll();
    await endpoint.close();
    return isTaken ? `taken after ${server.asked.length}` : told.problems[0]!.replace(`${server.url}: `, '');
  };
  const after = (redirects: number, status: number): BundleServer['respond'] => {
    return (request, response) => {
      const at = Number(request.url!.split('/')[2] ?? 0);
      if (at < redirects) response.writeHead(status, { location: `/bundle/${at + 1}` }).end();
      else response.end(bundleDocument([ca1]));
    };
  };
  for (const status of [301, 302, 303, 307, 308]) t.equal(await follow(after(1, status)), 'taken after 2');
  t.equal(await follow(after(5, 302)), 'taken after 6');
  t.match(await follow(after(6, 302)), /more than 5 redirects/);
  for (const status of [300, 304, 305])
    t.equal(await follow(after(1, status)), `the endpoint answered ${status}`);
  t.match(
    await follow((request, response) => {
      const to = request.url === '/bundle' ? '/b' : '/bundle';
      response.writeHead(302, { location: to }).end();
    }),
    /redirected to .*\/b: the redirects lead in a circle/,
  );
  const plain = (...locations: string[]): BundleServer['respond'] => {
    return (_request, response) => {
      if (locations.length > 0) response.setHeader('location', locations);
      response.writeHead(302).end();
    };
  };
  t.equal(await follow(plain()), 'a redirect (302) with 0 Location headers');
  t.equal(await follow(plain('/a', '/b')), 'a redirect (302) with 2 Location headers');
  t.match(await follow(plain('http://localhost/b')), /the redirect is not followed: .* must be https/);
  t.match(await follow(plain('https://u@localhost/b')), /the redirect is not followed: .* userinfo/);
  t.match(await follow(plain('\\\\localhost/b')), /the redirect is not followed: .*RFC 3986/);
});

t.test('polls follow the hint, and a failed one waits for the next', async (t) => {
  const server = await serving(t, onLocalhost, bundleDocument([ca1], { hint: 600 }));
  const { endpoint, told, clock } = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(() => endpoint.close());
  await endpoint.start();
  t.equal(await endpoint.poll(), true, 'the poll that start began');
  t.same([server.asked.length, clock.waiting], [1, [600_000]]);
  t.equal(endpoint.status.nextPollAt, new Date(clock.now + 600_000).toISOString());
  clock.advance(599_999);
  t.equal(server.asked.length, 1);
  server.serve('{', 503);
  clock.advance(1);
  t.equal(await endpoint.poll(), false, 'the poll that the timer began');
  t.same([server.asked.length, clock.waiting], [2, [600_000]], 'not sooner');
  server.serve(bundleDocument([ca1], { hint: 20 }));
  clock.advance(600_000);
  t.equal(await endpoint.poll(), true);
  t.same(clock.waiting, [20_000], 'the hint may change with nothing else');
  t.same([told.bundles.length, told.recoveries], [1, 1]);
  t.match(endpoint.status, { failures: 1, lastError: undefined });
});

t.test('the first fetch is tried again sooner, slower each time, up to the interval', async (t) => {
  const server = await serving(t, onLocalhost);
  const { endpoint, told, clock } = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(() => endpoint.close());
  const waits: number[] = [];
  for (let i = 0; i < 11; i++) {
    t.equal(await endpoint.poll(), false);
    waits.push(...clock.waiting);
  }
  t.same(
    waits.map((ms) => ms / 1000),
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300],
  );
  t.same(told.problems, [`${server.url}: the endpoint answered 404`], 'said once');
  t.equal(endpoint.status.failures, 11);
  server.serve(bundleDocument([ca1]));
  t.equal(await endpoint.poll(), true);
  server.serve('');
  t.equal(await endpoint.poll(), false);
  t.same(clock.waiting, [300_000], 'once there was one, failures wait for the interval');
});

t.test('a bundle that nobody confirmed for three intervals is stale, and that is said once', async (t) => {
  const server = await serving(t, onLocalhost, bundleDocument([ca1], { hint: 600 }));
  const { endpoint, told, clock } = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(() => endpoint.close());
  await endpoint.poll();
  const fetchedMs = clock.now;
  const failAfter = async (ms: number): Promise<readonly number[]> => {
    server.serve('', 500);
    clock.now += ms;
    await endpoint.poll();
    return [...told.stale];
  };
  t.same(await failAfter(1_800_000), [], 'three intervals and no more');
  t.same(await failAfter(1), [fetchedMs]);
  t.same(await failAfter(600_000), [fetchedMs], 'once');
  t.match(endpoint.status, { staleSince: new Date(fetchedMs).toISOString() });
  t.same(subjectsOf(endpoint.bundle), ['CN=CA1'], 'the last good one serves on');
  server.serve(bundleDocument([ca1], { hint: 10 }));
  await endpoint.poll();
  t.match(endpoint.status, { staleSince: undefined });
  t.equal(told.recoveries, 1);
  const againMs = clock.now;
  t.same(await failAfter(15 * 60_000), [fetchedMs], 'never before a quarter of an hour');
  t.same(await failAfter(1), [fetchedMs, againMs]);
});

t.test('closing breaks a poll off, and nothing is told or asked after it', async (t) => {
  const server = await serving(t, onLocalhost);
  const asked = new Promise<void>((resolve) => {
    server.respond = () => resolve();
  });
  const { endpoint, told, clock } = pollerOf({ url: urlOf(server.url), profile: web });
  await endpoint.start();
  await asked;
  const polling = endpoint.poll();
  await endpoint.close();
  t.equal(await polling, false);
  t.equal(await endpoint.poll(), false, 'a closed one does not poll');
  t.same([told.problems, told.bundles, clock.waiting], [[], [], []]);
  t.equal(server.asked.length, 1);
});

t.test('what the holder of bundles does not take is brought again', async (t) => {
  const server = await serving(t, onLocalhost, bundleDocument([ca1], { sequence: 1 }));
  const { endpoint, told } = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(() => endpoint.close());
  const { onBundle } = told;
  told.onBundle = () => {
    throw new Error('not now');
  };
  t.equal(await endpoint.poll(), false);
  t.equal(endpoint.bundle, undefined);
  t.match(told.problems, [/not now/]);
  told.onBundle = onBundle;
  t.equal(await endpoint.poll(), true);
  t.same([told.bundles.length, told.recoveries], [1, 1]);
});

t.test('calls for a poll during a poll are that poll', async (t) => {
  const server = await serving(t, onLocalhost, bundleDocument([ca1]));
  const { endpoint } = pollerOf({ url: urlOf(server.url), profile: web });
  t.teardown(() => endpoint.close());
  t.same(await Promise.all([endpoint.poll(), endpoint.poll(), endpoint.poll()]), [true, true, true]);
  t.equal(server.asked.length, 1);
});
