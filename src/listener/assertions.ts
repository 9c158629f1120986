import type { RouteConfig } from '../config/config.js';
import {
  type Assertion,
  type AssertionPlan,
  type AssertionSubject,
  makeAssertion,
} from '../identity/assertion-claims.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';
import type { Ids } from './ids.js';

/** By audience: as many as the configuration names. */
type ByAudience = Map<string, Assertion>;
type Remembered = WeakMap<object, ByAudience>;

/** Stands for what a call does not rest on. */
const NOTHING = {};

export interface AssertionParts {
  readonly ids: Pick<Ids, 'hex'>;
  /** Of the moment of use: signing takes longer than all the rest of a request. */
  readonly signed: () => void;
}

/**
 * Assertions that were signed, for as long as they serve: one for each certificate, delegation or token, and audience, under one
 * plan. They go with the credentials that they tell of, so nothing has to be bounded here.
 */
export class Assertions {
  #plan: AssertionPlan | undefined;
  #remembered = new WeakMap<object, Remembered>();

  constructor(readonly parts: AssertionParts) {}

  /** For the service behind this route, or undefined where it gets none. Only for what was let in. */
  find(exchange: Exchange, { assertions: plan }: Snapshot, route: RouteConfig): Assertion | undefined {
    const audience = audienceOf(route, plan);
    if (plan === undefined || audience === undefined) return undefined;
    const known = this.#of(exchange, plan);
    const nowMs = exchange.listener.clock.nowMs();
    const found = known.get(audience);
    // A clock that was set back makes one that is from the future.
    if (found !== undefined && nowMs < found.renewAtMs && nowMs >= found.madeAtMs) return found;
    const made = makeAssertion(plan, subjectOf(exchange), audience, this.parts.ids.hex(16), nowMs);
    this.parts.signed();
    known.set(audience, made);
    return made;
  }

  #of({ connection }: Exchange, plan: AssertionPlan): ByAudience {
    if (plan !== this.#plan) {
      this.#plan = plan;
      this.#remembered = new WeakMap();
    }
    const certificate = connection.credential ?? NOTHING;
    let remembered = this.#remembered.get(certificate);
    if (remembered === undefined) {
      remembered = new WeakMap();
      this.#remembered.set(certificate, remembered);
    }
    let known = remembered.get(NOTHING);
    if (known === undefined) {
      known = new Map();
      remembered.set(NOTHING, known);
    }
    return known;
  }
}

function audienceOf({ assertion }: RouteConfig, plan: AssertionPlan | undefined): string | undefined {
  if (assertion === false) return undefined;
  return assertion?.audience ?? plan?.audience;
}

/** Who was let in, and when the first of what that rests on ends. */
function subjectOf({ connection }: Exchange): AssertionSubject {
  const svid = connection.credential?.svid;
  if (svid === undefined) throw new Error('an assertion asked for an unverified credential');
  return {
    principal: svid.id,
    certificateSha256: svid.leaf.sha256,
    delegation: undefined,
    notAfterMs: svid.notAfterMs,
  };
}
