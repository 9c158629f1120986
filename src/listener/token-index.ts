import { err, ok, type Refusal, type Result, refuse } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Diagnostics } from './ports.js';
import { ReplayCache } from './replay-cache.js';
import { type Readings, TokenCredential } from './token-credential.js';
import { isSameIssuers, TokenVerifier, type VerifierParts } from './token-verifier.js';
import { VerifiedTokens } from './verified-tokens.js';

interface Parts extends VerifierParts {
  readonly diagnostics: Diagnostics;
}

interface Refused {
  readonly result: Result<never>;
  readonly snapshot: Snapshot;
  readonly untilMs: number;
}

/** Different ones at once; the same one is verified once however many ask. */
const MOST_AT_ONCE = 2000;
/** Refused tokens that are remembered, and for how long: long enough that showing one again and again costs nothing. */
const MOST_REFUSED = 1000;
const REFUSED_MS = 1000;
/** What newer keys or another entry of the configuration may change. */
const BY_KEYS: ReadonlySet<string> = new Set<Refusal['reason']>([
  'token_key_unknown',
  'token_issuer_unknown',
  'token_unverifiable',
]);

/** Tokens by their text: verified once, and then a look-up until they expire or what verified them changes. */
export class TokenIndex {
  readonly #verified = new VerifiedTokens();
  readonly #refused = new Map<string, Refused>();
  readonly #verifying = new Map<string, Promise<Result<Readings>>>();
  readonly #replays = new ReplayCache();
  readonly #verifier: TokenVerifier;

  constructor(readonly parts: Parts) {
    this.#verifier = new TokenVerifier(parts);
  }

  /** How much is remembered. */
  get memory(): object {
    return { verified: this.#verified.size, refused: this.#refused.size, oneTime: this.#replays.size };
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
    const refused = this.#refused.get(text);
    return refused !== undefined && refused.snapshot === snapshot && nowMs < refused.untilMs
      ? refused.result
      : undefined;
  }

  /** Verifies it by the snapshot in force. Never rejects. */
  verify(text: string): Promise<Result<Readings>> {
    const running = this.#verifying.get(text);
    if (running !== undefined) return running;
    if (this.#verifying.size >= MOST_AT_ONCE)
      return Promise.resolve(refuse('token_unverifiable', 'too many tokens are being verified'));
    const verifying = this.#verify(text);
    this.#verifying.set(text, verifying);
    return verifying;
  }

  /** Uses up a one-time token. */
  use({ token }: TokenCredential, { config }: Snapshot): Refusal | undefined {
    return this.#replays.use(token, config.limits.tokens, this.parts.clock.nowMs());
  }

  async #verify(text: string): Promise<Result<Readings>> {
    try {
      const verified = await this.#verifier.verify(text);
      return verified.ok
        ? this.#keep(
            text,
            verified.value.map((token) => new TokenCredential(token)),
          )
        : this.#refuse(text, verified.error);
    } catch (cause) {
      this.parts.diagnostics.error({ err: cause }, 'a token could not be verified');
      return refuse('token_unverifiable', 'verifying it failed inside the proxy');
    } finally {
      this.#verifying.delete(text);
    }
  }

  #keep(text: string, readings: Readings): Result<Readings> {
    const { snapshots, clock } = this.parts;
    const result = ok(readings);
    const snapshot = snapshots.current;
    this.#refused.delete(text);
    if (snapshot !== undefined)
      this.#verified.set(text, { result, snapshot }, snapshot.config.limits.tokens, clock.nowMs());
    return result;
  }

  #refuse(text: string, refusal: Refusal): Result<never> {
    const { snapshots, clock } = this.parts;
    const result = err(refusal);
    const snapshot = snapshots.current;
    if (snapshot === undefined) return result;
    for (const oldest of this.#refused.keys()) {
      if (this.#refused.size < MOST_REFUSED) break;
      this.#refused.delete(oldest);
    }
    this.#refused.delete(text);
    this.#refused.set(text, { result, snapshot, untilMs: clock.nowMs() + REFUSED_MS });
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
