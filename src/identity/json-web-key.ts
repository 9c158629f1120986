import { createPublicKey, type KeyObject } from 'node:crypto';
import type { JWK } from 'jose';
import type { JsonObject } from './strict-json.js';

/** What a published JWK holds for us: a key that may verify, nothing that we can use, or what nobody may publish. */
export type JwkReading =
  | { readonly kind: 'usable'; readonly jwk: JWK; readonly key: KeyObject }
  | { readonly kind: 'unusable' }
  | { readonly kind: 'secret'; readonly message: string };

const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k', 'oth', 'priv'] as const;
const PUBLIC_MEMBERS: ReadonlyMap<unknown, readonly ('crv' | 'x' | 'y' | 'n' | 'e')[]> = new Map([
  ['EC', ['crv', 'x', 'y']],
  ['RSA', ['n', 'e']],
  ['OKP', ['crv', 'x']],
]);
const CURVES: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['EC', new Set(['P-256', 'P-384', 'P-521'])],
  ['OKP', new Set(['Ed25519'])],
]);
const MIN_RSA_BITS = 2048; // RFC 7518 3.3
/** Each verification by a larger one costs milliseconds. */
const MAX_RSA_BITS = 8192;

const UNUSABLE: JwkReading = { kind: 'unusable' };

/** Reads the public members of a JWK (RFC 7517 4, RFC 7518 6). What it is for, and its kid, are the caller's to judge. */
export function readPublicJwk(members: JsonObject): JwkReading {
  // A published private key signs for everybody: say so, and never keep, show or use it.
  if (SECRET_MEMBERS.some((member) => members.has(member))) {
    const message = members.get('kty') === 'oct' ? 'it is a symmetric key' : 'it holds a private key';
    return { kind: 'secret', message };
  }
  const kty = members.get('kty');
  const names = PUBLIC_MEMBERS.get(kty);
  if (typeof kty !== 'string' || names === undefined) return UNUSABLE;
  const jwk: JWK = { kty };
  for (const name of names) {
    const value = members.get(name);
    if (typeof value !== 'string') return UNUSABLE;
    jwk[name] = value;
  }
  const curves = CURVES.get(kty);
  if (curves !== undefined && !curves.has(jwk.crv ?? '')) return UNUSABLE;
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    return kty === 'RSA' && !isStrongRsa(key) ? UNUSABLE : { kind: 'usable', jwk, key };
  } catch {
    return UNUSABLE;
  }
}

/** With the exponent 1 every text is its own signature. */
function isStrongRsa(key: KeyObject): boolean {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {};
  return modulusLength >= MIN_RSA_BITS && modulusLength <= MAX_RSA_BITS && publicExponent >= 3n;
}
