import type { TrustDomain } from './spiffe-id.js';
import type { TokenTemplate } from './token-template.js';

/** Signature algorithms of tokens (RFC 7518 3.1, RFC 8037 3.1): asymmetric ones only, so that no public key is ever a secret. */
export const TOKEN_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'EdDSA',
] as const;
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number];

/** What every token of one entry of the configuration must be like. */
interface TokenRules {
  /** As the configuration calls it; records and routes name it so. */
  readonly name: string;
  /** One of these must be in `aud`, byte for byte. Never empty. */
  readonly audiences: readonly string[];
  /** How far the issuer's clock may be from ours. */
  readonly clockSkewMs: number;
  /** From `iat` (else `nbf`, else from now) to `exp`. */
  readonly maxLifetimeMs: number;
  /** It must be bound to the client's certificate (RFC 8705 3.1). One that is bound is checked in any case. */
  readonly requiresBinding: boolean;
  /** Each `jti` once, as long as the token lives; then it must have one. */
  readonly isOneTime: boolean;
}

/** An OpenID provider, or another issuer of JWTs (RFC 7519, RFC 9068). */
export interface OidcIssuer extends TokenRules {
  readonly kind: 'oidc';
  /** `iss`, byte for byte. */
  readonly issuer: string;
  readonly algorithms: readonly TokenAlgorithm[];
  /** Values of `typ`, compared as RFC 7515 4.1.9 has it; `none` = it may be left out. */
  readonly types: readonly string[];
  readonly principal: TokenTemplate;
  /** Who acts, of the object of an `act` claim (RFC 8693 4.1). */
  readonly actor: TokenTemplate;
  /** Claims (name, or JSON Pointer) that must be there and match. */
  readonly required: readonly RequiredClaim[];
}

export interface RequiredClaim {
  readonly claim: string;
  /** All values that may stand there; undefined = any text that is not empty. */
  readonly values?: readonly string[];
  /** A regular expression that the whole text must match; ours, never of a configuration. */
  readonly pattern?: string;
}

/** JWT-SVIDs, by the `jwt-svid` keys of the bundle of the subject's own trust domain. */
export interface JwtSvidIssuer extends TokenRules {
  readonly kind: 'jwt-svid';
  /** Undefined = every configured one. */
  readonly trustDomains?: readonly TrustDomain[];
  /** The agent is asked first (SPIFFE Workload API 6.3). */
  readonly asksAgent: boolean;
}

/** Assertions (`x-identity-assertion`) that another sidecar signs, in the hands of the intermediary that got them. */
export interface AssertionIssuer extends TokenRules {
  readonly kind: 'assertion';
  /** SPIFFE ID of the sidecar that signs. */
  readonly issuer: string;
  /** SPIFFE ID of the only peer that may show them. */
  readonly presenter: string;
}

export type TokenIssuer = OidcIssuer | JwtSvidIssuer | AssertionIssuer;
