import { randomUUID } from 'node:crypto';
import { exportJWK, type GenerateKeyPairResult, generateKeyPair, type JWK, SignJWT } from 'jose';

type Claims = Readonly<Record<string, unknown>>;

/** Signs what a sidecar gives to its service, and whatever else a test thinks of. */
export class AssertionSigner {
  private constructor(
    readonly kid: string,
    readonly alg: string,
    readonly keys: GenerateKeyPairResult,
    readonly jwk: JWK,
  ) {}

  static async create(kid = 'k1', alg = 'EdDSA'): Promise<AssertionSigner> {
    const keys = await generateKeyPair(alg, { extractable: true });
    const jwk = { ...(await exportJWK(keys.publicKey)), kid, alg, use: 'sig' };
    return new AssertionSigner(kid, alg, keys, jwk);
  }

  /** As it stands in a file. */
  get jwks(): string {
    return JSON.stringify({ keys: [this.jwk] });
  }

  /** The private key, as a sidecar has it in a file. */
  async privateJwk(): Promise<string> {
    return JSON.stringify({
      ...(await exportJWK(this.keys.privateKey)),
      kid: this.kid,
      alg: this.alg,
      use: 'sig',
    });
  }

  /** Good for a minute from `nowMs` unless the claims say otherwise; a claim that is undefined is left out. */
  sign(claims: Claims, header: Claims = {}, nowMs = Date.now()): Promise<string> {
    const iat = Math.floor(nowMs / 1000);
    const payload = Object.entries({ iat, exp: iat + 60, jti: randomUUID(), ...claims });
    const named = { alg: this.alg, kid: this.kid, typ: 'identity-assertion+jwt', ...header };
    return new SignJWT(Object.fromEntries(payload.filter(([, value]) => value !== undefined)))
      .setProtectedHeader(
        Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined)) as {
          alg: string;
        },
      )
      .sign(this.keys.privateKey);
  }
}
