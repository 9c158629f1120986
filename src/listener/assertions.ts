import type { RouteConfig } from '../config/config.js';
import { type Assertion, type AssertionPlan, makeAssertion } from '../identity/assertion-claims.js';
import type { Delegation } from '../policy/delegation.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';
import type { Ids } from './ids.js';

/** By audience, who calls, and whom the call is for. */
type Kept = Map<string, Assertion>;

/** Of one caller: a gateway acts for ever more subjects. */
const MAX_KEPT = 1000;

/** Stands for what a call does not rest on. */
const NOTHING = {};

/**
 * Assertions that were signed, for as long as they serve: signing costs more than all the rest of a request. One for each
 * certificate, token, delegation and audience, under one plan; they go with the credentials that they tell of.
 */
export class Assertions {
  #plan: AssertionPlan | undefined;
  #kept = new WeakMap<object, WeakMap<object, Kept>>();

  constructor(
    readonly ids: Pick<Ids, 'hex'>,
    /** Told of each signature. */
    readonly signed: () => void,
  ) {}

  /** For the service behind this route; undefined where it gets none. Only for what was let in, right after that. */
  find(
    exchange: Exchange,
    { assertions: plan }: Snapshot,
    { assertion: of }: RouteConfig,
  ): Assertion | undefined {
    if (plan === undefined || of === false) return undefined;
    const audience = of?.audience ?? plan.audience;
    if (audience === undefined) return undefined;
    const kept = this.#keptOf(exchange, plan);
    const key = keyOf(exchange, audience);
    const found = kept.get(key);
    const notAfterMs = notAfterOf(exchange);
    const nowMs = exchange.listener.clock.nowMs();
    if (found !== undefined && isOfUse(found, nowMs, notAfterMs)) return found;
    const made = this.#make(exchange, plan, audience, nowMs, notAfterMs);
    kept.delete(key); // the newest last
    kept.set(key, made);
    if (kept.size > MAX_KEPT) dropFirst(kept);
    return made;
  }

  #make(
    { caller, connection, delegation }: Exchange,
    plan: AssertionPlan,
    audience: string,
    nowMs: number,
    notAfterMs: number,
  ): Assertion {
    if (caller === undefined) throw new Error('an assertion asked for where nobody is known to call');
    const subject = {
      principal: caller,
      certificateSha256: connection.credential?.svid?.leaf.sha256,
      delegation: delegation?.delegation,
      notAfterMs,
    };
    this.signed();
    return makeAssertion(plan, subject, audience, this.ids.hex(16), nowMs);
  }

  #keptOf({ connection, token }: Exchange, plan: AssertionPlan): Kept {
    if (plan !== this.#plan) {
      this.#plan = plan;
      this.#kept = new WeakMap();
    }
    const certificate = connection.credential ?? NOTHING;
    let ofCertificate = this.#kept.get(certificate);
    if (ofCertificate === undefined) {
      ofCertificate = new WeakMap();
      this.#kept.set(certificate, ofCertificate);
    }
    let kept = ofCertificate.get(token ?? NOTHING);
    if (kept === undefined) {
      kept = new Map();
      ofCertificate.set(token ?? NOTHING, kept);
    }
    return kept;
  }
}

/** The first end of all that the call rests on, Unix milliseconds. */
const notAfterOf = ({ connection, token, delegation }: Exchange): number =>
  Math.min(
    connection.credential?.svid?.notAfterMs ?? Number.POSITIVE_INFINITY,
    token?.token.notAfterMs ?? Number.POSITIVE_INFINITY,
    delegation?.notAfterMs ?? Number.POSITIVE_INFINITY,
  );

/** It ends no later than what it tells of, and has half of its life left, unless no other could live longer. */
function isOfUse({ madeAtMs, endMs }: Assertion, nowMs: number, notAfterMs: number): boolean {
  if (nowMs < madeAtMs || endMs > notAfterMs) return false; // a clock that was set back; a path that ends earlier
  return nowMs - madeAtMs < endMs - nowMs || endMs + 1000 > notAfterMs;
}

/**
 * With one certificate and one token some routes take the token for the caller, and others for whom the certificate acts: who
 * calls is part of it. No name holds a line break.
 */
function keyOf({ caller, delegation }: Exchange, audience: string): string {
  const key = `${audience}\n${caller?.uri}`;
  return delegation === undefined ? key : `${key}\n${namesIn(delegation.delegation)}`;
}

const namesIn = ({ subject, through }: Delegation): string =>
  through.length === 0 ? subject.uri : JSON.stringify([subject.uri, ...through]);

function dropFirst(kept: Kept): void {
  for (const key of kept.keys()) return void kept.delete(key);
}
