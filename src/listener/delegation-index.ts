import type { VerifiedAssertion } from '../identity/assertion.js';
import type { PrincipalId } from '../identity/principal-id.js';
import { err, ok, type Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { asUntrusted, HeldDelegation } from './delegation.js';
import { TokenVerifier, type VerifierParts } from './token-verifier.js';
import { VerifyOnce } from './verify-once.js';

/** Assertions that were verified, by their text: one is verified once, however many requests bring it. */
export class DelegationIndex {
  /** The oldest first: they are of much the same length, so those that are over go first. */
  readonly #held = new Map<string, HeldDelegation>();
  readonly #verifier: TokenVerifier;
  readonly #once: VerifyOnce<HeldDelegation>;

  constructor(readonly parts: VerifierParts) {
    this.#verifier = new TokenVerifier(parts);
    this.#once = new VerifyOnce(parts);
  }

  /** How much is remembered. */
  get memory(): Readonly<Record<string, number>> {
    return { verified: this.#held.size, refused: this.#once.refused };
  }

  /** What is known of it in this peer's hands; undefined where it has to be verified. What it is worth now is still to be judged. */
  find(
    peer: PrincipalId,
    text: string,
    snapshot: Snapshot,
    nowMs: number,
  ): Result<HeldDelegation> | undefined {
    const held = this.#held.get(text);
    if (held?.caller.uri === peer.uri) return ok(held); // good in one peer's hands alone
    return this.#once.find(keyOf(peer, text), snapshot, nowMs);
  }

  /** Verifies it by the snapshot in force. Never rejects. */
  verify(peer: PrincipalId, text: string): Promise<Result<HeldDelegation>> {
    return this.#once.run(keyOf(peer, text), async () => {
      const verified = await this.#verifier.verifyAssertion(peer, text);
      if (!verified.ok) return err(asUntrusted(verified.error));
      const held = holdFor(peer, verified.value);
      this.#keep(text, held);
      return ok(held);
    });
  }

  #keep(text: string, held: HeldDelegation): void {
    const most = this.parts.snapshots.current?.config.limits.tokens ?? 0;
    for (const oldest of this.#held.keys()) {
      if (this.#held.size < most) break;
      this.#held.delete(oldest);
    }
    this.#held.set(text, held);
  }
}

/** Neither holds a line feed. */
const keyOf = (peer: PrincipalId, text: string): string => `${peer.uri}\n${text}`;

const holdFor = (peer: PrincipalId, { token, subject, actors, shownSha256 }: VerifiedAssertion) =>
  new HeldDelegation({ subject, through: actors, by: 'assertion' }, peer, token, shownSha256);
