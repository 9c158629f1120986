import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import t from 'tap';
import { type AssertionSubject, makeAssertion } from '../../../src/identity/assertion-claims.js';
import { parseAssertionKeys } from '../../../src/identity/assertion-key.js';
import { type PrincipalId, parsePrincipalId } from '../../../src/identity/principal-id.js';

const { privateKey } = generateKeyPairSync('ed25519');
const keys = parseAssertionKeys(Buffer.from(JSON.stringify(privateKey.export({ format: 'jwk' }))));
if (!keys.ok) throw new Error(keys.error);
const plan = {
  signer: keys.value.signer,
  issuer: 'spiffe://a.test/proxy',
  lifetimeMs: 60_000,
  audience: undefined,
};

function id(text: string): PrincipalId {
  const parsed = parsePrincipalId(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

const subjectOf = (changes: Partial<AssertionSubject> = {}): AssertionSubject => ({
  principal: id('spiffe://a.test/gw'),
  certificateSha256: undefined,
  delegation: undefined,
  notAfterMs: Number.POSITIVE_INFINITY,
  ...changes,
});
const NOW_MS = 1_800_000_000_700;

t.test('a caller for itself is the subject, and there is no actor', async (t) => {
  const { text } = makeAssertion(plan, subjectOf(), 'billing', 'j1', NOW_MS);
  t.same(decodeJwt(text), {
    iss: 'spiffe://a.test/proxy',
    sub: 'spiffe://a.test/gw',
    aud: 'billing',
    iat: 1_800_000_000,
    exp: 1_800_000_060,
    jti: 'j1',
  });
});

t.test(
  'of one who acts for another the caller is the outermost actor, and history is within (RFC 8693 4.1)',
  async (t) => {
    const through = ['ci:first', 'spiffe://b.test/second'];
    const delegation = { subject: id('ci:octo/app'), through };
    const { text } = makeAssertion(plan, subjectOf({ delegation }), 'billing', 'j', NOW_MS);
    const { sub, act } = decodeJwt(text);
    t.equal(sub, 'ci:octo/app');
    t.same(act, {
      sub: 'spiffe://a.test/gw',
      act: { sub: 'spiffe://b.test/second', act: { sub: 'ci:first' } },
    });
    const short = makeAssertion(
      plan,
      subjectOf({ delegation: { ...delegation, through: [] } }),
      'b',
      'j',
      NOW_MS,
    );
    t.same(decodeJwt(short.text).act, { sub: 'spiffe://a.test/gw' });
  },
);

t.test('the certificate is named as RFC 8705 3.1 has it', async (t) => {
  const certificateSha256 = 'ff'.repeat(32);
  const { text } = makeAssertion(plan, subjectOf({ certificateSha256 }), 'billing', 'j', NOW_MS);
  t.same(decodeJwt(text).cnf, { 'x5t#S256': '__________________________________________8' });
});

t.test('it never ends after what it rests on, nor later than it may live, whatever the moment', async () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 4e12 }),
      fc.integer({ min: 0, max: 200_000 }),
      fc.integer({ min: 5000, max: 3_600_000 }),
      (nowMs, leftMs, lifetimeMs) => {
        const subject = subjectOf({ notAfterMs: nowMs + leftMs });
        const made = makeAssertion({ ...plan, lifetimeMs }, subject, 'a', 'j', nowMs);
        const { exp = 0, iat = 0 } = decodeJwt(made.text);
        return (
          made.endMs === exp * 1000 &&
          exp * 1000 <= nowMs + Math.min(leftMs, lifetimeMs) &&
          exp * 1000 > nowMs + Math.min(leftMs, lifetimeMs) - 1000 &&
          iat * 1000 <= nowMs
        );
      },
    ),
    { numRuns: 200, seed: 20261122 },
  );
});
