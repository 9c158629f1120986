import type { KeyObject } from 'node:crypto';
import { CompactSign } from 'jose/jws/compact/sign';
import { compactVerify } from 'jose/jws/compact/verify';
import {
  jwksIn,
  type KeyPair,
  keyObjectOf,
  type PublicSigningKey,
  parseKeyPair,
  TRIAL_FAILED,
} from '../identity/signing-key.js';
import { err, ok, type Result } from '../reasons.js';
import { SEAL_TYPE } from './seal-line.js';
import { toLowS } from './seal-signature.js';

/** A key that signs seals. What is private of it stays in here: no log, record or snapshot can show it. */
export class SealKey {
  readonly publicKey: PublicSigningKey;
  readonly #key: KeyObject;

  constructor({ publicKey, privateKey }: KeyPair) {
    this.publicKey = publicKey;
    this.#key = privateKey;
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
  const read = jwksIn(bytes);
  if (read.ok && !read.value.isSet) return tryOut(parseKeyPair(read.value.jwks[0] ?? {}));
  if (read.ok) return err('is a key set; a seal is signed with one private JWK');
  return err('is not the JSON of a JWK');
}

async function tryOut(pair: Result<KeyPair, string>): Promise<Result<SealKey, string>> {
  if (!pair.ok) return pair;
  const sealKey = new SealKey(pair.value);
  try {
    await compactVerify(await sealKey.sign('trial'), keyObjectOf(sealKey.publicKey));
    return ok(sealKey);
  } catch {
    return err(TRIAL_FAILED); // not its words: what a library says of a key may hold parts of it
  }
}
