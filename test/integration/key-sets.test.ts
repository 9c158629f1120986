import { gzipSync } from 'node:zlib';
import t from 'tap';
import { jwksOf, KeyServer, keyClient, kidsOf, newIssuerKey } from '../support/key-sets.js';
import { mintRoot } from '../support/pki.js';
import { waitFor } from '../support/start-proxy.js';

const [k1, k2, k3] = [newIssuerKey('k1'), newIssuerKey('k2'), newIssuerKey('k3')];

type Teardown = Parameters<typeof KeyServer.start>[0];

/** A client that has the key k1, and its server, which may do what it likes from here on. */
async function trusted(t: Teardown, options: { maxStaleMs?: number } = {}) {
  const server = await KeyServer.start(t);
  server.publish(k1);
  const client = keyClient({ at: server.url, ...options });
  t.teardown(async () => client.endpoint.close());
  if (!(await client.endpoint.fetch())) throw new Error(client.told.problems.join());
  return { server, ...client };
}

t.test('keys at a URL are fetched by one plain GET, whose server has proven itself', async (t) => {
  const server = await KeyServer.start(t);
  const headers: unknown[] = [];
  server.server.respond = (request, response) => {
    headers.push(request.headers.accept, request.headers['accept-encoding'], request.headers.authorization);
    response.end(jwksOf(k1, k2));
  };
  const { endpoint, told, clock } = keyClient({ at: server.url });
  t.teardown(() => endpoint.close());
  t.equal(await endpoint.fetch(), true);
  t.same(kidsOf(endpoint.fetched?.keys), ['k1', 'k2']);
  t.same(server.asked, ['GET /keys']);
  t.same(headers, ['application/jwk-set+json, application/json', 'identity', undefined]);
  t.same(told.keys.map(kidsOf), [['k1', 'k2']]);
  t.same(clock.waiting, [600_000], 'and again after the interval');
  const stranger = await mintRoot('other', { uriSans: [] });
  const distrusting = keyClient({ at: server.url, ca: () => [stranger.certPem] });
  t.teardown(() => distrusting.endpoint.close());
  t.equal(await distrusting.endpoint.fetch(), false);
  t.match(distrusting.told.problems, [/no TLS connection/]);
  t.equal(server.asked.length, 1, 'who has not proven itself is asked nothing');
});

t.test('keys are discovered by the metadata of exactly the configured issuer', async (t) => {
  const server = await KeyServer.start(t);
  const { issuer } = server;
  const fetchWith = async (metadata: Record<string, unknown>, configured = issuer) => {
    server.publishAll(metadata, k1);
    const { endpoint, told } = keyClient({ at: server.url, discovers: configured });
    const done = await endpoint.fetch();
    endpoint.close();
    return done ? kidsOf(endpoint.fetched?.keys) : told.problems.join();
  };
  t.same(await fetchWith({ issuer, jwks_uri: server.url }), ['k1']);
  t.same(server.asked, ['GET /.well-known/openid-configuration', 'GET /keys']);
  t.same(await fetchWith({ issuer: `${issuer}/`, jwks_uri: server.url }, `${issuer}/`), ['k1']);
  const asked = server.asked.length;
  const other = /the metadata is that of another issuer/;
  t.match(await fetchWith({ issuer: `${issuer}/`, jwks_uri: server.url }), other, 'a slash counts');
  t.match(await fetchWith({ issuer: issuer.toUpperCase(), jwks_uri: server.url }), other, 'case counts');
  t.match(await fetchWith({ jwks_uri: server.url }), other, 'no issuer');
  t.match(await fetchWith({ issuer: [issuer], jwks_uri: server.url }), other, 'not text');
  t.match(await fetchWith({ issuer }), /jwks_uri of the metadata cannot be used: the URL must be text/);
  t.match(
    await fetchWith({ issuer, jwks_uri: 'http://localhost/keys' }),
    /jwks_uri of the metadata cannot be used: the URL's scheme is http, and must be https/,
  );
  t.match(
    await fetchWith({ issuer, jwks_uri: 'https://user@localhost/keys' }),
    /jwks_uri of the metadata cannot be used: .*userinfo/,
  );
  t.equal(server.asked.length, asked + 7, 'no keys were asked for by any of them');
});

t.test('metadata that names a member twice is refused: two readers would read two of them', async (t) => {
  const server = await KeyServer.start(t);
  server.server.serve(`{"issuer":"${server.issuer}","jwks_uri":"${server.url}","issuer":"https://x.test"}`);
  const { endpoint, told } = keyClient({ at: server.url, discovers: server.issuer });
  t.teardown(() => endpoint.close());
  t.equal(await endpoint.fetch(), false);
  t.match(told.problems, [/the metadata is not sound JSON: the member "issuer" is there twice/]);
});

t.test('whatever else a server says, the last good keys serve on', async (t) => {
  const { server, endpoint, told, clock } = await trusted(t);
  const keys = endpoint.fetched?.keys;
  const large = JSON.stringify({ keys: [], pad: 'x'.repeat(256 * 1024) });
  const secret = { ...k2.jwk, ...k2.privateKey.export({ format: 'jwk' }) };
  const cases: [string, () => void, RegExp][] = [
    ['a redirect', () => server.server.redirect(server.url, 302), /redirects .* is not followed/],
    ['a redirect for good', () => server.server.redirect('https://localhost/x', 308), /is not followed/],
    ['an error', () => server.server.serve(jwksOf(k2), 500), /the endpoint answered 500/],
    ['not modified', () => server.server.serve('', 304), /the endpoint answered 304/],
    ['too much', () => server.server.serve(large), /the key set is longer than 262144 bytes/],
    [
      'too much without a length',
      () => {
        server.server.respond = (_request, response) => {
          response.write(large.slice(0, 1000));
          response.end(large.slice(1000));
        };
      },
      /the key set is longer than 262144 bytes/,
    ],
    [
      'compressed',
      () => server.server.serve(gzipSync(jwksOf(k2)), 200, { 'content-encoding': 'gzip' }),
      /compressed/,
    ],
    ['no JSON', () => server.server.serve('<html>'), /the key set is not sound JSON/],
    ['no JWK Set', () => server.server.serve('{}'), /no JWK Set/],
    ['a private key', () => server.server.serve(JSON.stringify({ keys: [secret] })), /private key/],
    [
      'one kid twice',
      () => server.server.serve(jwksOf(k2, { ...k3, jwk: { ...k3.jwk, kid: 'k2' } })),
      /twice/,
    ],
    [
      'cut short',
      () => {
        server.server.respond = (_request, response) => {
          response.writeHead(200, { 'content-length': 100 });
          response.write('{"keys":[');
          setImmediate(() => response.destroy());
        };
      },
      /cut short/,
    ],
  ];
  for (const [what, misbehave, why] of cases) {
    misbehave();
    const before = told.problems.length;
    t.equal(await endpoint.fetch(), false, what);
    t.match(endpoint.status.lastError, why, what);
    t.equal(endpoint.fetched?.keys, keys, `${what}: the last good keys`);
    t.ok(told.problems.length - before <= 1);
  }
  t.equal(told.problems.length, 8, 'however many ways it finds to fail, the log hears of eight in an outage');
  t.equal(endpoint.status.failures, cases.length);
  t.notMatch(told.problems.join(), String(secret.d), 'a secret that somebody published is not shown');
  t.ok((clock.waiting[0] ?? 0) <= 600_000);
  server.publish(k2);
  t.equal(await endpoint.fetch(), true);
  t.same(kidsOf(endpoint.fetched?.keys), ['k2']);
  t.equal(endpoint.status.lastError, undefined);
});

t.test('after a failure it asks again soon, and ever more seldom', async (t) => {
  const { server, endpoint, clock } = await trusted(t);
  server.server.serve('', 503);
  const waits: (number | undefined)[] = [];
  for (let i = 0; i < 12; i++) {
    await endpoint.fetch();
    waits.push(clock.waiting[0]);
  }
  t.same(
    waits,
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600].map((seconds) => seconds * 1000),
  );
  server.publish(k1);
  await endpoint.fetch();
  t.same(clock.waiting, [600_000], 'as ever');
});

t.test(
  'a server that answers too slowly is left within ten seconds, metadata and keys together',
  async (t) => {
    const server = await KeyServer.start(t);
    const { waiting } = server.hold();
    const { endpoint, told, clock } = keyClient({ at: server.url, discovers: server.issuer });
    t.teardown(() => endpoint.close());
    const fetching = endpoint.fetch();
    await waitFor(() => waiting.length === 1);
    clock.advance(9000);
    waiting[0]?.end(JSON.stringify({ issuer: server.issuer, jwks_uri: server.url }));
    await waitFor(() => waiting.length === 2);
    waiting[1]?.write('{"keys":');
    clock.advance(1000);
    t.equal(await fetching, false);
    t.match(told.problems, [/no whole answer within 10 seconds/]);
  },
);

t.test('a flood of tokens with made-up keys is one fetch, and none for half a minute', async (t) => {
  const { server, endpoint, clock } = await trusted(t);
  const flood = () => Promise.all(Array.from({ length: 1000 }, () => endpoint.lookForKey()));
  t.same(new Set(await flood()), new Set([false]));
  t.equal(server.asked.length, 1, 'they were fetched a moment ago');
  clock.advance(30_000);
  const { waiting } = server.hold();
  const flooded = flood();
  await waitFor(() => waiting.length === 1);
  waiting[0]?.end(jwksOf(k1));
  t.same(new Set(await flooded), new Set([false]), 'nothing new');
  t.equal(server.asked.length, 2);
  clock.advance(29_999);
  t.equal(await endpoint.lookForKey(), false);
  t.equal(server.asked.length, 2);
  server.publish(k1, k2);
  clock.advance(1);
  t.same(new Set(await flood()), new Set([true]), 'and the key that one of them names is there');
  t.equal(server.asked.length, 3);
  t.same(kidsOf(endpoint.fetched?.keys), ['k1', 'k2']);
});

t.test(
  'failed fetches count for the pause as well, and a clock that is set back does not stop it',
  async (t) => {
    const { server, endpoint, clock } = await trusted(t);
    server.server.serve('', 500);
    clock.advance(30_000);
    await endpoint.lookForKey();
    t.equal(server.asked.length, 2);
    await endpoint.lookForKey();
    t.equal(server.asked.length, 2, 'an issuer in trouble is not asked by every token');
    clock.now -= 86_400_000;
    server.publish(k2);
    t.equal(await endpoint.lookForKey(), true);
  },
);

t.test('keys that are gone are gone at once, all of them where none is left', async (t) => {
  const { server, endpoint } = await trusted(t);
  server.publish(k2);
  await endpoint.fetch();
  t.same(kidsOf(endpoint.fetched?.keys), ['k2']);
  server.publish();
  t.equal(await endpoint.fetch(), true);
  t.same(kidsOf(endpoint.fetched?.keys), []);
});

t.test('the same keys in another order are the same object', async (t) => {
  const { server, endpoint, told } = await trusted(t);
  server.publish(k1, k2);
  await endpoint.fetch();
  const before = endpoint.fetched?.keys;
  server.publish(k2, k1);
  await endpoint.fetch();
  t.equal(endpoint.fetched?.keys, before);
  t.equal(told.keys.length, 3);
  t.equal(told.keys[2], before);
});

t.test('keys without a fetch that went well count until they are too old', async (t) => {
  const { server, endpoint, clock } = await trusted(t, { maxStaleMs: 3_600_000 });
  const fetchedMs = clock.now;
  server.server.serve('', 503);
  clock.now += 3_600_000;
  await endpoint.fetch();
  t.equal(endpoint.outdatedSinceMs(clock.now), undefined, 'to the last millisecond');
  t.equal(endpoint.outdatedSinceMs(clock.now + 1), fetchedMs);
  server.publish(k1);
  await endpoint.fetch();
  t.equal(endpoint.outdatedSinceMs(clock.now + 1), undefined);
});

t.test('what was fetched under authorities that count no more is not taken', async (t) => {
  const server = await KeyServer.start(t);
  const { waiting } = server.hold();
  const { endpoint, told } = keyClient({ at: server.url });
  t.teardown(() => endpoint.close());
  const first = endpoint.fetch();
  await waitFor(() => waiting.length === 1);
  const renewed = endpoint.renew();
  t.equal(await first, false);
  t.match(told.problems, [/the authorities that count have changed/]);
  await waitFor(() => waiting.length === 2);
  waiting[0]?.end(jwksOf(k1));
  waiting[1]?.end(jwksOf(k2));
  await renewed;
  t.same(told.keys.map(kidsOf), [['k2']]);
});

t.test('a closed client asks nobody, and a fetch under way ends without a word', async (t) => {
  const { server, endpoint, told, clock } = await trusted(t);
  const { waiting } = server.hold();
  const fetching = endpoint.fetch();
  await waitFor(() => waiting.length === 1);
  endpoint.close();
  t.equal(await fetching, false);
  t.same(told.problems, []);
  t.same(clock.waiting, []);
  t.equal(await endpoint.lookForKey(), false);
  t.equal(server.asked.length, 2);
});

t.test('keys that nobody could take up are brought again by the next fetch', async (t) => {
  const { server, endpoint, told } = await trusted(t);
  const take = endpoint.events.onFetched;
  let isBroken = true;
  Object.assign(endpoint.events, {
    onFetched: (keys: Parameters<typeof take>[0]) => {
      if (isBroken) throw new Error('nobody is there');
      take(keys);
    },
  });
  server.publish(k2);
  t.equal(await endpoint.fetch(), false);
  t.same(kidsOf(endpoint.fetched?.keys), ['k1']);
  t.match(told.problems, [/nobody is there/]);
  isBroken = false;
  await endpoint.fetch();
  t.same(kidsOf(endpoint.fetched?.keys), ['k2']);
});
