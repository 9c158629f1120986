import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { CompactSign } from 'jose/jws/compact/sign';
import { compactVerify } from 'jose/jws/compact/verify';
import { err, ok, type Result } from '../reasons.js';
import { SEAL_TYPE, type SealAlgorithm } from './seal-line.js';
import { toLowS } from './seal-signature.js';

/** The public half of a key, as RFC 7517 writes it. Never a private member. */
export interface PublicSealKey {
  readonly kty: 'OKP' | 'EC';
  readonly crv: 'Ed25519' | 'P-256';
  readonly x: string;
  readonly y?: string;
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  readonly alg: SealAlgorithm;
  readonly use: 'sig';
}

/** A key that signs seals. What is private of it stays in here: no log, record or snapshot can show it. */
export class SealKey {
  readonly #key: KeyObject;

  constructor(
    readonly publicKey: PublicSealKey,
    key: KeyObject,
  ) {
    this.#key = key;
  }

  get kid(): string {
    return this.publicKey.kid;
  }

  /** The compact JWS of a payload's text. */
  async sign(payload: string): Promise<string> {
    const { alg, kid } = this.publicKey;
    const jws = await new CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg, kid, typ: SEAL_TYPE })
      .sign(this.#key);
    return alg === 'ES256' ? toLowS(jws) : jws;
  }
}

/** The private JWK of a file (Ed25519, or ES256 on P-256), tried out: an error says what is wrong and never what is in it. */
export async function parseSealKey(bytes: Uint8Array): Promise<Result<SealKey, string>> {
  const jwk = objectIn(bytes);
  if (jwk === undefined) return err('is not the JSON of a JWK');
  if (Array.isArray(jwk.keys)) return err('is a key set; a seal is signed with one private JWK');
  const publicKey = publicOf(jwk);
  if (!publicKey.ok) return publicKey;
  if (jwk.d === undefined) return err('is a public key; seals are signed with the private one');
  if (!isOctets(jwk.d)) return err('its `d` is not 32 octets in base64url');
  const ops = jwk.key_ops;
  if (ops !== undefined && !(Array.isArray(ops) && ops.includes('sign')))
    return err('its `key_ops` do not hold `sign`');
  try {
    const { kty, crv, x, y } = publicKey.value;
    const key = createPrivateKey({ key: { kty, crv, x, ...(y && { y }), d: jwk.d }, format: 'jwk' });
    const sealKey = new SealKey(publicKey.value, key);
    const jws = await sealKey.sign('trial');
    await compactVerify(jws, keyObjectOf(publicKey.value));
    return ok(sealKey);
  } catch {
    // Not its words: what a library says of a key may hold parts of it.
    return err('a trial signature with its private half does not verify with its public half');
  }
}

/** The public halves of a JWK or a JWK set, private or public. An error says which key, and what is wrong. */
export function parsePublicSealKeys(bytes: Uint8Array): Result<readonly PublicSealKey[], string> {
  const document = objectIn(bytes);
  if (document === undefined) return err('is not the JSON of a JWK or a JWK set');
  const { keys } = document;
  if (keys === undefined) {
    const one = publicOf(document);
    return one.ok ? ok([one.value]) : one;
  }
  if (!Array.isArray(keys)) return err('its `keys` is no list');
  const found: PublicSealKey[] = [];
  for (const [i, key] of keys.entries()) {
    const one = isObject(key) ? publicOf(key) : err('is no JWK');
    if (!one.ok) return err(`keys[${i}]: ${one.error}`);
    found.push(one.value);
  }
  return ok(found);
}

/** Each key once, as a JWK set says it. */
export function jwksOf(keys: readonly PublicSealKey[]): { readonly keys: readonly PublicSealKey[] } {
  return { keys: [...new Map(keys.map((key) => [key.kid, key])).values()] };
}

export const keyObjectOf = ({ kty, crv, x, y }: PublicSealKey): KeyObject =>
  createPublicKey({ key: { kty, crv, x, ...(y && { y }) }, format: 'jwk' });

type Jwk = Readonly<Record<string, unknown>>;

function publicOf(jwk: Jwk): Result<PublicSealKey, string> {
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
function checked(key: PublicSealKey): Result<PublicSealKey, string> {
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
