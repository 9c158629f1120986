import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { calculateJwkThumbprint } from 'jose';
import { compactVerify } from 'jose/jws/compact/verify';
import t from 'tap';
import { parseSealKey } from '../../../src/audit/seal-key.js';
import { isLowS, toLowS } from '../../../src/audit/seal-signature.js';
import { jwksOf, keyObjectOf, parsePublicKeys } from '../../../src/identity/signing-key.js';
import { otherSignature } from '../../support/sealed-file.js';

type Jwk = Record<string, unknown>;
const ed25519 = (): Jwk => generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as Jwk;
const ec = (namedCurve = 'P-256'): Jwk =>
  generateKeyPairSync('ec', { namedCurve }).privateKey.export({ format: 'jwk' }) as Jwk;
const bytesOf = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const parse = (value: unknown): ReturnType<typeof parseSealKey> => parseSealKey(bytesOf(value));

for (const [name, make, alg] of [
  ['an Ed25519 key', ed25519, 'EdDSA'],
  ['a P-256 key', ec, 'ES256'],
] as const) {
  t.test(`${name} signs what its public half verifies, under its RFC 7638 thumbprint`, async () => {
    const jwk = make();
    const key = await parse({ ...jwk, use: 'sig', key_ops: ['sign'] });
    assert.ok(key.ok);
    assert.equal(key.value.kid, await calculateJwkThumbprint(jwk));
    const jws = await key.value.sign('{"v":1}');
    const { payload, protectedHeader } = await compactVerify(jws, keyObjectOf(key.value.publicKey));
    assert.equal(Buffer.from(payload).toString(), '{"v":1}');
    assert.deepEqual(protectedHeader, { alg, kid: key.value.kid, typ: 'countersign-seal' });
    assert.equal(
      Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString(),
      `{"alg":"${alg}","kid":"${key.value.kid}","typ":"countersign-seal"}`,
    );
  });

  t.test(`nothing that can be shown of ${name} holds its private half`, async () => {
    const jwk = make();
    const key = await parse(jwk);
    assert.ok(key.ok);
    const shown = `${JSON.stringify(key)} ${inspect(key.value, { depth: 9, showHidden: true })} ${JSON.stringify(jwksOf([key.value.publicKey]))}`;
    assert.ok(!shown.includes(String(jwk.d)));
    assert.ok(shown.includes(String(jwk.x)));
  });
}

t.test(
  'of the two signatures that ECDSA has for the same seal the one with the smaller s is made',
  async () => {
    const key = await parse(ec());
    assert.ok(key.ok);
    for (let i = 0; i < 32; i++) {
      const jws: string = await key.value.sign(`{"v":${i}}`);
      assert.ok(isLowS(jws));
      const twin = otherSignature(jws);
      assert.ok(!isLowS(twin));
      assert.equal(toLowS(twin), jws);
    }
  },
);

t.test('a key that cannot sign seals is refused, and why is said without a word of it', async () => {
  const key = ed25519();
  const other = ed25519();
  const p256 = ec();
  const cases: readonly (readonly [unknown, string])[] = [
    ['text', 'is not the JSON of a JWK'],
    [[key], 'is not the JSON of a JWK'],
    [{ keys: [key] }, 'is a key set; a seal is signed with one private JWK'],
    [{ kty: 'oct', k: 'c2VjcmV0' }, 'is neither an Ed25519 nor a P-256 (ES256) key'],
    [ec('P-384'), 'is neither an Ed25519 nor a P-256 (ES256) key'],
    [{ ...key, crv: 'Ed448' }, 'is neither an Ed25519 nor a P-256 (ES256) key'],
    [{ ...key, d: undefined }, 'is a public key; it takes the private one to sign'],
    [{ ...key, d: 'AAAA' }, 'its `d` is not 32 octets in base64url'],
    [{ ...key, x: `${String(key.x)}=` }, 'its `x` is not 32 octets in base64url'],
    [{ ...p256, y: 7 }, 'its `y` is not 32 octets in base64url'],
    [{ ...p256, y: p256.x }, 'is no key: its public half is not a point of the curve'],
    [{ ...key, alg: 'ES256' }, 'its `alg` is not EdDSA'],
    [{ ...p256, alg: 'EdDSA' }, 'its `alg` is not ES256'],
    [{ ...key, use: 'enc' }, 'its `use` is not `sig`'],
    [{ ...key, key_ops: ['verify'] }, 'its `key_ops` do not hold `sign`'],
    [{ ...key, x: other.x }, 'a trial signature with its private half does not verify with its public half'],
    [{ ...p256, d: ec().d }, 'a trial signature with its private half does not verify with its public half'],
  ];
  for (const [jwk, problem] of cases)
    assert.deepEqual(await parse(jwk), { ok: false, error: problem }, problem);
  const broken = Buffer.from(`${JSON.stringify(key).slice(0, -1)},`);
  assert.deepEqual(await parseSealKey(broken), { ok: false, error: 'is not the JSON of a JWK' });
});

t.test('of private and public keys and of sets only the public halves are shown, each once', async () => {
  const [one, two] = [ed25519(), ec()];
  const { d: _, ...publicTwo } = two;
  const found = parsePublicKeys(bytesOf({ keys: [one, publicTwo, two] }));
  assert.ok(found.ok);
  const single = parsePublicKeys(bytesOf(one));
  assert.ok(single.ok);
  const { keys } = jwksOf([...found.value, ...single.value]);
  assert.deepEqual(
    keys.map((key) => Object.keys(key).join()),
    ['kty,crv,x,kid,alg,use', 'kty,crv,x,y,kid,alg,use'],
  );
  assert.deepEqual(
    keys.map(({ kid, alg, use }) => ({ kid, alg, use })),
    [
      { kid: await calculateJwkThumbprint(one), alg: 'EdDSA', use: 'sig' },
      { kid: await calculateJwkThumbprint(two), alg: 'ES256', use: 'sig' },
    ],
  );
});

t.test('a set with a key that seals do not have is refused, and which it is is said', async () => {
  const cases: readonly (readonly [unknown, string])[] = [
    [{ keys: 'x' }, 'its `keys` is no list'],
    [{ keys: [ed25519(), null] }, 'keys[1]: is no JWK'],
    [
      { keys: [{ kty: 'RSA', n: 'AQAB', e: 'AQAB' }] },
      'keys[0]: is neither an Ed25519 nor a P-256 (ES256) key',
    ],
  ];
  for (const [document, problem] of cases)
    assert.deepEqual(parsePublicKeys(bytesOf(document)), { ok: false, error: problem });
});
