import t from 'tap';
import { parseOwnSvid } from '../../../src/identity/own-svid.js';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.js';
import { createSignatureCheck, parsePeerChain, verifyX509Svid } from '../../../src/identity/x509-svid.js';
import { pem } from '../../support/pki.js';
import { mintVector, type SvidVector } from './vector-pki.js';
import { allows, readVectors } from './vectors.js';

const NOW_MS = Date.UTC(2026, 10, 21, 10, 0, 0);

/** The reason that each refused vector must get. Whatever is not here must be accepted. */
const reasons: Readonly<Record<string, string>> = {
  'no-uri-san': 'svid_uri_san_count',
  'two-spiffe-uris': 'svid_uri_san_count',
  'same-uri-twice': 'svid_uri_san_count',
  'spiffe-plus-https-uri': 'svid_uri_san_count',
  'only-https-uri': 'svid_id_invalid',
  'sparfe-uri': 'svid_id_invalid',
  'spiffe-in-dns-san': 'svid_uri_san_count',
  'td-only-id': 'svid_id_invalid',
  'encoded-dotdot-id': 'svid_id_invalid',
  'upper-td-id': 'svid_id_invalid',
  'nul-in-uri': 'svid_id_invalid',
  'uri-2049': 'svid_id_invalid',
  'ca-true-with-leaf-usage': 'svid_is_ca',
  'crl-sign': 'svid_key_usage',
  'no-digital-signature': 'svid_key_usage',
  'basic-constraints-twice': 'svid_malformed',
  'basic-constraints-garbage': 'svid_malformed',
  'key-usage-garbage': 'svid_malformed',
  'eku-client-only-as-server': 'svid_extended_key_usage',
  expired: 'svid_expired',
  'not-yet-valid': 'svid_not_yet_valid',
  'expired-by-1s': 'svid_expired',
  'tampered-signature': 'chain_signature',
  'forged-issuer-name': 'chain_signature',
  'unknown-critical-ext': 'svid_critical_extension',
  'self-signed-leaf': 'chain_untrusted',
  'bundle-missing': 'trust_domain_unknown',
  'bundle-empty': 'trust_bundle_empty',
  'no-bundles': 'trust_domain_unknown',
  'same-dn-forgery': 'chain_signature',
  'td-prefix-confusion': 'trust_domain_unknown',
  'untrusted-root-sent': 'chain_untrusted',
  'cyclic-intermediates': 'chain_untrusted',
  'intermediate-no-cert-sign': 'issuer_key_usage',
  'intermediate-ku-absent': 'issuer_key_usage',
  'root-expired': 'issuer_expired',
  'root-not-ca': 'issuer_not_ca',
  'path-len-0-violated': 'path_length_exceeded',
  'int-path-len-0-violated': 'path_length_exceeded',
  'path-len-self-issued': 'path_length_exceeded',
  'nc-permitted-violated': 'name_constraints',
  'nc-underscore-td': 'name_constraints',
  'int-eku-server-only': 'issuer_key_usage',
};

/** Decided by others than this function, or described in words: each has a test of its own below or beside. */
const elsewhere = new Set([
  'chain-of-50',
  'no-client-cert',
  'server-wrong-id',
  'key-mismatch-own-svid',
  'own-svid-id-mismatch',
]);

const vectors = readVectors<SvidVector>('x509-svid');
const nameOf = (id: string): string => id.slice(id.indexOf('/') + 1);

t.test('every X509-SVID vector is judged as it asks', async (t) => {
  for (const { id, input, expect, why } of vectors) {
    const name = nameOf(id);
    if (elsewhere.has(name)) continue;
    const minted = await mintVector(input, NOW_MS);
    const chain = parsePeerChain(minted.leaf, minted.presented, input.peerRole as 'client' | 'server');
    const verified = chain.ok
      ? verifyX509Svid(chain.value, minted.bundles, NOW_MS, {
          clockSkewMs: 0,
          checkSignature: createSignatureCheck(),
        })
      : chain;
    t.equal(verified.ok ? undefined : verified.error.reason, reasons[name], `${name}: ${why}`);
    t.ok(allows(expect, verified.ok ? 'accept' : 'reject'), `${name} is judged as the vector allows`);
    if (verified.ok) t.equal(verified.value.id.uri, input.leaf.uriSans[0], `${name} is who it says`);
  }
});

t.test('our own SVID is refused when the key or the announced ID is another', async (t) => {
  const own = async (name: string): Promise<string> => {
    const vector = vectors.find(({ id }) => nameOf(id) === name);
    if (!vector) throw new Error(`no vector ${name}`);
    const minted = await mintVector(vector.input, NOW_MS);
    const announced = vector.input.leaf.announcedSpiffeId;
    const id = announced === undefined ? undefined : parseSpiffeId(announced);
    const parsed = parseOwnSvid(
      Buffer.from(pem('CERTIFICATE', minted.leaf)),
      Buffer.from(minted.keyPem),
      id?.ok ? id.value : undefined,
    );
    return parsed.ok ? 'accepted' : `${parsed.error.part}: ${parsed.error.message}`;
  };
  t.equal(await own('key-mismatch-own-svid'), 'key: it is not the key of the certificate');
  t.match(await own('own-svid-id-mismatch'), /^certificate: it is that of .*, not of spiffe:\/\/wrong\.test/);
});
