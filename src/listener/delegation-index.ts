import { verifyAssertion } from '../identity/assertion.js';
import type { PrincipalId } from '../identity/principal-id.js';
import { err, ok, type Result, refuse } from '../reasons.js';
import { asUntrusted, HeldDelegation } from './delegation.js';
import type { Clock, SnapshotHolder, TokenAuthority } from './ports.js';

/** Assertions that were verified, by their text: one is verified once, however many requests bring it. */
export class DelegationIndex {
  /** The oldest first: they are of much the same length, so those that are over go first. */
  readonly #held = new Map<string, HeldDelegation>();
  readonly #underWay = new Map<string, Promise<Result<HeldDelegation>>>();

  constructor(
    readonly snapshots: SnapshotHolder,
    readonly authority: Pick<TokenAuthority, 'refreshKeys'>,
    readonly clock: Clock,
  ) {}

  get size(): number {
    return this.#held.size;
  }

  /** @returns undefined where it has to be verified. */
  find(peer: PrincipalId, text: string): HeldDelegation | undefined {
    const held = this.#held.get(text);
    return held?.caller.uri === peer.uri ? held : undefined; // good in one peer's hands alone
  }

  /** Verifies it under the snapshot in force. */
  verify(peer: PrincipalId, text: string): Promise<Result<HeldDelegation>> {
    const key = keyOf(peer, text);
    const known = this.#underWay.get(key);
    if (known !== undefined) return known;
    const verified = this.#verify(peer, text)
      .then((result) => {
        if (result.ok) this.#keep(text, result.value);
        return result;
      })
      .finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, verified);
    return verified;
  }

  async #verify(peer: PrincipalId, text: string): Promise<Result<HeldDelegation>> {
    const first = await this.#verifyNow(peer, text);
    if (first.ok || first.error.reason !== 'token_key_unknown') return asClaim(peer, first);
    const name = this.snapshots.current?.tokens.delegates.get(peer.uri)?.issuer.name;
    const isNew = name !== undefined && (await this.authority.refreshKeys(name));
    return asClaim(peer, isNew ? await this.#verifyNow(peer, text) : first);
  }

  async #verifyNow(peer: PrincipalId, text: string): ReturnType<typeof verifyAssertion> {
    const snapshot = this.snapshots.current;
    const trusted = snapshot?.tokens.delegates.get(peer.uri);
    if (snapshot === undefined || trusted === undefined)
      return refuse('token_unverifiable', 'the keys of its issuer are not there');
    return verifyAssertion(text, trusted, peer, snapshot.bundles, this.clock.nowMs());
  }

  #keep(text: string, held: HeldDelegation): void {
    const most = this.snapshots.current?.config.limits.tokens ?? 0;
    for (const oldest of this.#held.keys()) {
      if (this.#held.size < most) break;
      this.#held.delete(oldest);
    }
    this.#held.set(text, held);
  }
}

/** Neither holds a line feed. */
const keyOf = (peer: PrincipalId, text: string): string => `${peer.uri}\n${text}`;

function asClaim(
  peer: PrincipalId,
  verified: Awaited<ReturnType<typeof verifyAssertion>>,
): Result<HeldDelegation> {
  if (!verified.ok) return err(asUntrusted(verified.error));
  const { token, subject, actors, shownSha256 } = verified.value;
  return ok(new HeldDelegation({ subject, through: actors, by: 'assertion' }, peer, token, shownSha256));
}
