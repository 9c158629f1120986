import { generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import t from 'tap';
import { fitsAlgorithm, parseKeySet } from '../../../src/identity/key-set.js';
import { TOKEN_ALGORITHMS } from '../../../src/identity/token-issuer.js';
import { mintSigner } from '../../support/tokens.js';

const read = (document: unknown) =>
  parseKeySet(Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)));

const kids = (...keys: readonly object[]): readonly (string | undefined)[] => {
  const set = read({ keys });
  if (!set.ok) throw new Error(set.error);
  return set.value.keys.map(({ kid }) => kid);
};

const { jwk } = mintSigner('ES256', 'e');
const rsa = mintSigner('RS256', 'r').jwk;
const ed = mintSigner('EdDSA', 'd').jwk;

t.test('keys of every algorithm are read, by kid, with the thumbprint of RFC 7638', async (t) => {
  for (const alg of TOKEN_ALGORITHMS) {
    const signer = mintSigner(alg, alg);
    const set = read({ keys: [signer.jwk] });
    if (!set.ok) throw new Error(set.error);
    const [key] = set.value.keys;
    t.match(key, { kid: alg, alg }, alg);
    t.equal(key?.thumbprint, await calculateJwkThumbprint(signer.jwk as JWK), alg);
    t.equal(key && fitsAlgorithm(key.key, alg), true, alg);
    const others = TOKEN_ALGORITHMS.filter((other) => key && fitsAlgorithm(key.key, other));
    const isRsa = alg.startsWith('RS') || alg.startsWith('PS');
    t.same(others, isRsa ? TOKEN_ALGORITHMS.filter((other) => /^[RP]S/.test(other)) : [alg], alg);
  }
});

t.test('what is not for signatures, not understood or weak is left out', async (t) => {
  const { alg: _, ...free } = jwk;
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const left: Readonly<Record<string, object>> = {
    'for encryption': { ...jwk, use: 'enc' },
    'for JWT-SVIDs': { ...jwk, use: 'jwt-svid' },
    'that signs': { ...jwk, key_ops: ['sign'] },
    'key_ops that is no list': { ...jwk, key_ops: 'verify' },
    'weak RSA': { ...weak, kid: 'w' },
    'RSA with the exponent 1': { ...rsa, e: 'AQ' },
    'another curve': { ...publicKey.export({ format: 'jwk' }), kid: 'k' },
    'another kind': { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA', kid: 'm' },
    'for another algorithm': { ...rsa, alg: 'RSA-OAEP' },
    'for an algorithm that it is no key for': { ...free, alg: 'RS256' },
    'an algorithm in lower case': { ...free, alg: 'es256' },
    'no point of the curve': { ...jwk, x: 'AAAA' },
    'a member missing': { kty: 'EC', crv: 'P-256', x: jwk.x, kid: 'e' },
    'a member that is no text': { ...jwk, x: 7 },
    'a kid that is no text': { ...jwk, kid: 7 },
    'an empty kid': { ...jwk, kid: '' },
  };
  for (const [name, key] of Object.entries(left)) t.same(kids(key, ed), ['d'], name);
  t.same(kids({ ...jwk, use: 'sig', key_ops: ['verify'] }), ['e'], 'what says that it is for signatures');
  t.same(kids(jwk, { ...free, kid: undefined }), ['e', undefined], 'a key without a name');
});

t.test('one secret in it, or one name twice, and none of it counts', async (t) => {
  const secret = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const refused: readonly [name: string, document: unknown, error: RegExp][] = [
    [
      'a private key',
      { keys: [jwk, { ...secret, kid: 's' }] },
      /^key 2 of the key set: it holds a private key/,
    ],
    ['a symmetric key', { keys: [{ kty: 'oct', k: 'AAAA', kid: 's' }] }, /^key 1 .*: it is a symmetric key/],
    ['a kid twice', { keys: [jwk, { ...ed, kid: 'e' }] }, /holds the key id "e" twice/],
    [
      'nothing that verifies',
      { keys: [{ ...jwk, use: 'enc' }] },
      /none of the 1 keys in the key set can verify/,
    ],
    ['101 keys', { keys: Array.from({ length: 101 }, () => jwk) }, /holds 101 keys, more than 100/],
    ['a key by itself', jwk, /no JWK Set: `keys` is missing/],
    ['keys that are no list', { keys: {} }, /no JWK Set/],
    ['a list', [jwk], /no JWK Set/],
    ['no JSON', '<html>', /not sound JSON/],
    ['a member twice', '{"keys":[],"keys":[]}', /"keys" is there twice/],
    ['too much', `{"keys":[]${' '.repeat(256 * 1024)}}`, /longer than 262144 bytes/],
  ];
  for (const [name, document, error] of refused) {
    const set = read(document);
    t.match(set.ok ? '' : set.error, error, name);
    t.notMatch(set.ok ? '' : set.error, secret.d, `${name}: nothing of a secret is said`);
  }
  t.same(kids(), [], 'an issuer may withdraw all of its keys');
  t.same(kids(jwk, 'x' as unknown as object), ['e'], 'what is no object is no key');
});

t.test('its revision is that of its content, in any order', async (t) => {
  const revision = (...keys: readonly object[]): string => {
    const set = read({ keys });
    return set.ok ? set.value.revision : set.error;
  };
  t.match(revision(jwk), /^[0-9a-f]{16}$/);
  t.equal(revision(jwk, ed), revision({ ...ed, x5c: ['ignored'] }, jwk));
  const { alg: _, ...free } = jwk;
  const other = mintSigner('ES256', 'e').jwk;
  const all = [revision(jwk), revision(free), revision({ ...jwk, kid: 'f' }), revision(other), revision()];
  t.equal(new Set(all).size, all.length, 'another key, name or purpose is another revision');
});
