import { generateKeyPairSync } from 'node:crypto';
import { parseSealKey } from '../audit/seal-key.js';
import { PkiError, readOptional, writeWhole } from '../dev/pki-folder.js';

export type SealKeyType = 'ed25519' | 'p256';

/** Makes a private JWK that signs seals, for its owner's eyes alone. @returns what to do with it */
export async function makeSealKey(file: string, type: SealKeyType, force: boolean): Promise<string> {
  if (!force && (await readOptional(file)) !== undefined)
    throw new PkiError(`${file} is there already; --force replaces it, which rotates the key`);
  const { privateKey } =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = privateKey.export({ format: 'jwk' });
  const key = await parseSealKey(Buffer.from(JSON.stringify(jwk)));
  if (!key.ok) throw new PkiError(`the key that was made ${key.error}`);
  const { kid, alg } = key.value.publicKey;
  await writeWhole(file, `${JSON.stringify({ ...jwk, kid, alg, use: 'sig' })}\n`, 0o600);
  return `${file}: ${alg} key ${kid}
Name it in the configuration: audit: { seal: { key: ${file} } }
Keep its public half where the sidecar cannot write, for whoever verifies records:
  countersign audit keys ${file} > seal-keys.json
A running sidecar shows it at /.well-known/jwks.json. Keep the public halves of old keys as long as records.
`;
}
