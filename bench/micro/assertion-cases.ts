import { generateKeyPairSync } from 'node:crypto';
import { makeAssertion } from '../../src/identity/assertion-claims.js';
import { parseAssertionKeys } from '../../src/identity/assertion-key.js';
import { parsePrincipalId } from '../../src/identity/principal-id.js';
import type { MicroCase } from './harness.js';

/** What is paid once for each caller and audience, and again before half of the life is over. */
export function assertionCases(): MicroCase[] {
  const pairs = [
    ['EdDSA', generateKeyPairSync('ed25519')],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ] as const;
  return pairs.map(([alg, { privateKey }]) => {
    const keys = parseAssertionKeys(Buffer.from(JSON.stringify(privateKey.export({ format: 'jwk' }))));
    const caller = parsePrincipalId('spiffe://example.org/ns/prod/sa/web');
    if (!keys.ok || !caller.ok) throw new Error('there is nothing to sign with');
    const { signer } = keys.value;
    const plan = { signer, issuer: 'spiffe://example.org/proxy', lifetimeMs: 60_000, audience: undefined };
    const subject = {
      principal: caller.value,
      certificateSha256: 'ab'.repeat(32),
      delegation: undefined,
      notAfterMs: 2e12,
    };
    const run = (): unknown => makeAssertion(plan, subject, 'billing', '0'.repeat(32), 1.8e12);
    return { name: `sign an assertion, ${alg}`, run };
  });
}
