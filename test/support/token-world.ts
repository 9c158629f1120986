import { createHash } from 'node:crypto';
import type { Authority, Svid } from './pki.js';
import { World, type WorldOptions } from './start-proxy.js';
import { mintSigner, type Signer } from './tokens.js';

export const ISSUER = 'https://ci.test';
export const AUDIENCE = 'billing';

const ROUTES = `
      - { name: cert, host: svc.test, path: /cert/**, upstream: u }
      - { name: both, host: svc.test, path: /both/**, upstream: u, accept: mtls+token }
      - { name: bearer, host: svc.test, path: /token/**, upstream: u, accept: token, upgrade: [websocket] }
      - { name: either, host: svc.test, path: /either/**, upstream: u, accept: either, upgrade: [websocket] }
      - { name: passed, host: svc.test, path: /passed/**, upstream: u, accept: either, forwardToken: true }
      - { name: once, host: svc.test, path: /once/**, upstream: u, accept: token, tokens: [once] }
      - { name: svids, host: svc.test, path: /svids/**, upstream: u, accept: token, tokens: [svids] }`;

export const TOKEN_POLICY = `version: 1
default: deny
rules:
  - id: jobs
    effect: allow
    principals: ["ci:octo/*", "once:octo/*"]
    destinations: [bearer, either, passed, once]
  - id: workloads
    effect: allow
    principals: ["spiffe://a.test/web"]
    destinations: [cert, both, bearer, either, passed, svids]
`;

const TRUST = `
  - { trustDomain: a.test, bundle: { file: a.json } }
  - { trustDomain: b.test, bundle: { file: b.pem } }`;

export interface TokenWorldOptions extends WorldOptions {
  /** Of every entry. */
  readonly more?: string;
}

/** A test world that takes tokens of one issuer, and JWT-SVIDs. */
export class TokenWorld {
  private constructor(
    readonly world: World,
    readonly signer: Signer,
    readonly svidSigner: Signer,
  ) {}

  static async start(options: TokenWorldOptions = {}): Promise<TokenWorld> {
    const [signer, svidSigner] = [mintSigner('ES256', 'k1'), mintSigner('ES256', 's1')];
    const more = options.more === undefined ? '' : `, ${options.more}`;
    const extra = `tokens:
  - { name: ci, issuer: "${ISSUER}", audience: ${AUDIENCE}, jwks: { file: jwks.json }, principal: "ci:{+sub}"${more} }
  - { name: once, issuer: "${ISSUER}/once", audience: ${AUDIENCE}, jwks: { file: jwks.json }, principal: "once:{+sub}", oneTime: true }
  - { name: svids, kind: jwt-svid, audience: ${AUDIENCE} }
${options.extra ?? ''}`;
    const world = new World();
    try {
      await world.prepare();
      const { files, ...rest } = options;
      const all = { routes: ROUTES, policy: TOKEN_POLICY, trust: TRUST, ...rest, extra };
      world.write('jwks.json', keys(signer));
      world.write('a.json', bundle(world.caA, svidSigner));
      world.writeConfig({ ...all, ...(files === undefined ? {} : { files }) });
      await world.run(all);
    } catch (error) {
      await world.close();
      throw error;
    }
    return new TokenWorld(world, signer, svidSigner);
  }

  /** A token of the issuer, for `ci:octo/app` unless said otherwise, that lives for five minutes. */
  token(claims: object = {}, header: Readonly<Record<string, unknown>> = {}): string {
    return this.signer.sign({ ...this.claims(), ...claims }, header);
  }

  oneTime(jti: string | undefined): string {
    return this.token({ iss: `${ISSUER}/once`, jti });
  }

  svid(claims: object = {}): string {
    return this.svidSigner.sign({ ...this.claims(), sub: 'spiffe://a.test/web', iss: undefined, ...claims });
  }

  claims(): object {
    const now = Math.floor(Date.now() / 1000);
    return { iss: ISSUER, aud: AUDIENCE, sub: 'octo/app', iat: now, exp: now + 300 };
  }

  /** The issuer signs by other keys from now on. */
  replaceKeys(...signers: Signer[]): void {
    this.world.replace('jwks.json', keys(...signers));
  }

  close(): Promise<void> {
    return this.world.close();
  }
}

const keys = (...signers: Signer[]): string => JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });

/** A bundle with an authority of certificates and keys of JWT-SVIDs. */
export function bundle({ certDer }: Authority, ...signers: Signer[]): string {
  const authority = { use: 'x509-svid', kty: 'EC', x5c: [certDer.toString('base64')] };
  return JSON.stringify({ keys: [authority, ...signers.map(({ jwk }) => ({ ...jwk, use: 'jwt-svid' }))] });
}

/** One request of HTTP/1.1. */
export const ask = (path: string, token?: string, more = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${token === undefined ? '' : `Authorization: Bearer ${token}\r\n`}${more}\r\n`;

export const reasonIn = (body: string | undefined): unknown => JSON.parse(body ?? '{}').reason;

/** `x5t#S256` (RFC 8705 3.1). */
export const thumbprintOf = ({ certDer }: Pick<Svid, 'certDer'>): string =>
  createHash('sha256').update(certDer).digest('base64url');
