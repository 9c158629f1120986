import { createHash, createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import type { SigningAlgorithm } from '../../identity/signing-key.js';
import { err, ok, type Result } from '../../reasons.js';
import { type Fields, fieldsOf } from '../record-line.js';
import type { SealLine } from '../seal-line.js';
import { isLowS } from '../seal-signature.js';

export interface VerifyKey {
  readonly alg: SigningAlgorithm;
  readonly key: KeyObject;
}

/** RFC 9864: another name for EdDSA with this curve, of a key; seals say EdDSA. */
const FULLY_SPECIFIED = 'Ed25519';

/** Public keys of seals by their RFC 7638 thumbprint, whatever `kid` their file gives them. */
export type VerifyKeys = ReadonlyMap<string, VerifyKey>;

/** Reads a JWK Set, or one JWK. Keys that no seal is signed with are passed over (RFC 7517 5). */
export function parseVerifyKeys(text: string): Result<VerifyKeys, string> {
  const value = parseJson(text);
  const fields = fieldsOf(value);
  const list: unknown = fields.keys ?? (fields.kty === undefined ? undefined : [fields]);
  if (!Array.isArray(list)) return err('is no JWK Set: { "keys": […] }');
  const keys = new Map<string, VerifyKey>();
  for (const [i, entry] of list.entries()) {
    const jwk = fieldsOf(entry);
    if ('d' in jwk)
      return err(
        `keys[${i}] is a private key: keep it away from here, \`countersign audit keys\` prints its public part`,
      );
    const alg = algorithmOf(jwk);
    if (alg === undefined || (jwk.use !== undefined && jwk.use !== 'sig')) continue;
    if (jwk.alg !== undefined && jwk.alg !== alg && !(alg === 'EdDSA' && jwk.alg === FULLY_SPECIFIED))
      return err(`keys[${i}] is no key of its alg`);
    const key = keyOf(jwk);
    if (key === undefined) return err(`keys[${i}] is no point of its curve`);
    keys.set(thumbprintOf(key), { alg, key });
  }
  return keys.size === 0 ? err('has no key of Ed25519 or P-256, which seals are signed with') : ok(keys);
}

/** What is wrong with a seal's signature; undefined = nothing. The algorithm is the key's: what the header says must be the same. */
export function signatureProblem(
  { alg, kid, jws }: SealLine,
  keys: VerifyKeys,
): 'unknown_key' | 'bad' | undefined {
  const known = keys.get(kid);
  if (known === undefined) return 'unknown_key';
  if (known.alg !== alg) return 'bad';
  if (alg === 'ES256' && !isLowS(jws)) return 'bad';
  const dot = jws.lastIndexOf('.');
  const signed = Buffer.from(jws.slice(0, dot), 'ascii');
  const signature = Buffer.from(jws.slice(dot + 1), 'base64url');
  const isGood =
    alg === 'EdDSA'
      ? verify(null, signed, known.key, signature)
      : verify('sha256', signed, { key: known.key, dsaEncoding: 'ieee-p1363' }, signature);
  return isGood ? undefined : 'bad';
}

function algorithmOf({ kty, crv }: Fields): SigningAlgorithm | undefined {
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA';
  return kty === 'EC' && crv === 'P-256' ? 'ES256' : undefined;
}

function keyOf({ kty, crv, x, y }: Fields): KeyObject | undefined {
  try {
    return createPublicKey({ key: { kty, crv, x, y } as JsonWebKey, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** Of the key as Node writes it: another spelling of the same key has the same name. */
function thumbprintOf(key: KeyObject): string {
  const { crv, kty, x, y } = key.export({ format: 'jwk' });
  const members = y === undefined ? { crv, kty, x } : { crv, kty, x, y };
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
