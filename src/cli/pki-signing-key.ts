import { generateKeyPairSync } from 'node:crypto';
import { PkiError, readOptional, writeWhole } from '../dev/pki-folder.js';
import { parseKeyPair } from '../identity/signing-key.js';

export type SigningKeyType = 'ed25519' | 'p256';
/** What it signs: seals over records, or assertions for services. */
export type SigningPurpose = 'seal' | 'assertion';

/** Makes a private JWK for its owner's eyes alone. @returns what to do with it */
export async function makeSigningKey(
  purpose: SigningPurpose,
  file: string,
  type: SigningKeyType,
  force: boolean,
): Promise<string> {
  if (!force && (await readOptional(file)) !== undefined)
    throw new PkiError(`${file} is there already; --force replaces it, which rotates the key`);
  const { privateKey } =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = privateKey.export({ format: 'jwk' });
  const key = parseKeyPair({ ...jwk });
  if (!key.ok) throw new PkiError(`the key that was made ${key.error}`);
  const { kid, alg } = key.value.publicKey;
  await writeWhole(file, `${JSON.stringify({ ...jwk, kid, alg, use: 'sig' })}\n`, 0o600);
  return `${file}: ${alg} key ${kid}\n${ADVICE[purpose](file)}`;
}

const ADVICE: Readonly<Record<SigningPurpose, (file: string) => string>> = {
  seal: (file) => `Name it in the configuration: audit: { seal: { key: ${file} } }
Keep its public half where the sidecar cannot write, for whoever verifies records:
  countersign audit keys ${file} > seal-keys.json
A running sidecar shows it at /.well-known/jwks.json. Keep the public halves of old keys as long as records.
`,
  assertion: (file) => `Name it in the configuration: forward: { assertion: { key: ${file}, audience: NAME } }
Services verify x-identity-assertion by its public half, which a running sidecar shows at /.well-known/jwks.json
of its admin and health listeners, and keeps in a file where the configuration names one (jwksFile).
`,
};
