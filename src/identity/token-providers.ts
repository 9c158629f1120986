import type { RequiredClaim, TokenAlgorithm } from './token-issuer.js';
import type { TokenTemplate } from './token-template.js';

/** What the tokens of a well-known issuer look like, so that a configuration need name little more than its audience. */
export interface TokenProvider {
  /** `iss`; undefined where each installation has its own, which the configuration must name. */
  readonly issuer?: string;
  readonly algorithms: readonly TokenAlgorithm[];
  readonly types: readonly string[];
  readonly principal: TokenTemplate;
  readonly required: readonly RequiredClaim[];
}

export const TOKEN_PROVIDERS = ['kubernetes', 'github-actions', 'gitlab-ci', 'gcp', 'azure', 'aws'] as const;
export type TokenProviderName = (typeof TOKEN_PROVIDERS)[number];

export const tokenProviders: Readonly<Partial<Record<TokenProviderName, TokenProvider>>> = {};
