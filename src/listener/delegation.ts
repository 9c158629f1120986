import type { DelegationFields } from '../audit/record.js';
import { type PrincipalId, parsePrincipalId } from '../identity/principal-id.js';
import { judgeToken, reviseToken, type VerifiedToken } from '../identity/token.js';
import { type Delegation, depthOf } from '../policy/delegation.js';
import type { Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { VerifiedDelegation } from './verified-delegation.js';

const untrusted = (detail: string): Refusal => ({ reason: 'delegation_untrusted', detail });

/** What came out of a claim, in the hands of the one caller that may make it. */
export class HeldDelegation implements VerifiedDelegation {
  readonly notAfterMs: number;
  /** Subject and actors, as far as their names can be revoked. */
  readonly #named: readonly PrincipalId[];
  #snapshot: Snapshot | undefined;
  #judgedAtMs = 0;
  #validUntilMs = 0;
  #refusal: Refusal | undefined;

  /**
   * @param said the token or the assertion that says so; an XFCC is the peer's own word.
   * @param sha256 hex, of the certificate that whoever called the caller showed, where that is known.
   */
  constructor(
    readonly delegation: Delegation,
    readonly caller: PrincipalId,
    readonly said: VerifiedToken | undefined,
    readonly sha256: string | undefined,
  ) {
    this.notAfterMs = said?.notAfterMs ?? Number.POSITIVE_INFINITY;
    this.#named = [delegation.subject, ...principalsOf(delegation.through)];
  }

  /** Cached until the snapshot, the clock or a date changes the answer. */
  judge(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (snapshot === this.#snapshot && nowMs < this.#validUntilMs && nowMs >= this.#judgedAtMs)
      return this.#refusal;
    this.#snapshot = snapshot;
    this.#judgedAtMs = nowMs;
    this.#validUntilMs = nowMs; // an exception below leaves nothing cached
    this.#refusal = this.#judgeNow(snapshot, nowMs);
    // What is not good now may be later: a revocation ends, a key comes back.
    const untilMs = Math.min(this.notAfterMs, snapshot.revocations.nextChangeMs(nowMs));
    this.#validUntilMs = this.#refusal === undefined ? untilMs : nowMs + 1000;
    return this.#refusal;
  }

  #judgeNow(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    const { delegation, caller } = this;
    const { limits, trustedPeers } = snapshot.config;
    const depth = depthOf(delegation);
    if (depth > limits.delegationDepth)
      return { reason: 'delegation_too_deep', detail: `${depth} actors, at most ${limits.delegationDepth}` };
    const { by } = delegation;
    if (by !== 'token' && trustedPeers.delegates.find(({ id }) => id.uri === caller.uri)?.by.kind !== by)
      return untrusted(`${caller.uri} is no peer whose word counts by ${by}`);
    return (
      this.#revoked(snapshot, nowMs) ??
      (by === 'assertion' ? this.#judgeAssertion(snapshot, nowMs) : undefined)
    );
  }

  #judgeAssertion({ tokens, bundles, revocations }: Snapshot, nowMs: number): Refusal | undefined {
    if (this.said === undefined) return untrusted('no assertion');
    const verdict = judgeToken(this.said, { tokens, bundles, revocations, nowMs });
    if (verdict === undefined) return undefined;
    if (verdict !== 'verify again') return asUntrusted(verdict);
    const revised = reviseToken(this.said, { tokens, bundles, revocations, nowMs });
    return revised.ok ? undefined : asUntrusted(revised.error);
  }

  /**
   * Who may not call for himself has nobody call for him, and passes nothing on. XFCC does not tell when a credential was issued:
   * there an entry with `issuedBefore` means every one.
   */
  #revoked({ revocations }: Snapshot, nowMs: number): Refusal | undefined {
    const { said, sha256 } = this;
    const issuedMs = said?.issuedMs ?? said?.notBeforeMs ?? 0;
    for (const id of this.#named) {
      const at = id === this.#named.at(-1) && sha256 !== undefined ? { issuedMs, sha256 } : { issuedMs };
      const entry = revocations.findPrincipal(id, at, nowMs);
      if (entry !== undefined) return untrusted(`${id.uri} is revoked: ${entry.reason}`);
    }
    return undefined;
  }

  fields({ policy: { registry } }: Snapshot): DelegationFields {
    const { subject, by, through } = this.delegation;
    const entry = registry?.find(subject);
    return {
      id: subject.uri,
      trustDomain: subject.trustDomain,
      by,
      actors: [...through, this.caller.uri],
      issuer: by === 'assertion' ? this.said?.iss : undefined,
      jti: by === 'assertion' ? this.said?.jti : undefined,
      ...(registry === undefined ? {} : { owner: entry?.owner, registered: entry !== undefined }),
    };
  }
}

/** What is wrong with an assertion is no fault of the caller's own credential; where nobody can tell yet, that stays so. */
export const asUntrusted = ({ reason, detail }: Refusal): Refusal =>
  reason === 'token_unverifiable'
    ? { reason, detail }
    : untrusted(detail === '' ? reason : `${reason}: ${detail}`);

function* principalsOf(names: readonly string[]): Generator<PrincipalId> {
  for (const name of names) {
    const id = parsePrincipalId(name);
    if (id.ok) yield id.value;
  }
}
