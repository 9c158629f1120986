import { type KeyObject, sign, verify } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import {
  eachKey,
  jwksIn,
  type KeyPair,
  keyObjectOf,
  type PublicSigningKey,
  parseKeyPair,
  publicKeyOf,
  TRIAL_FAILED,
} from './signing-key.js';

const MAX_KEYS = 16;

/** A key that signs assertions. What is private of it stays in here: no log, record or snapshot can show it. */
export class AssertionKey {
  readonly publicKey: PublicSigningKey;
  readonly #key: KeyObject;

  constructor({ publicKey, privateKey }: KeyPair) {
    this.publicKey = publicKey;
    this.#key = privateKey;
  }

  /** The compact JWS of a payload's text. At once, and so not by jose: who waits for a signature has to be judged again. */
  sign(type: string, payload: string): string {
    const { alg, kid } = this.publicKey;
    const text = `${encoded(JSON.stringify({ alg, kid, typ: type }))}.${encoded(payload)}`;
    const signature = sign(hashOf(this.publicKey), Buffer.from(text), { key: this.#key, ...FORM });
    return `${text}.${signature.toString('base64url')}`;
  }
}

/** RFC 7518 3.4: r and s, one behind the other. */
const FORM = { dsaEncoding: 'ieee-p1363' } as const;
const encoded = (text: string): string => Buffer.from(text).toString('base64url');
/** Ed25519 hashes by itself (RFC 8032 5.1.6). */
const hashOf = ({ alg }: PublicSigningKey): 'sha256' | null => (alg === 'ES256' ? 'sha256' : null);

/** The keys of one file. */
export interface AssertionKeys {
  readonly signer: AssertionKey;
  /** The signer's first. */
  readonly published: readonly PublicSigningKey[];
}

/** A private JWK, or a set: its first key signs and is tried out, of all the public halves are published. Errors hold nothing of a key. */
export function parseAssertionKeys(bytes: Uint8Array): Result<AssertionKeys, string> {
  const read = jwksIn(bytes);
  if (!read.ok) return read;
  const { jwks, isSet } = read.value;
  const [first] = jwks;
  if (first === undefined) return err('holds no key');
  if (jwks.length > MAX_KEYS) return err(`holds more than ${MAX_KEYS} keys`);
  const published = eachKey(read.value, publicKeyOf);
  if (!published.ok) return published;
  const kids = published.value.map(({ kid }) => kid);
  const again = kids.findIndex((kid, i) => kids.indexOf(kid) < i);
  if (again >= 0) return err(`keys[${again}]: is the same key as keys[${kids.indexOf(kids[again] ?? '')}]`);
  const signer = tryOut(first);
  if (!signer.ok) return isSet ? err(`keys[0]: ${signer.error}`) : signer;
  return ok({ signer: signer.value, published: published.value });
}

function tryOut(jwk: Parameters<typeof parseKeyPair>[0]): Result<AssertionKey, string> {
  const pair = parseKeyPair(jwk);
  if (!pair.ok) return pair;
  const key = new AssertionKey(pair.value);
  return isVerified(key) ? ok(key) : err(TRIAL_FAILED);
}

function isVerified(key: AssertionKey): boolean {
  try {
    const jws = key.sign('trial', 'trial');
    const dot = jws.lastIndexOf('.');
    const signature = Buffer.from(jws.slice(dot + 1), 'base64url');
    const by = { key: keyObjectOf(key.publicKey), ...FORM };
    return verify(hashOf(key.publicKey), Buffer.from(jws.slice(0, dot)), by, signature);
  } catch {
    return false; // not its words: what a library says of a key may hold parts of it
  }
}
