import t, { type Test } from 'tap';
import { holdInvariants, seriesOf } from '../support/invariants.js';
import { type Authority, type CertificateOptions, mintRoot, pem } from '../support/pki.js';
import type { ClientOptions, Identity } from '../support/raw-client.js';
import { World } from '../support/start-proxy.js';

/** Class A: what a peer may claim with a certificate. */

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const ADMIN = 'GET /admin/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const WEB = 'spiffe://a.test/web';
const HOUR_MS = 3_600_000;

type Mint = (world: World) => Promise<Identity>;
interface Case {
  readonly name: string;
  readonly mint: Mint;
  readonly reason: string;
}

const chain = (keyPem: string, ...ders: readonly Uint8Array[]): Identity => ({
  chainPem: ders.map((der) => pem('CERTIFICATE', der)).join(''),
  keyPem,
});
const leaf =
  (uris: string | readonly string[], options: CertificateOptions = {}): Mint =>
  ({ caA }) =>
    caA.issue(uris, options);

/** An authority that holds another certificate's key and name, as a thief of a leaf key would make it. */
const impersonate = (world: World, keys: Authority['keys'], subject: string): Promise<Authority> =>
  mintRoot(world.caA.trustDomain, { keys, subject });

const malformedIds = [
  'SPIFFE://a.test/web',
  'Spiffe://a.test/web',
  'spiffe://A.test/web',
  'spiffe://a.test/web/',
  'spiffe://a.test//web',
  'spiffe://a.test/./web',
  'spiffe://a.test/x/../web',
  'spiffe://a.test/%77eb',
  'spiffe://u@a.test/web',
  'spiffe://a.test:443/web',
  'spiffe://a.test:/web',
  'spiffe://a.test/web?x',
  'spiffe://a.test/web?',
  'spiffe://a.test/web#x',
  'spiffe://a.test/web#',
  'spiffe:///web',
  'spiffe://a.test',
  'spiffe://a.test/',
  'spiffe://a.test/we b',
  'spiffe:/a.test/web',
  'spiffe:a.test/web',
  '//a.test/web',
  'https://a.test/web',
  ' spiffe://a.test/web',
  'spiffe://a.test/web ',
  'spiffe://a.test/web\n',
  'spiffe://a.test/web\0',
  'spiffe://a.test/web\0/x',
  'spiffe://a.test\\web',
  'spiffe://a.test/w\u00e9b',
  'spiffe://a.test/*',
  'spiffe://a.test/web, URI:spiffe://a.test/admin', // P007
  'spiffe://a.test/web,spiffe://a.test/admin',
  `spiffe://a.test/${'x'.repeat(2048)}`,
  '',
];

const cases: readonly Case[] = [
  {
    name: 'P002 a leaf of an authority that nobody trusts',
    mint: ({ caC }) => caC.issue('spiffe://c.test/web'),
    reason: 'trust_domain_unknown',
  },
  {
    name: 'P002 the ID of a trusted domain from an authority that nobody trusts',
    mint: ({ caC }) => caC.issue(WEB),
    reason: 'chain_untrusted',
  },
  {
    name: 'P002 an ID whose domain only begins like a trusted one',
    mint: leaf('spiffe://a.test.evil/web'),
    reason: 'trust_domain_unknown',
  },
  {
    name: 'P002 an ID whose domain ends in a dot',
    mint: leaf('spiffe://a.test./web'),
    reason: 'trust_domain_unknown',
  },
  {
    name: 'P003 an ID of a.test from the authority of b.test',
    mint: ({ caB }) => caB.issue('spiffe://a.test/admin'),
    reason: 'chain_untrusted',
  },
  {
    name: 'P003 the same with both roots presented',
    mint: async ({ caA, caB }) => {
      const forged = await caB.issue('spiffe://a.test/admin');
      return chain(forged.keyPem, forged.certDer, caB.certDer, caA.certDer);
    },
    reason: 'chain_untrusted',
  },
  {
    name: 'P003 an ID of a.test from an authority of b.test that has the name of that of a.test',
    mint: async (world) => {
      const twin = await world.caB.intermediate({ subject: world.caA.subject });
      return twin.issue('spiffe://a.test/admin');
    },
    reason: 'chain_signature',
  },
  { name: 'P004 two IDs', mint: leaf([WEB, 'spiffe://a.test/admin']), reason: 'svid_uri_san_count' },
  {
    name: 'P004 two IDs the other way',
    mint: leaf(['spiffe://a.test/admin', WEB]),
    reason: 'svid_uri_san_count',
  },
  {
    name: 'P004 an ID and an https URI',
    mint: leaf([WEB, 'https://a.test/web']),
    reason: 'svid_uri_san_count',
  },
  {
    name: 'P004 an https URI and an ID',
    mint: leaf(['https://a.test/web', WEB]),
    reason: 'svid_uri_san_count',
  },
  { name: 'P004 the same ID twice', mint: leaf([WEB, WEB]), reason: 'svid_uri_san_count' },
  {
    name: 'P005 the ID in the common name alone',
    mint: leaf([], { subject: 'CN=spiffe://a.test/admin' }),
    reason: 'svid_uri_san_count',
  },
  {
    name: 'P005 the ID as a DNS name',
    mint: leaf([], { otherSans: ['DNS:spiffe://a.test/admin'] }),
    reason: 'svid_uri_san_count',
  },
  {
    name: 'P005 the ID as a mail address',
    mint: leaf([], { otherSans: ['email:spiffe://a.test/admin'] }),
    reason: 'svid_uri_san_count',
  },
  { name: 'P008 a leaf that is a CA', mint: leaf(WEB, { ca: true }), reason: 'svid_is_ca' },
  {
    name: 'P008 a leaf with keyCertSign',
    mint: leaf(WEB, { keyUsage: ['digitalSignature', 'keyCertSign'] }),
    reason: 'svid_key_usage',
  },
  {
    name: 'P008 a leaf with cRLSign',
    mint: leaf(WEB, { keyUsage: ['digitalSignature', 'cRLSign'] }),
    reason: 'svid_key_usage',
  },
  ...malformedIds.map((id) => ({
    name: `P009 the ID ${JSON.stringify(id.slice(0, 60))}`,
    mint: leaf(id),
    reason: 'svid_id_invalid',
  })),
  {
    name: 'P010 a leaf that ended a second ago',
    mint: leaf(WEB, { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() - 1000) }),
    reason: 'svid_expired',
  },
  {
    name: 'P010 a leaf that begins in an hour',
    mint: leaf(WEB, {
      notBefore: new Date(Date.now() + HOUR_MS),
      notAfter: new Date(Date.now() + 2 * HOUR_MS),
    }),
    reason: 'svid_not_yet_valid',
  },
  {
    name: 'P010 a live leaf of an intermediate that has ended',
    mint: async ({ caA }) => {
      const notBefore = new Date(Date.now() - HOUR_MS);
      const ended = await caA.intermediate({ notBefore, notAfter: new Date(Date.now() - 1000) });
      return ended.issue(WEB);
    },
    reason: 'issuer_expired',
  },
  {
    name: 'P010 a live leaf of an intermediate that has not begun',
    mint: async ({ caA }) => {
      const young = await caA.intermediate({
        notBefore: new Date(Date.now() + HOUR_MS),
        notAfter: new Date(Date.now() + 2 * HOUR_MS),
      });
      return young.issue(WEB);
    },
    reason: 'issuer_not_yet_valid',
  },
  {
    name: 'P011 a leaf that issued a leaf',
    mint: async (world) => {
      const thief = await impersonate(world, world.web.keys, 'O=Countersign development');
      const forged = await thief.issue('spiffe://a.test/admin');
      return chain(forged.keyPem, forged.certDer, world.web.certDer);
    },
    reason: 'issuer_not_ca',
  },
  {
    name: 'P011 an intermediate without basicConstraints and keyUsage',
    mint: async ({ caA }) =>
      (await caA.intermediate({ ca: null, keyUsage: null })).issue('spiffe://a.test/admin'),
    reason: 'issuer_not_ca',
  },
  {
    name: 'P011 an intermediate without keyCertSign',
    mint: async ({ caA }) =>
      (await caA.intermediate({ keyUsage: ['cRLSign'] })).issue('spiffe://a.test/admin'),
    reason: 'issuer_key_usage',
  },
  {
    name: 'P011 an intermediate below one that may have none below it',
    mint: async ({ caA }) => {
      const last = await caA.intermediate({ pathLength: 0 });
      return (await last.intermediate({ subject: 'CN=one too many' })).issue('spiffe://a.test/admin');
    },
    reason: 'path_length_exceeded',
  },
  {
    name: 'P011 an intermediate that may only speak for another domain',
    mint: async ({ caA }) =>
      (await caA.intermediate({ nameConstraints: { permittedUri: ['other.test'] } })).issue(WEB),
    reason: 'name_constraints',
  },
  {
    name: 'P012 a leaf without digitalSignature',
    mint: leaf(WEB, { keyUsage: ['keyEncipherment'] }),
    reason: 'svid_key_usage',
  },
  { name: 'P012 a leaf without key usage', mint: leaf(WEB, { keyUsage: null }), reason: 'svid_key_usage' },
  {
    name: 'P012 a leaf for servers only',
    mint: leaf(WEB, { extendedKeyUsage: ['serverAuth'] }),
    reason: 'svid_extended_key_usage',
  },
  {
    name: 'P012 a leaf for signing code',
    mint: leaf(WEB, { extendedKeyUsage: ['codeSigning'] }),
    reason: 'svid_extended_key_usage',
  },
  {
    name: 'P013 seventeen certificates',
    mint: async ({ web, caC }) => {
      const others = await Promise.all(Array.from({ length: 16 }, () => caC.issue('spiffe://c.test/x')));
      return chain(web.keyPem, web.certDer, ...others.map((other) => other.certDer));
    },
    reason: 'chain_too_long',
  },
  {
    name: 'P140 the certificate of the authority itself',
    mint: async ({ caA }) => chain(caA.keyPem, caA.certDer),
    reason: 'svid_is_ca',
  },
  {
    name: 'P140 a self-signed certificate with the name of the authority',
    mint: async ({ caA }) => {
      const own = await mintRoot('a.test', { subject: caA.subject });
      return chain(own.keyPem, own.certDer);
    },
    reason: 'svid_is_ca',
  },
  {
    name: 'P140 a self-signed leaf with the name of the authority and the ID of admin',
    mint: async ({ caA }) => {
      const own = await mintRoot('a.test', {
        subject: caA.subject,
        uriSans: ['spiffe://a.test/admin'],
        ca: false,
        keyUsage: ['digitalSignature'],
      });
      return chain(own.keyPem, own.certDer);
    },
    reason: 'chain_signature',
  },
  {
    name: 'a leaf with a critical extension that nobody knows',
    mint: leaf(WEB, { extensions: [{ oid: '1.2.3.4', critical: true }] }),
    reason: 'svid_critical_extension',
  },
];

for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
  t.test(`${version}: no certificate that is not a sound SVID gets anything through`, async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    for (const { name, mint, reason } of cases) {
      await refused(t, world, name, await mint(world), reason, { minVersion: version, maxVersion: version });
    }
    t.equal(world.upstream.bytes, '', 'the upstream saw no byte');
    await holdInvariants(t, world);
  });

  t.test(`${version}: P001 without a certificate every route says 403`, async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    for (const request of [GET, ADMIN, 'GET / HTTP/1.1\r\nHost: locked.test\r\n\r\n']) {
      const client = await world.nobody({ minVersion: version, maxVersion: version });
      const [answer] = await client.ask(request);
      t.equal(answer?.status, 403);
      t.equal(JSON.parse(answer?.body ?? '{}').reason, 'certificate_missing');
      await client.untilClosed();
    }
    t.equal(world.upstream.bytes, '');
    const records = await world.untilRecords(3);
    t.same(
      records.map((record) => [record.decision.reason, record.principal]),
      Array.from({ length: 3 }, () => ['certificate_missing', undefined]),
    );
    await holdInvariants(t, world);
  });
}

async function refused(
  t: Test,
  world: World,
  name: string,
  identity: Identity,
  reason: string,
  options: Partial<ClientOptions>,
): Promise<void> {
  const before = world.exchanges.length;
  const client = await world.client(identity as World['web'], options);
  const answers = await client.ask(GET + ADMIN); // what follows the refusal is never answered
  t.same(
    answers.map(({ status, body }) => [status, JSON.parse(body).reason]),
    [[403, reason]],
    name,
  );
  await client.untilClosed();
  const records = (await world.untilRecords(before + 1)).slice(before);
  t.same(
    records.map(({ decision }) => [decision.effect, decision.reason]),
    [['deny', reason]],
    `${name}: one record`,
  );
}

t.test('P006 P007 the text of an ID in any other name is not an ID', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const otherSans = [
    'email:spiffe://a.test/admin',
    'otherName:1.3.6.1.4.1.311.20.2.3=spiffe://a.test/admin',
    'DNS:x, URI:spiffe://a.test/admin',
    'DNS:", URI:"spiffe://a.test/admin"',
  ];
  for (const san of otherSans) {
    const client = await world.client(await world.caA.issue(WEB, { otherSans: [san] }));
    t.equal((await client.ask(GET))[0]?.status, 200, san);
    t.equal((await client.ask(ADMIN))[0]?.status, 403, san);
  }
  const subject = await world.client(await world.caA.issue(WEB, { subject: 'CN=spiffe://a.test/admin' }));
  t.equal((await subject.ask(ADMIN))[0]?.status, 403);
  for (const request of world.upstream.requests) t.same(request.all('x-spiffe-id'), [WEB]);
  await holdInvariants(t, world);
});

t.test('P013 certificates that were sent along are of no account', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const { web, caA, caB } = world;
  const strangers = await Promise.all(
    ['x', 'y', 'z'].map((path) => world.caC.issue(`spiffe://c.test/${path}`)),
  );
  const extra = [...strangers.map((svid) => svid.certDer), caB.certDer];
  const inner = await (await caA.intermediate({ subject: 'CN=outer' })).intermediate({ subject: 'CN=inner' });
  const deep = await inner.issue(WEB);
  for (const [name, identity] of [
    ['three strangers and the root of b.test', chain(web.keyPem, web.certDer, ...extra)],
    ['the own root', chain(web.keyPem, web.certDer, caA.certDer)],
    ['the leaf twice', chain(web.keyPem, web.certDer, web.certDer)],
    ['the certificate of admin', chain(web.keyPem, web.certDer, world.admin.certDer)],
    ['two intermediates', chain(deep.keyPem, ...deep.chainDer)],
    [
      'two intermediates in the wrong order, strangers between',
      chain(deep.keyPem, deep.certDer, ...extra, ...deep.chainDer.slice(1).reverse()),
    ],
  ] as const) {
    const client = await world.client(identity as World['web']);
    t.equal((await client.ask(GET))[0]?.status, 200, name);
    t.equal((await client.ask(ADMIN))[0]?.status, 403, `${name}: no authority`);
  }
  for (const request of world.upstream.requests) t.same(request.all('x-spiffe-id'), [WEB]);
  await holdInvariants(t, world);
});

t.test('twenty domains that nobody trusts are counted, and named in no metric', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const stranger = async (i: number): Promise<void> => {
    const forged = await world.caC.issue(`spiffe://c${i}.test/web`);
    const client = await world.client(
      chain(forged.keyPem, forged.certDer, world.caC.certDer) as World['web'],
    );
    t.equal((await client.ask(GET))[0]?.status, 403);
    await client.untilClosed();
  };
  await (await world.client()).ask(GET);
  await stranger(0);
  const before = await seriesOf(world);
  for (let i = 1; i <= 20; i++) await stranger(i);
  const metrics = await world.metrics();
  t.match(metrics, /countersign_refusals_total\{listener="inbound",reason="trust_domain_unknown"\} 21/);
  t.notMatch(metrics, /c\d+\.test/);
  await holdInvariants(t, world, { seriesBefore: before });
});

t.test('a certificate of one client says nothing for the next connection without one', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  for (let i = 0; i < 3; i++) {
    t.equal((await (await world.client()).ask(GET))[0]?.status, 200);
    t.equal((await (await world.nobody()).ask(GET))[0]?.status, 403);
  }
  t.equal(world.upstream.requests.length, 3);
  await holdInvariants(t, world);
});
