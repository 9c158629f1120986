import { constants, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { type KeySet, parseKeySet } from '../../src/identity/key-set.js';
import { parseTrustDomain } from '../../src/identity/spiffe-id.js';
import { parseToken, type UnverifiedToken } from '../../src/identity/token.js';
import type { JwtSvidIssuer, OidcIssuer } from '../../src/identity/token-issuer.js';
import { parseTokenTemplate, type TokenTemplate } from '../../src/identity/token-template.js';
import { parseBundleDocument, type TrustBundle } from '../../src/identity/trust-bundle.js';

/** Keys and tokens, minted in memory: also such as no library would make. */

export interface Signer {
  readonly alg: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** Public members, kid and alg. */
  readonly jwk: Readonly<Record<string, unknown>>;
  /** A compact JWS; `header` is merged into alg, kid and typ, and `undefined` in it takes one out. */
  sign(claims: object | string, header?: Readonly<Record<string, unknown>>): string;
}

const CURVES: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

function generate(alg: string): KeyObject {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519').privateKey;
  const namedCurve = CURVES[alg];
  if (namedCurve !== undefined) return generateKeyPairSync('ec', { namedCurve }).privateKey;
  return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
}

export function mintSigner(alg = 'ES256', kid = 'k1'): Signer {
  const privateKey = generate(alg);
  const jwk = { ...createPublicKey(privateKey).export({ format: 'jwk' }), kid, alg };
  return {
    alg,
    kid,
    privateKey,
    jwk,
    sign: (claims, header = {}) => {
      const head = JSON.stringify({ alg, kid, typ: 'JWT', ...header });
      const payload = typeof claims === 'string' ? claims : JSON.stringify(claims);
      const text = `${encode(head)}.${encode(payload)}`;
      return `${text}.${signature(text, privateKey, alg).toString('base64url')}`;
    },
  };
}

export const encode = (text: string | Uint8Array): string => Buffer.from(text).toString('base64url');

/** By the real algorithm of the key, whatever a header says. */
export function signature(text: string, key: KeyObject, alg: string): Buffer {
  if (alg === 'EdDSA') return sign(null, Buffer.from(text), key);
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith('ES')) return sign(hash, Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  const padding = alg.startsWith('PS') ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
  return sign(hash, Buffer.from(text), { key, padding, saltLength });
}

export function keySetOfSigners(...signers: readonly Signer[]): KeySet {
  const read = parseKeySet(Buffer.from(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) })));
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

/** A bundle whose `jwt-svid` keys these are. */
export function jwtBundle(domain: string, ...signers: readonly Pick<Signer, 'jwk'>[]): TrustBundle {
  const name = parseTrustDomain(domain);
  if (!name.ok) throw new Error(name.error);
  const keys = signers.map(({ jwk }) => ({ use: 'jwt-svid', ...jwk }));
  const bundle = parseBundleDocument(name.value, Buffer.from(JSON.stringify({ keys })));
  if (!bundle.ok) throw new Error(bundle.error);
  return bundle.value;
}

export function templateOf(text: string): TokenTemplate {
  const template = parseTokenTemplate(text);
  if (!template.ok) throw new Error(template.error);
  return template.value;
}

const RULES = {
  audiences: ['api'],
  clockSkewMs: 0,
  maxLifetimeMs: 3_600_000,
  requiresBinding: false,
  isOneTime: false,
} as const;

export const oidcIssuer = (more: Partial<OidcIssuer> = {}): OidcIssuer => ({
  ...RULES,
  kind: 'oidc',
  name: 'ci',
  issuer: 'https://idp.example',
  algorithms: ['RS256', 'ES256'],
  types: ['JWT', 'at+jwt', 'none'],
  principal: templateOf('ci:{sub}'),
  actor: templateOf('ci:{sub}'),
  required: [],
  ...more,
});

export const jwtSvidIssuer = (more: Partial<JwtSvidIssuer> = {}): JwtSvidIssuer => ({
  ...RULES,
  kind: 'jwt-svid',
  name: 'svids',
  asksAgent: false,
  ...more,
});

/** A token that is sound in itself. */
export function parsed(text: string): UnverifiedToken {
  const token = parseToken(text);
  if (!token.ok) throw new Error(`${token.error.reason}: ${token.error.detail}`);
  return token.value;
}
