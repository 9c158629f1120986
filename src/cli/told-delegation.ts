import type { PrincipalId } from '../identity/principal-id.js';
import type { Delegation } from '../policy/delegation.js';
import { UnknownFact } from '../policy/facts.js';

/** What a person, or a test of a policy file, tells of a delegation; all but the subject may be left out. */
export interface ToldBehalf {
  readonly behalfOf?: PrincipalId | undefined;
  readonly by?: Delegation['by'] | undefined;
  readonly through?: readonly string[] | undefined;
}

export function toldDelegation({ behalfOf, by, through }: ToldBehalf): Delegation | undefined {
  return behalfOf === undefined ? undefined : new ToldDelegation(behalfOf, by, through);
}

/** Each is asked for alone: what nobody reads need not be told. */
class ToldDelegation implements Delegation {
  readonly #by: Delegation['by'] | undefined;
  readonly #through: readonly string[] | undefined;

  constructor(
    readonly subject: PrincipalId,
    by: Delegation['by'] | undefined,
    through: readonly string[] | undefined,
  ) {
    this.#by = by;
    this.#through = through;
  }

  get by(): Delegation['by'] {
    if (this.#by === undefined) throw new UnknownFact('delegation.by');
    return this.#by;
  }

  get through(): readonly string[] {
    if (this.#through === undefined) throw new UnknownFact('delegation.actors');
    return this.#through;
  }
}
