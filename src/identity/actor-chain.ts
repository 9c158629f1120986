import { ok, type Result, refuse } from '../reasons.js';
import type { PrincipalId } from './principal-id.js';
import type { Claims } from './token-template.js';

/** Who acts, by an `act` claim (RFC 8693 4.1). */
export interface ActorChain {
  /** The current actor: the outermost one. */
  readonly actor: PrincipalId;
  /** Its `sub`, byte for byte. */
  readonly actorSub: string;
  /** Who acted before, the first for the subject itself. Nothing may be decided by them. */
  readonly through: readonly string[];
}

/** The name of an actor, by the object that says who it is. */
export type NameActor = (act: Claims) => Result<PrincipalId, string>;

/**
 * Reads `act`; undefined where nobody acts. `exp`, `nbf` and `aud` in it mean nothing (RFC 8693 4.1), and `may_act` is only leave
 * to act (4.4).
 */
export function readActors(claims: Claims, nameOf: NameActor): Result<ActorChain | undefined> {
  const names: PrincipalId[] = [];
  let actorSub: string | undefined;
  for (let act = claims.act; act !== undefined; act = (act as Claims).act) {
    if (typeof act !== 'object' || act === null || Array.isArray(act))
      return refuse('token_claims', '`act` is not an object');
    const { sub } = act as Claims;
    if (typeof sub !== 'string' || sub === '')
      return refuse('token_claims', '`act` does not say who acts: it has no `sub`');
    const name = nameOf(act as Claims);
    if (!name.ok) return refuse('token_claims', `an actor cannot be named: ${name.error}`);
    names.push(name.value);
    actorSub ??= sub;
  }
  const [actor, ...earlier] = names;
  if (actor === undefined || actorSub === undefined) return ok(undefined);
  return ok({ actor, actorSub, through: earlier.reverse().map(({ uri }) => uri) });
}
