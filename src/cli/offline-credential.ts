import type { RouteConfig } from '../config/config.js';
import type { PrincipalId } from '../identity/principal-id.js';
import type { Delegation } from '../policy/delegation.js';
import { type CredentialFacts, UnknownFact } from '../policy/facts.js';
import { ok, type Result, refuse } from '../reasons.js';

/** What the caller of a request showed that is not here. */
export interface OfflineCredential {
  /** What names it: a certificate, or a token without one. */
  readonly kind: CredentialFacts['kind'];
  /** The entry of `tokens` whose token came with it, where that is known. */
  readonly tokenEntry?: string | undefined;
  /** As somebody says: whether the route believes it is told here. */
  readonly behalfOf: Delegation | undefined;
}

/**
 * The listener's steps between route and policy, as far as they can be taken without the credential: whether the route takes
 * it, and on whose behalf it then is.
 */
export function judgeCredential(
  route: RouteConfig,
  { kind, tokenEntry, behalfOf }: OfflineCredential,
  principal: PrincipalId,
  maxDepth: number,
): Result<Delegation | undefined> {
  const byToken = kind !== 'x509';
  if (byToken && (route.accept === 'mtls' || route.accept === 'mtls+token'))
    return refuse('certificate_missing', `route ${route.name} takes no token without a certificate`);
  if (!byToken && route.accept === 'token')
    return refuse('token_missing', `route ${route.name} takes tokens: a certificate names nobody there`);
  const isTaken = tokenEntry === undefined || route.accept === 'mtls' || takesEntry(route, tokenEntry);
  if (!isTaken)
    return refuse('token_issuer_unknown', `route ${route.name} takes no token of the entry ${tokenEntry}`);
  const delegation =
    behalfOf === undefined || behalfOf.subject.uri === principal.uri || !isLookedAt(route, behalfOf)
      ? undefined
      : behalfOf;
  if (delegation === undefined)
    return route.delegation === 'require'
      ? refuse('delegation_missing', `route ${route.name} says delegation: require`)
      : ok(undefined);
  return isTooDeep(delegation, maxDepth)
    ? refuse('delegation_too_deep', `more than ${maxDepth} actors (limits.delegationDepth)`)
    : ok(delegation);
}

export const takesEntry = ({ tokens }: Pick<RouteConfig, 'tokens'>, entry: string): boolean =>
  tokens === undefined || tokens.includes(entry);

/** On a route that does not look, a call is the caller's own. Who does not say what said so means something that counts. */
export function isLookedAt({ accept, delegation }: RouteConfig, behalfOf: Delegation): boolean {
  const by = orUnknown(() => behalfOf.by);
  if (by === 'token') return accept !== 'mtls';
  if (by !== undefined) return delegation !== 'off';
  return accept !== 'mtls' || delegation !== 'off';
}

const isTooDeep = (behalfOf: Delegation, most: number): boolean =>
  (orUnknown(() => behalfOf.through)?.length ?? 0) + 1 > most;

function orUnknown<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof UnknownFact) return undefined;
    throw cause;
  }
}
