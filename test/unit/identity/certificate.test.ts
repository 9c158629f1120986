import 'reflect-metadata';

import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import t from 'tap';
import { sequence, TAG, tlv } from '../../../src/dev/der-writer.js';
import { parseCertificate } from '../../../src/identity/certificate.js';
import { parseCrl } from '../../../src/identity/crl.js';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.js';
import { parseTrustBundle } from '../../../src/identity/trust-bundle.js';
import { parsePeerChain } from '../../../src/identity/x509-svid.js';
import { type CertificateOptions, mintRoot } from '../../support/pki.js';
import { certificateOf } from './vector-pki.js';

const problem = (der: Uint8Array): string => {
  const parsed = parseCertificate(der);
  return parsed.ok ? 'ok' : parsed.error;
};

t.test('our reader agrees with the library and with OpenSSL', async (t) => {
  const root = await mintRoot('a.test', { pathLength: 2 });
  const intermediate = await root.intermediate({ pathLength: 0 });
  const leaf = await intermediate.issue('spiffe://a.test/ns/prod/sa/web', {
    otherSans: ['DNS:web.a.test', 'DNS:b', 'IP:192.0.2.1', 'email:x@a.test', 'otherName:1.2.3=x'],
    subject: 'C=DE,O=Größe,CN=web\\, the first',
  });
  for (const der of [root.certDer, intermediate.certDer, leaf.certDer]) {
    const ours = certificateOf(der);
    const theirs = new x509.X509Certificate(der);
    const { x509: openSsl } = ours;
    t.equal(ours.serial, openSsl.serialNumber.toLowerCase());
    t.equal(ours.sha256, openSsl.fingerprint256.replaceAll(':', '').toLowerCase());
    t.equal(ours.notBeforeMs, theirs.notBefore.getTime());
    t.equal(ours.notAfterMs, theirs.notAfter.getTime());
    t.equal(ours.isCa, openSsl.ca);
    t.equal(ours.pathLength, theirs.getExtension(x509.BasicConstraintsExtension)?.pathLength);
    t.same(ours.extendedKeyUsage, theirs.getExtension(x509.ExtendedKeyUsageExtension)?.usages);
    const names = theirs.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
    t.same(
      ours.uriSans,
      names.filter((name) => name.type === 'url').map((name) => name.value),
    );
    t.same(
      ours.dnsSans,
      names.filter((name) => name.type === 'dns').map((name) => name.value),
    );
    t.equal(ours.authorityKeyId, theirs.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId);
    t.equal(ours.subjectKeyId, theirs.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId);
    t.equal(ours.pemEncoded.replace(/\s/g, ''), openSsl.toString().replace(/\s/g, ''));
  }
  t.equal(certificateOf(leaf.certDer).subject, 'CN=web\\, the first,O=Größe,C=DE');
  t.same([...(certificateOf(root.certDer).keyUsage ?? [])], ['keyCertSign', 'cRLSign']);
});

t.test('whatever stands twice, trails or cannot be read is refused', async (t) => {
  const root = await mintRoot('a.test');
  const withExtension = async (
    oid: string,
    hex: string,
    options: CertificateOptions = {},
  ): Promise<string> => {
    const value = Buffer.from(hex, 'hex');
    return problem(
      (await root.issue('spiffe://a.test/web', { ...options, extensions: [{ oid, value }] })).certDer,
    );
  };
  const { certDer } = await root.issue('spiffe://a.test/web');
  t.equal(problem(certDer), 'ok');
  t.equal(problem(Buffer.concat([certDer, Buffer.from([0])])), 'the certificate has trailing bytes');
  t.equal(problem(certDer.subarray(0, certDer.length - 1)), 'the certificate is cut short');
  t.equal(problem(Buffer.from(root.certPem)), 'the certificate is missing or of another type');
  t.equal(await withExtension('2.5.29.17', '3000'), 'extension 2.5.29.17 is there twice');
  t.equal(await withExtension('1.2.3.4', 'ff'), 'ok', 'an unknown one is not read');
  t.equal(
    await withExtension('2.5.29.19', '3003020100', { ca: null }),
    'a path length stands without the CA flag',
  );
  t.match(await withExtension('2.5.29.19', '30030101ff00', { ca: null }), /trailing bytes/);
  t.match(
    await withExtension('2.5.29.19', '3003010101', { ca: null }),
    /boolean/,
    'DER knows 00 and FF only',
  );
  t.match(await withExtension('2.5.29.15', '03020001', { keyUsage: null }), /^ok$/);
  t.match(await withExtension('2.5.29.15', '03020701', { keyUsage: null }), /padding/);
  t.match(await withExtension('2.5.29.37', '3000', { extendedKeyUsage: null }), /empty/);
  t.match(await withExtension('2.5.29.30', '3000'), /name constraints are empty/);
  t.match(await withExtension('2.5.29.35', '0400', { keyIdentifiers: false }), /authority key identifier/);
  const emptySan = await root.issue([], { extensions: [{ oid: '2.5.29.17', value: sequence() }] });
  t.equal(problem(emptySan.certDer), 'the subject alternative name is empty');
  const oddTag = await root.issue([], { extensions: [{ oid: '2.5.29.17', value: sequence(tlv(0x89)) }] });
  t.equal(problem(oddTag.certDer), 'an alternative name is of no known kind');
  const maximum = sequence(tlv(0xa0, sequence(tlv(0x82, Buffer.from('a')), tlv(0x81, Buffer.from([1])))));
  t.match(
    await withExtension('2.5.29.30', maximum.toString('hex')),
    /trailing bytes/,
    'a maximum is not understood',
  );
});

t.test('names keep their bytes: a NUL, a comma and a byte beyond ASCII stay in them', async (t) => {
  const root = await mintRoot('a.test');
  const uris = [
    'spiffe://a.test/x\0.evil',
    'spiffe://a.test/x, URI:spiffe://a.test/y',
    'spiffe://a.test/\xe9',
  ];
  for (const uri of uris) {
    const { certDer } = await root.issue(uri);
    t.same(certificateOf(certDer).uriSans, [uri]);
    const chain = parsePeerChain(certDer, []);
    t.equal(chain.ok ? 'ok' : chain.error.reason, 'svid_id_invalid');
  }
});

t.test('a control character in a name never reaches a log line raw', async (t) => {
  const value = sequence(
    tlv(
      0x31,
      sequence(tlv(TAG.oid, Buffer.from('550403', 'hex')), tlv(TAG.utf8String, Buffer.from('a\r\nb"c'))),
    ),
  );
  const root = await mintRoot('a.test');
  const name = new x509.Name(value);
  t.equal(name.toString().includes('\n'), true, 'the library shows it raw');
  const forged = await x509.X509CertificateGenerator.create({
    serialNumber: '01',
    subject: name,
    issuer: root.subject,
    publicKey: root.keys.publicKey,
    signingKey: root.keys.privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  });
  t.equal(certificateOf(new Uint8Array(forged.rawData)).subject, 'CN=a\\0d\\0ab\\"c');
});

t.test('weak signature algorithms are known for what they are', async (t) => {
  const root = await mintRoot('a.test');
  t.ok(certificateOf(root.certDer).strongSignature);
  const sha1 = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=weak',
    keys: root.keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-1' },
  });
  t.notOk(certificateOf(new Uint8Array(sha1.rawData)).strongSignature);
});

t.test('no bytes make a parser throw', async () => {
  const root = await mintRoot('a.test');
  const seeds = [
    (await root.issue('spiffe://a.test/web', { otherSans: ['DNS:x', 'IP:1.2.3.4'] })).certDer,
    (await root.intermediate({ nameConstraints: { permittedUri: ['a.test'], excludedDns: ['b'] } })).certDer,
    (await root.crl({ revoked: ['01', { serial: '02', reason: 'keyCompromise' }] })).der,
    Buffer.from(root.certPem),
    Buffer.from('{"keys":[{"use":"x509-svid","kty":"EC","x5c":["AAAA"]}],"spiffe_sequence":1}'),
  ];
  const domain = parseTrustDomain('a.test');
  if (!domain.ok) throw new Error(domain.error);
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    octet: fc.nat(255),
    cut: fc.nat(8),
  });
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(edit, { minLength: 1, maxLength: 4 }), (seed, edits) => {
      let bytes = Buffer.from(seed);
      for (const { at, octet, cut } of edits) {
        const position = Math.min(bytes.length - 1, Math.floor(at * bytes.length));
        bytes[position] = octet;
        if (cut === 0) bytes = bytes.subarray(0, Math.max(1, position));
      }
      parseCertificate(bytes);
      parseCrl(bytes);
      parsePeerChain(bytes, [bytes]);
      parseTrustBundle(domain.value, bytes);
    }),
    { numRuns: 1500 },
  );
});
