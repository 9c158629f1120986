import { generateKeyPairSync } from 'node:crypto';
import { SignJWT } from 'jose';

const ISSUER = 'https://kubernetes.default.svc';
const KID = 'bench';

/** An issuer of tokens such as a cluster gives to its pods, and one token of it. */
export class BenchIssuer {
  readonly principal = 'k8s:prod/web';
  readonly configured = `tokens:
  - name: cluster
    issuer: ${ISSUER}
    audience: billing
    principal: "k8s:{/kubernetes.io/namespace}/{/kubernetes.io/serviceaccount/name}"
    jwks: { file: jwks.json }
`;

  private constructor(
    readonly keySet: string,
    readonly token: string,
  ) {}

  static async make(): Promise<BenchIssuer> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = { ...publicKey.export({ format: 'jwk' }), kid: KID, use: 'sig', alg: 'ES256' };
    const token = await new SignJWT({
      'kubernetes.io': {
        namespace: 'prod',
        pod: { name: 'web-5d8c7b9f64-x2k7q', uid: '0f3d9a52-5a6e-4a53-8f0e-4f0a9c1d7b21' },
        serviceaccount: { name: 'web', uid: '6b1f8a0c-2f0b-4a0e-9f57-0d9b3c1e5a77' },
      },
    })
      .setProtectedHeader({ alg: 'ES256', kid: KID })
      .setIssuer(ISSUER)
      .setAudience('billing')
      .setSubject('system:serviceaccount:prod:web')
      .setJti('c2b5a2f4-6f5a-4c39-9a51-3f6a7d1f0b12')
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey);
    return new BenchIssuer(JSON.stringify({ keys: [key] }), token);
  }
}
