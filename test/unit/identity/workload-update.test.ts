import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.js';
import type { X509SvidMessage } from '../../../src/identity/workload-proto.js';
import { chooseSvid, type SvidWish } from '../../../src/identity/workload-svid.js';
import {
  type Reading,
  readJwtBundles,
  readX509Bundles,
  readX509Update,
  workloadLimits,
} from '../../../src/identity/workload-update.js';
import type { Result } from '../../../src/reasons.js';
import { type Authority, generateKeys, mintRoot, type Svid } from '../../support/pki.js';
import { pkcs8Der, svidMessage, svidResponse } from '../../support/workload-client.js';

const a = await mintRoot('a.test');
const a2 = await mintRoot('a.test');
const b = await mintRoot('b.test');
const svid = await a.issue('spiffe://a.test/p');
const good = svidMessage(svid, a);

const atOnce = <T>(reading: Reading<T>): Result<T, string> => {
  for (;;) {
    const step = reading.next();
    if (step.done) return step.value;
  }
};
const problemOf = (result: Result<unknown, string>): string => (result.ok ? 'accepted' : result.error);
const problem = (changes: Partial<X509SvidMessage>): string =>
  problemOf(atOnce(readX509Update(svidResponse([{ ...good, ...changes }]))));

function accepted<T>(result: Result<T, string>): T {
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

t.test('a sound message gives SVIDs that can be presented, bundles by domain and lists', async (t) => {
  const intermediate = await a.intermediate();
  const below = await intermediate.issue('spiffe://a.test/deep');
  const { der: crl } = await a.crl({ revoked: ['77'] });
  const update = accepted(
    atOnce(
      readX509Update(
        svidResponse([good, svidMessage(below, a, { hint: 'internal' })], {
          crl: [crl],
          federatedBundles: { 'spiffe://b.test': b.certDer },
        }),
      ),
    ),
  );
  const [first, second] = update.svids;
  t.equal(first?.id.uri, 'spiffe://a.test/p');
  t.equal(first?.hint, '');
  t.equal(first?.certificatePem, svid.certPem);
  t.equal(first?.keyPem, svid.keyPem);
  t.ok(first?.key.equals(createPrivateKey(svid.keyPem)));
  t.same(second?.certificates, below.chainDer, 'leaf first, then what stands above it');
  t.equal(second?.certificatePem, below.chainPem);
  t.equal(second?.chain.role, 'server');
  t.equal(second?.hint, 'internal');
  t.same([...update.bundles.keys()], ['a.test', 'b.test']);
  t.same(
    [...update.bundles.values()].map(({ authorities }) => authorities.map(({ sha256 }) => sha256)),
    [[a.sha256], [b.sha256]],
  );
  t.equal(update.bundles.get('a.test')?.jwtKeys.size, 0, 'a certificate is no key for tokens (WA-7)');
  t.equal(update.crls[0]?.has('77'), true);
});

t.test('two certificates in a row are two authorities', async (t) => {
  const update = accepted(
    atOnce(readX509Update(svidResponse([{ ...good, bundle: Buffer.concat([a.certDer, a2.certDer]) }]))),
  );
  t.equal(update.bundles.get('a.test')?.authorities.length, 2);
});

t.test('a mandatory field at its default refuses the message', async (t) => {
  t.equal(problemOf(atOnce(readX509Update(svidResponse([])))), 'svids is empty');
  t.equal(problem({ spiffeId: '' }), 'SVID 1: spiffe_id is missing');
  t.equal(problem({ x509Svid: Buffer.alloc(0) }), 'SVID 1: x509_svid is missing');
  t.equal(problem({ x509SvidKey: Buffer.alloc(0) }), 'SVID 1: x509_svid_key is missing');
  t.equal(problem({ bundle: Buffer.alloc(0) }), 'SVID 1: bundle is missing');
  t.equal(problemOf(atOnce(readX509Bundles({ crl: [], bundles: {} }))), 'bundles is empty');
  t.equal(problemOf(atOnce(readJwtBundles({ bundles: {} }))), 'bundles is empty');
});

t.test('a certificate chain that is not exactly concatenated DER is refused', async (t) => {
  const chain = (x509Svid: Buffer): string => problem({ x509Svid });
  t.equal(chain(Buffer.from(svid.certPem)), 'SVID 1: x509_svid: it is PEM; DER is asked for');
  t.equal(
    chain(Buffer.concat([svid.certDer, Buffer.from([0])])),
    'SVID 1: x509_svid: certificate 2 is missing or of another type',
  );
  t.equal(chain(svid.certDer.subarray(0, -1)), 'SVID 1: x509_svid: certificate 1 is cut short');
  t.equal(
    chain(Buffer.concat([svid.certDer, Buffer.from('3003020101', 'hex')])),
    'SVID 1: x509_svid: one of the certificates after the first cannot be read',
  );
  t.match(chain(Buffer.from('3003020101', 'hex')), /^SVID 1: x509_svid: svid_malformed: /);
  t.equal(
    chain(Buffer.concat(Array.from({ length: 17 }, () => svid.certDer))),
    'SVID 1: x509_svid: it holds more than 16 certificates',
  );
  t.match(chain(a.certDer), /^SVID 1: x509_svid: svid_is_ca: /, 'a CA is not presented (X5-9)');
});

t.test('an SVID under another name than the announced one is refused', async (t) => {
  t.equal(
    problem({ spiffeId: 'spiffe://a.test/q' }),
    'SVID 1: x509_svid: it is that of spiffe://a.test/p, not of spiffe://a.test/q',
  );
  t.equal(
    problem({ spiffeId: 'spiffe://A.test/p' }),
    'SVID 1: spiffe_id: the trust domain has capital letters',
  );
  t.match(problem({ spiffeId: 'spiffe://a.test' }), /it is that of spiffe:\/\/a.test\/p, not of/);
});

t.test(
  'a key that is not that of the leaf, or not plain PKCS#8 DER, is refused and never shown',
  async (t) => {
    const other = await a.issue('spiffe://a.test/p');
    t.equal(
      problem({ x509SvidKey: pkcs8Der(other) }),
      'SVID 1: x509_svid_key: it is not the key of the certificate',
    );
    const key = createPrivateKey(svid.keyPem);
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
    const notPkcs8: Readonly<Record<string, Buffer>> = {
      PEM: Buffer.from(svid.keyPem),
      SEC1: key.export({ format: 'der', type: 'sec1' }),
      'PKCS#1': rsa.export({ format: 'der', type: 'pkcs1' }),
      encrypted: key.export({ format: 'der', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }),
      'followed by something': Buffer.concat([pkcs8Der(svid), Buffer.from([0])]),
      'cut short': pkcs8Der(svid).subarray(0, -1),
      garbage: Buffer.from('garbage'),
    };
    for (const [what, bytes] of Object.entries(notPkcs8))
      t.equal(
        problem({ x509SvidKey: bytes }),
        'SVID 1: x509_svid_key: it is not a private key in PKCS#8 DER without a password',
        what,
      );
  },
);

t.test('one bad part of a message refuses the whole of it', async (t) => {
  const bad = (
    changes: Parameters<typeof svidResponse>[1],
    svids: readonly X509SvidMessage[] = [good],
  ): string => problemOf(atOnce(readX509Update(svidResponse(svids, changes))));
  t.equal(
    bad({}, [good, { ...good, hint: 'x', x509SvidKey: Buffer.from('no') }]),
    'SVID 2: x509_svid_key: it is not a private key in PKCS#8 DER without a password',
  );
  t.match(problem({ bundle: Buffer.from(a.certPem) }), /^SVID 1: bundle: it is PEM; DER is asked for$/);
  t.match(
    problem({ bundle: svid.certDer }),
    /^SVID 1: bundle: certificate 1: the certificate of .* is not a CA$/,
  );
  t.equal(
    bad({ federatedBundles: { 'spiffe://b.test': Buffer.from('garbage') } }),
    'federated_bundles: b.test: certificate 1 is missing or of another type',
  );
  t.equal(bad({ crl: [Buffer.from('garbage')] }), 'crl 1: it is not DER');
  t.equal(bad({ crl: [Buffer.from((await a.crl()).pem)] }), 'crl 1: it is not DER');
  t.match(bad({ crl: [(await a.crl()).der, Buffer.from('3000', 'hex')] }), /^crl 2: /);
});

t.test('the keys of a bundle map are the SPIFFE IDs of trust domains, and nothing like them', async (t) => {
  const key = (name: string): string =>
    problemOf(atOnce(readX509Bundles({ crl: [], bundles: Object.fromEntries([[name, b.certDer]]) })));
  t.equal(key('spiffe://b.test'), 'accepted');
  t.equal(
    key('b.test'),
    'bundles: "b.test" is not the SPIFFE ID of a trust domain: the scheme is not spiffe://',
  );
  t.equal(
    key('spiffe://b.test/'),
    'bundles: "spiffe://b.test/" is not the SPIFFE ID of a trust domain: the path ends with a slash',
  );
  t.match(key('spiffe://b.test/p'), /: it has a path$/);
  t.match(key('spiffe://B.test'), /: the trust domain has capital letters$/);
  t.match(key('__proto__'), /: the scheme is not spiffe:\/\/$/);
  t.match(key(''), /: the scheme is not spiffe:\/\/$/);
});

t.test('an empty bundle withdraws a domain and leaves no other one touched', async (t) => {
  const { bundles } = accepted(
    atOnce(
      readX509Bundles({
        crl: [],
        bundles: { 'spiffe://a.test': a.certDer, 'spiffe://b.test': Buffer.alloc(0) },
      }),
    ),
  );
  t.same(bundles.get('b.test')?.authorities, [], 'known, and nobody may use it');
  t.equal(bundles.get('a.test')?.authorities.length, 1);
});

t.test('two different bundles for one domain refuse the message; the same one twice does not', async (t) => {
  const federated = (bundle: Buffer): string =>
    problemOf(
      atOnce(readX509Update(svidResponse([good], { federatedBundles: { 'spiffe://a.test': bundle } }))),
    );
  const conflict = 'the message holds two different bundles for a.test';
  t.equal(federated(a2.certDer), `federated_bundles: a.test: ${conflict}`);
  t.equal(federated(Buffer.concat([a.certDer, a2.certDer])), `federated_bundles: a.test: ${conflict}`);
  t.equal(federated(Buffer.alloc(0)), `federated_bundles: a.test: ${conflict}`);
  t.equal(federated(a.certDer), 'accepted');
  const other = { ...good, bundle: a2.certDer };
  t.equal(problemOf(atOnce(readX509Update(svidResponse([good, other])))), `SVID 2: bundle: ${conflict}`);
});

t.test('of two SVIDs with one hint the first counts; without a hint all do', async (t) => {
  const issue = async (path: string, hint: string): Promise<X509SvidMessage> =>
    svidMessage(await a.issue(`spiffe://a.test/${path}`), a, { hint });
  const messages = [
    await issue('1', 'x'),
    await issue('2', ''),
    await issue('3', 'x'),
    await issue('4', ''),
    await issue('5', 'X'),
  ];
  const { svids } = accepted(atOnce(readX509Update(svidResponse(messages))));
  t.same(
    svids.map(({ id }) => id.path),
    ['/1', '/2', '/4', '/5'],
  );
});

t.test('a hint may have 1024 bytes and not one more', async (t) => {
  t.equal(problem({ hint: 'é'.repeat(512) }), 'accepted');
  t.equal(problem({ hint: `${'é'.repeat(512)}x` }), 'SVID 1: hint is longer than 1024 bytes');
});

t.test('more than a message may hold refuses it before the work is done', async (t) => {
  const many = <T>(count: number, item: T): T[] => Array.from({ length: count }, () => item);
  const map = (count: number) =>
    Object.fromEntries(many(count, 0).map((_, i) => [`spiffe://d${i}.test`, Buffer.alloc(0)]));
  const { svids, bundles, crls, authorities } = workloadLimits;
  t.equal(
    problemOf(atOnce(readX509Update(svidResponse(many(svids + 1, good))))),
    `it holds ${svids + 1} SVIDs, more than ${svids}`,
  );
  t.equal(
    problemOf(atOnce(readX509Bundles({ crl: [], bundles: map(bundles + 1) }))),
    `bundles: ${bundles + 1} bundles are more than ${bundles}`,
  );
  t.equal(problemOf(atOnce(readX509Bundles({ crl: [], bundles: map(bundles) }))), 'accepted');
  t.equal(
    problemOf(atOnce(readX509Bundles({ crl: many(crls + 1, Buffer.alloc(0)), bundles: map(1) }))),
    `it holds ${crls + 1} revocation lists, more than ${crls}`,
  );
  const flood = Buffer.alloc(2 * (authorities + 1), Buffer.from('3000', 'hex'));
  t.equal(
    problemOf(atOnce(readX509Bundles({ crl: [], bundles: { 'spiffe://a.test': flood } }))),
    `bundles: a.test: it holds more than ${authorities} certificates`,
  );
});

t.test('reading pauses after each heavy item', async (t) => {
  const response = svidResponse([good], {
    crl: [(await a.crl()).der],
    federatedBundles: { 'spiffe://b.test': b.certDer },
  });
  const steps = readX509Update(response);
  let pauses = 0;
  let step = steps.next();
  for (; !step.done; step = steps.next()) pauses++;
  t.equal(pauses, 4, 'SVID, two authorities, list');
});

const jwk = async (kid: string, more: object = {}): Promise<Record<string, unknown>> => {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', (await generateKeys()).publicKey);
  return { kty, crv, x, y, kid, ...more };
};
const jwks = (...keys: readonly object[]): Buffer => Buffer.from(JSON.stringify({ keys }));

t.test(
  'JWT bundles hold the keys for tokens: those marked so, and those without a mark, as SPIRE sends them',
  async (t) => {
    const bundles = accepted(
      atOnce(
        readJwtBundles({
          bundles: {
            'spiffe://a.test': jwks(
              await jwk('marked', { use: 'jwt-svid' }),
              await jwk('plain'),
              await jwk('x509', { use: 'x509-svid', x5c: [a.certDer.toString('base64')] }),
              await jwk('wit', { use: 'wit-svid' }),
              await jwk('case', { use: 'JWT-SVID' }),
              await jwk(''),
              { kty: 'oct', kid: 'unknown', x: 'AAAA' },
            ),
            'spiffe://b.test': jwks(),
            'spiffe://c.test': Buffer.alloc(0),
          },
        }),
      ),
    );
    const bundle = bundles.get('a.test');
    t.same([...(bundle?.jwtKeys.keys() ?? [])], ['marked', 'plain']);
    t.same(bundle?.authorities, [], 'a certificate among them is no authority (WA-7)');
    t.equal(bundle?.jwtKeys.get('plain')?.use, undefined, 'no use that jose would pass over');
    t.equal(bundles.get('b.test')?.jwtKeys.size, 0, 'an empty set withdraws the keys');
    t.equal(bundles.get('c.test')?.jwtKeys.size, 0, 'nothing at all does too');
  },
);

t.test('a JWT bundle that is broken refuses the message', async (t) => {
  const key = await jwk('k');
  const bad = (bytes: Buffer): string =>
    problemOf(atOnce(readJwtBundles({ bundles: { 'spiffe://a.test': bytes } })));
  t.match(bad(Buffer.from('{"keys":[')), /^bundles: a.test: the key set is not sound JSON: /);
  t.equal(bad(Buffer.from('{}')), 'bundles: a.test: keys is missing or not an array');
  t.equal(bad(Buffer.from('[]')), 'bundles: a.test: keys is missing or not an array');
  t.equal(bad(jwks(key, key)), 'bundles: a.test: key 2: the key id "k" is there twice');
  t.equal(bad(jwks({ ...key, d: 'AAAA' })), 'bundles: a.test: key 1: it holds a private key');
  t.equal(
    bad(jwks(...Array.from({ length: 257 }, () => key))),
    'bundles: a.test: it holds 257 keys, more than 256',
  );
  t.equal(bad(Buffer.alloc(256 * 1024 + 1, ' ')), 'bundles: a.test: it is longer than 262144 bytes');
  t.match(
    problemOf(atOnce(readJwtBundles({ bundles: { 'a.test': jwks(key) } }))),
    /is not the SPIFFE ID of a trust domain/,
  );
});

t.test('the first SVID is the default; a wish is met exactly or not at all', async (t) => {
  const issued = async (path: string, hint: string, authority: Authority = a): Promise<X509SvidMessage> => {
    const one: Svid = await authority.issue(`spiffe://${authority.trustDomain}/${path}`);
    return svidMessage(one, authority, { hint });
  };
  const { svids } = accepted(
    atOnce(
      readX509Update(
        svidResponse([await issued('1', 'internal'), await issued('2', 'external'), await issued('2', '')]),
      ),
    ),
  );
  const idOf = (text: string) => accepted(parseSpiffeId(text));
  const chosen = (wish: SvidWish): string => {
    const svid = chooseSvid(svids, wish);
    return svid.ok ? `${svid.value.id.uri} ${svid.value.hint}`.trim() : svid.error;
  };
  t.equal(chosen({}), 'spiffe://a.test/1 internal');
  t.equal(chosen({ id: undefined, hint: undefined }), 'spiffe://a.test/1 internal');
  t.equal(chosen({ hint: 'external' }), 'spiffe://a.test/2 external');
  t.equal(chosen({ id: idOf('spiffe://a.test/2') }), 'spiffe://a.test/2 external');
  t.equal(chosen({ id: idOf('spiffe://a.test/2'), hint: '' }), 'spiffe://a.test/2');
  const given =
    'given: spiffe://a.test/1 (hint "internal"), spiffe://a.test/2 (hint "external"), spiffe://a.test/2';
  t.equal(chosen({ hint: 'ext' }), `no SVID with the hint "ext" was given; ${given}`, 'no prefix matches');
  t.equal(
    chosen({ id: idOf('spiffe://a.test/1'), hint: 'external' }),
    `no SVID with the ID spiffe://a.test/1 and the hint "external" was given; ${given}`,
  );
  const none = chooseSvid([], {});
  t.equal(none.ok ? '' : none.error, 'no SVID with any ID was given; given: none');
});
