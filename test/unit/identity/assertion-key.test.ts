import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { compactVerify, importJWK, type JWK } from 'jose';
import t from 'tap';
import { parseAssertionKeys } from '../../../src/identity/assertion-key.js';

const ed25519 = (): JWK => generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as JWK;
const ec = (namedCurve = 'P-256'): JWK =>
  generateKeyPairSync('ec', { namedCurve }).privateKey.export({ format: 'jwk' }) as JWK;
const publicOf = ({ d: _, ...jwk }: JWK): JWK => jwk;
const parse = (value: unknown): ReturnType<typeof parseAssertionKeys> =>
  parseAssertionKeys(Buffer.from(JSON.stringify(value)));

t.test('what either kind of key signs at once is what jose verifies', async (t) => {
  for (const [make, alg] of [
    [ed25519, 'EdDSA'],
    [ec, 'ES256'],
  ] as const) {
    const jwk = make();
    const keys = parse(jwk);
    if (!keys.ok) throw new Error(keys.error);
    const { signer } = keys.value;
    const { payload, protectedHeader } = await compactVerify(
      signer.sign('some-type', '{"a":"é"}'),
      await importJWK(publicOf(jwk), alg),
    );
    t.equal(Buffer.from(payload).toString(), '{"a":"é"}');
    t.same(protectedHeader, { alg, kid: signer.publicKey.kid, typ: 'some-type' });
    const shown = `${JSON.stringify(keys)} ${inspect(keys.value, { depth: 9, showHidden: true })}`;
    t.notOk(shown.includes(String(jwk.d)), 'nothing that can be shown of it holds its private half');
  }
});

t.test(
  'of a set the first signs and all are published, of which the others may be public halves',
  async (t) => {
    const [one, two, three] = [ed25519(), ec(), ed25519()];
    const keys = parse({ keys: [one, two, publicOf(three)] });
    if (!keys.ok) throw new Error(keys.error);
    t.same(
      keys.value.published.map(({ x }) => x),
      [one.x, two.x, three.x],
    );
    t.equal(keys.value.signer.publicKey.x, one.x);
    t.notMatch(JSON.stringify(keys.value.published), /"d"/);
  },
);

t.test(
  'keys that could not sign or be told apart are refused, and why is said without a word of them',
  async (t) => {
    const [key, other, p256] = [ed25519(), ed25519(), ec()];
    const mixed = 'a trial signature with its private half does not verify with its public half';
    const cases: readonly (readonly [unknown, string])[] = [
      ['text', 'is not the JSON of a JWK or a JWK set'],
      [{ keys: [] }, 'holds no key'],
      [{ keys: 7 }, 'its `keys` is no list'],
      [{ keys: [key, null] }, 'keys[1]: is no JWK'],
      [{ keys: [publicOf(key), other] }, 'keys[0]: is a public key; it takes the private one to sign'],
      [publicOf(key), 'is a public key; it takes the private one to sign'],
      [{ keys: [key, other, publicOf(key)] }, 'keys[2]: is the same key as keys[0]'],
      [{ keys: Array.from({ length: 17 }, ed25519) }, 'holds more than 16 keys'],
      [
        { keys: [key, { kty: 'oct', k: 'c2VjcmV0' }] },
        'keys[1]: is neither an Ed25519 nor a P-256 (ES256) key',
      ],
      [ec('P-384'), 'is neither an Ed25519 nor a P-256 (ES256) key'],
      [{ ...key, x: other.x }, mixed],
      [{ keys: [{ ...p256, d: ec().d }] }, `keys[0]: ${mixed}`],
      [{ ...key, use: 'enc' }, 'its `use` is not `sig`'],
      [{ ...key, key_ops: ['verify'] }, 'its `key_ops` do not hold `sign`'],
    ];
    for (const [jwk, problem] of cases) t.same(parse(jwk), { ok: false, error: problem }, problem);
    t.same(parseAssertionKeys(Buffer.from('{"kty":"OKP","d":"secret"')), {
      ok: false,
      error: 'is not the JSON of a JWK or a JWK set',
    });
  },
);
