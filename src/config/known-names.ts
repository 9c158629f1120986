import type { PrincipalPattern } from '../policy/pattern.js';
import type { Config } from './config.js';

/** Whose names anything here can verify: a pattern of any other is one that nobody ever meets. */
export class KnownNames {
  readonly #namespaces: ReadonlySet<string>;
  /** Undefined: any. */
  readonly #trustDomains: ReadonlySet<string> | undefined;
  readonly #saysDelegations: boolean;

  constructor({ trust, trustFolders, tokens, trustedPeers }: Config) {
    const domains = trust.map(({ trustDomain }) => trustDomain as string);
    this.#trustDomains = trustFolders.length > 0 ? undefined : new Set(domains);
    this.#namespaces = new Set(
      tokens.flatMap(({ issuer }) => (issuer.kind === 'oidc' ? [issuer.principal.namespace] : [])),
    );
    this.#saysDelegations = trustedPeers.delegates.length > 0;
  }

  /** Why no caller has such a name; undefined where one may. */
  whyNoCaller({ trustDomain }: PrincipalPattern): string | undefined {
    if (trustDomain.endsWith(':'))
      return this.#namespaces.has(trustDomain)
        ? undefined
        : `no entry of \`tokens\` gives names that begin with ${trustDomain}`;
    if (this.#trustDomains === undefined || this.#trustDomains.has(trustDomain)) return undefined;
    return `trust domain ${trustDomain} is not configured under \`trust\``;
  }

  /** The same of those on whose behalf callers act: where peers may say so, they may say so of whom we could not verify. */
  whyNoSubject(pattern: PrincipalPattern): string | undefined {
    return this.#saysDelegations ? undefined : this.whyNoCaller(pattern);
  }
}
