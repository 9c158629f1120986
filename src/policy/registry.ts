import type { SpiffeId } from '../identity/spiffe-id.js';
import type { PrincipalPattern } from './pattern.js';

/** Who answers for the identities of a pattern. */
export interface RegistryEntry {
  readonly pattern: PrincipalPattern;
  readonly owner: string;
  readonly environment: string | undefined;
  readonly contact: string | undefined;
  readonly purpose: string | undefined;
}

/** Who owns which identity. */
export interface Registry {
  readonly entries: readonly RegistryEntry[];
  /** What becomes of an identity that no entry names. */
  readonly unregistered: 'allow' | 'flag' | 'deny';
  /** SHA-256 of what it says. */
  readonly revision: string;
  /** The most specific entry that names it. */
  find(id: SpiffeId): RegistryEntry | undefined;
}
