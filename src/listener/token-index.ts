import { ok, type Refusal, type Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { ReplayCache } from './replay-cache.js';
import { type Readings, TokenCredential } from './token-credential.js';
import { isSameIssuers, TokenVerifier, type VerifierParts } from './token-verifier.js';
import { VerifiedTokens } from './verified-tokens.js';
import { VerifyOnce } from './verify-once.js';

/** What newer keys or another entry of the configuration may change. */
const BY_KEYS: ReadonlySet<string> = new Set<Refusal['reason']>([
  'token_key_unknown',
  'token_issuer_unknown',
  'token_unverifiable',
]);

/** Tokens by their text: verified once, and then a look-up until they expire or what verified them changes. */
export class TokenIndex {
  readonly #verified = new VerifiedTokens();
  readonly #replays = new ReplayCache();
  readonly #verifier: TokenVerifier;
  readonly #once: VerifyOnce<Readings>;

  constructor(readonly parts: VerifierParts) {
    this.#once = new VerifyOnce(parts);
    this.#verifier = new TokenVerifier(parts);
  }

  /** How much is remembered. */
  get memory(): Readonly<Record<string, number>> {
    return { verified: this.#verified.size, refused: this.#once.refused, oneTime: this.#replays.size };
  }

  /** What is known of it; undefined where it has to be verified. What it is worth at this moment is still to be judged. */
  find(text: string, snapshot: Snapshot, nowMs: number): Result<Readings> | undefined {
    const kept = this.#verified.get(text);
    if (kept !== undefined) {
      if (kept.snapshot === snapshot) return kept.result;
      if (isAsBefore(kept.result.value, kept.snapshot, snapshot, nowMs)) {
        kept.snapshot = snapshot;
        return kept.result;
      }
      this.#verified.delete(text);
    }
    return this.#once.find(text, snapshot, nowMs);
  }

  /** Verifies it by the snapshot in force. Never rejects. */
  verify(text: string): Promise<Result<Readings>> {
    return this.#once.run(text, () => this.#verify(text));
  }

  /** Uses up a one-time token. */
  use({ token }: TokenCredential, { config }: Snapshot): Refusal | undefined {
    return this.#replays.use(token, config.limits.tokens, this.parts.clock.nowMs());
  }

  async #verify(text: string): Promise<Result<Readings>> {
    const verified = await this.#verifier.verify(text);
    if (!verified.ok) return verified;
    return this.#keep(
      text,
      verified.value.map((token) => new TokenCredential(token)),
    );
  }

  #keep(text: string, readings: Readings): Result<Readings> {
    const { snapshots, clock } = this.parts;
    const result = ok(readings);
    const snapshot = snapshots.current;
    if (snapshot !== undefined)
      this.#verified.set(text, { result, snapshot }, snapshot.config.limits.tokens, clock.nowMs());
    return result;
  }
}

/** Whether verifying it again would come to the same: no entry has changed, and no key is gone. */
function isAsBefore(readings: Readings, before: Snapshot, now: Snapshot, nowMs: number): boolean {
  if (!isSameIssuers(before, now)) return false;
  return readings.every((reading) => {
    const refusal = reading.judge(now, nowMs);
    return refusal === undefined || !BY_KEYS.has(refusal.reason);
  });
}
