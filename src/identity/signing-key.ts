import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';

export type SigningAlgorithm = 'EdDSA' | 'ES256';

/** The public half of a key of ours, as RFC 7517 writes it. Never a private member. */
export interface PublicSigningKey {
  readonly kty: 'OKP' | 'EC';
  readonly crv: 'Ed25519' | 'P-256';
  readonly x: string;
  readonly y?: string;
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  readonly alg: SigningAlgorithm;
  readonly use: 'sig';
}

export type Jwk = Readonly<Record<string, unknown>>;

/** A private key and its public half. Whoever gets it keeps the private one to itself: no log, record or snapshot may show it. */
export interface KeyPair {
  readonly publicKey: PublicSigningKey;
  readonly privateKey: KeyObject;
}

/** Of a private JWK (Ed25519, or ES256 on P-256), not tried out yet. An error says what is wrong and never what is in it. */
export function parseKeyPair(jwk: Jwk): Result<KeyPair, string> {
  const publicKey = publicKeyOf(jwk);
  if (!publicKey.ok) return publicKey;
  if (jwk.d === undefined) return err('is a public key; it takes the private one to sign');
  if (!isOctets(jwk.d)) return err('its `d` is not 32 octets in base64url');
  const ops = jwk.key_ops;
  if (ops !== undefined && !(Array.isArray(ops) && ops.includes('sign')))
    return err('its `key_ops` do not hold `sign`');
  try {
    const { kty, crv, x, y } = publicKey.value;
    const key = createPrivateKey({ key: { kty, crv, x, ...(y && { y }), d: jwk.d }, format: 'jwk' });
    return ok({ publicKey: publicKey.value, privateKey: key });
  } catch {
    return err(TRIAL_FAILED); // not its words: what a library says of a key may hold parts of it
  }
}

/** What is wrong with a pair whose halves are of two keys. */
export const TRIAL_FAILED = 'a trial signature with its private half does not verify with its public half';

/** The public halves of a JWK or a JWK set, private or public. An error says which key, and what is wrong. */
export function parsePublicKeys(bytes: Uint8Array): Result<readonly PublicSigningKey[], string> {
  const read = jwksIn(bytes);
  return read.ok ? eachKey(read.value, publicKeyOf) : read;
}

/** The JWK of a file, or those of its set. */
export interface ReadJwks {
  readonly jwks: readonly Jwk[];
  readonly isSet: boolean;
}

/** The JWK or the JWK set that a file holds; of its keys nothing is looked at yet. */
export function jwksIn(bytes: Uint8Array): Result<ReadJwks, string> {
  const document = objectIn(bytes);
  if (document === undefined) return err('is not the JSON of a JWK or a JWK set');
  const { keys } = document;
  if (keys === undefined) return ok({ jwks: [document], isSet: false });
  if (!Array.isArray(keys)) return err('its `keys` is no list');
  const strange = keys.findIndex((key) => !isObject(key));
  return strange < 0 ? ok({ jwks: keys as Jwk[], isSet: true }) : err(`keys[${strange}]: is no JWK`);
}

/** All of them, or what is wrong with the first that is not good. */
export function eachKey<T>(
  { jwks, isSet }: ReadJwks,
  parse: (jwk: Jwk, index: number) => Result<T, string>,
): Result<readonly T[], string> {
  const found: T[] = [];
  for (const [i, jwk] of jwks.entries()) {
    const one = parse(jwk, i);
    if (!one.ok) return isSet ? err(`keys[${i}]: ${one.error}`) : one;
    found.push(one.value);
  }
  return ok(found);
}

/** Each key once, as a JWK set says it. */
export function jwksOf(keys: readonly PublicSigningKey[]): { readonly keys: readonly PublicSigningKey[] } {
  return { keys: [...new Map(keys.map((key) => [key.kid, key])).values()] };
}

export const keyObjectOf = ({ kty, crv, x, y }: PublicSigningKey): KeyObject =>
  createPublicKey({ key: { kty, crv, x, ...(y && { y }) }, format: 'jwk' });

/** The public half of a JWK, private or public. */
export function publicKeyOf(jwk: Jwk): Result<PublicSigningKey, string> {
  const { kty, crv, x, y, alg, use } = jwk;
  const isEdwards = kty === 'OKP' && crv === 'Ed25519';
  if (!isEdwards && !(kty === 'EC' && crv === 'P-256'))
    return err('is neither an Ed25519 nor a P-256 (ES256) key');
  if (use !== undefined && use !== 'sig') return err('its `use` is not `sig`');
  if (!isOctets(x)) return err('its `x` is not 32 octets in base64url');
  if (isEdwards) {
    // RFC 9864 has a name of its own for EdDSA with this curve.
    if (alg !== undefined && alg !== 'EdDSA' && alg !== 'Ed25519') return err('its `alg` is not EdDSA');
    const kid = thumbprint(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`);
    return checked({ kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'EdDSA', use: 'sig' });
  }
  if (!isOctets(y)) return err('its `y` is not 32 octets in base64url');
  if (alg !== undefined && alg !== 'ES256') return err('its `alg` is not ES256');
  const kid = thumbprint(`{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`);
  return checked({ kty: 'EC', crv: 'P-256', x, y, kid, alg: 'ES256', use: 'sig' });
}

/** A point that is not on the curve is no key. */
function checked(key: PublicSigningKey): Result<PublicSigningKey, string> {
  try {
    keyObjectOf(key);
    return ok(key);
  } catch {
    return err('is no key: its public half is not a point of the curve');
  }
}

/** RFC 7638 3: the required members alone, in lexicographic order. */
const thumbprint = (canonical: string): string => createHash('sha256').update(canonical).digest('base64url');

/** Canonical base64url of 32 octets: what all members of both kinds of key have. */
function isOctets(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const octets = Buffer.from(value, 'base64url');
  return octets.length === 32 && octets.toString('base64url') === value;
}

const isObject = (value: unknown): value is Jwk =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function objectIn(bytes: Uint8Array): Jwk | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // its message would quote the text
  }
}
