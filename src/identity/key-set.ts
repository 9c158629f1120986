import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import { readPublicJwk } from './json-web-key.js';
import { isJsonArray, isJsonObject, type JsonObject, parseStrictJson } from './strict-json.js';
import { TOKEN_ALGORITHMS, type TokenAlgorithm } from './token-issuer.js';
import type { TrustBundle } from './trust-bundle.js';

/** One public key that verifies tokens. */
export interface VerifyingKey {
  readonly kid: string | undefined;
  /** The only algorithm that it may be used with, where its publisher names one. */
  readonly alg: string | undefined;
  /** SHA-256 of its required members (RFC 7638), base64url: the same key has the same one, whatever it is called. */
  readonly thumbprint: string;
  readonly key: KeyObject;
}

/** The keys of one issuer, at one time. */
export interface KeySet {
  readonly keys: readonly VerifyingKey[];
  /** 16 hex characters, equal for equal content in any order. */
  readonly revision: string;
}

const MAX_BYTES = 256 * 1024;
const MAX_KEYS = 100;

/**
 * Reads a JWK Set (RFC 7517 5): all of it or none. Keys that we do not understand, that are weak or for something else are left
 * out; a secret in it, or two keys by one kid, is an error.
 */
export function parseKeySet(bytes: Uint8Array): Result<KeySet, string> {
  if (bytes.length > MAX_BYTES) return err(`the key set is longer than ${MAX_BYTES} bytes`);
  const json = parseStrictJson(bytes);
  if (!json.ok) return err(`the key set is not sound JSON: ${json.error}`);
  const published = isJsonObject(json.value) ? json.value.get('keys') : undefined;
  if (!isJsonArray(published)) return err('the key set is no JWK Set: `keys` is missing or not an array');
  if (published.length > MAX_KEYS)
    return err(`the key set holds ${published.length} keys, more than ${MAX_KEYS}`);
  const keys: VerifyingKey[] = [];
  for (const [index, members] of published.entries()) {
    if (!isJsonObject(members)) continue;
    const key = readKey(members);
    if (!key.ok) return err(`key ${index + 1} of the key set: ${key.error}`);
    if (key.value === undefined) continue;
    const { kid } = key.value;
    if (kid !== undefined && keys.some((other) => other.kid === kid))
      return err(`the key set holds the key id ${JSON.stringify(kid)} twice`);
    keys.push(key.value);
  }
  // An issuer may withdraw all of its keys; keys for something else are more likely a wrong file.
  if (keys.length === 0 && published.length > 0)
    return err(`none of the ${published.length} keys in the key set can verify a token`);
  return ok(keySet(keys));
}

/** The key; undefined when it is not one that verifies signatures for us. */
function readKey(members: JsonObject): Result<VerifyingKey | undefined, string> {
  const reading = readPublicJwk(members);
  if (reading.kind === 'secret') return err(reading.message);
  if (reading.kind === 'unusable') return ok(undefined);
  const use = members.get('use');
  if (use !== undefined && use !== 'sig') return ok(undefined);
  const operations = members.get('key_ops');
  if (operations !== undefined && !(isJsonArray(operations) && operations.includes('verify')))
    return ok(undefined);
  const alg = members.get('alg');
  if (alg !== undefined && !(isTokenAlgorithm(alg) && fitsAlgorithm(reading.key, alg))) return ok(undefined);
  const kid = members.get('kid');
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) return ok(undefined);
  return ok({ kid, alg, thumbprint: thumbprintOf(reading.key), key: reading.key });
}

const ofBundles = new WeakMap<TrustBundle, KeySet>();

/** The `jwt-svid` keys of a trust bundle, as a key set; made once for each bundle. */
export function keySetOf(bundle: TrustBundle): KeySet {
  const known = ofBundles.get(bundle);
  if (known !== undefined) return known;
  const keys: VerifyingKey[] = [];
  for (const [kid, jwk] of bundle.jwtKeys) {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    keys.push({ kid, alg: undefined, thumbprint: thumbprintOf(key), key });
  }
  const set = keySet(keys);
  ofBundles.set(bundle, set);
  return set;
}

const keySet = (keys: readonly VerifyingKey[]): KeySet => ({ keys, revision: revisionOf(keys) });

function revisionOf(keys: readonly VerifyingKey[]): string {
  const content = keys
    .map(({ kid, alg, thumbprint }) => JSON.stringify([kid ?? null, alg ?? null, thumbprint]))
    .sort();
  return createHash('sha256').update(content.join('\n')).digest('hex').slice(0, 16);
}

/** Of the members as Node writes them, not as they came: one key has one spelling. */
function thumbprintOf(key: KeyObject): string {
  const { kty, crv, e, n, x, y } = key.export({ format: 'jwk' });
  const members = kty === 'RSA' ? { e, kty, n } : kty === 'EC' ? { crv, kty, x, y } : { crv, kty, x };
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}

const algorithms: ReadonlySet<unknown> = new Set(TOKEN_ALGORITHMS);

export const isTokenAlgorithm = (value: unknown): value is TokenAlgorithm => algorithms.has(value);

const CURVES: Readonly<Record<string, string>> = {
  ES256: 'prime256v1',
  ES384: 'secp384r1',
  ES512: 'secp521r1',
};

/** Whether a key is one for this algorithm: kind and curve must be those of RFC 7518 3.1 and RFC 8037 3.1. */
export function fitsAlgorithm(key: KeyObject, alg: TokenAlgorithm): boolean {
  if (alg === 'EdDSA') return key.asymmetricKeyType === 'ed25519';
  if (alg.startsWith('ES'))
    return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === CURVES[alg];
  return key.asymmetricKeyType === 'rsa';
}
