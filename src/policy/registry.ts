import type { PrincipalPattern } from './pattern.js';

/** Who answers for the identities of a pattern. */
export interface RegistryEntry {
  readonly pattern: PrincipalPattern;
  readonly owner: string;
  readonly environment: string | undefined;
  readonly contact: string | undefined;
  readonly purpose: string | undefined;
}
