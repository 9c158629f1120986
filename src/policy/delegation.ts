import type { PrincipalId } from '../identity/principal-id.js';

/** What may say so: a token beside the certificate, another sidecar's assertion, or a trusted proxy's header. */
export const DELEGATION_SOURCES = ['token', 'assertion', 'xfcc'] as const;

/** On whose behalf a caller acts, as something that was verified says so. */
export interface Delegation {
  /** Whom the call is for. */
  readonly subject: PrincipalId;
  /** Who acted between the subject and the caller, the first for the subject itself. History: nothing is decided by it (RFC 8693 4.1). */
  readonly through: readonly string[];
  readonly by: (typeof DELEGATION_SOURCES)[number];
}

/** Of how many actors the chain is: the caller, and who acted before it. */
export const depthOf = ({ through }: Delegation): number => through.length + 1;

/** Who acted, the first for the subject itself, the last the caller: as records have it. */
export const actorsOf = (
  { through }: Pick<Delegation, 'through'>,
  caller: PrincipalId,
): readonly string[] => [...through, caller.uri];
