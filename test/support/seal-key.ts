import { generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';

/** A private JWK for seals, as a file's text. */
export async function newSealKey(
  type: 'ed25519' | 'p256' = 'ed25519',
): Promise<{ readonly text: string; readonly kid: string; readonly secret: string }> {
  const { privateKey } =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = privateKey.export({ format: 'jwk' });
  return { text: JSON.stringify(jwk), kid: await calculateJwkThumbprint(jwk), secret: String(jwk.d) };
}
