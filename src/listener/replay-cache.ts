import { createHash } from 'node:crypto';
import type { VerifiedToken } from '../identity/token.js';
import type { Refusal } from '../reasons.js';

/** Clocks are set back, too: so long after its end a token is remembered. */
const MARGIN_MS = 60_000;
/** Looking for what can be forgotten costs a walk. */
const LOOK_AGAIN_MS = 1000;

/** One-time tokens that have come, until they could not come again (RFC 7519 4.1.7). What cannot be remembered is refused. */
export class ReplayCache {
  /** By issuer and `jti`: until when, Unix milliseconds. */
  readonly #used = new Map<string, number>();
  #lookedMs = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#used.size;
  }

  /** Uses it up, if it has not been used. @param most tokens that are remembered. */
  use({ iss, jti, notAfterMs, issuer }: VerifiedToken, most: number, nowMs: number): Refusal | undefined {
    if (jti === undefined) return { reason: 'token_replayed', detail: 'it has no jti, and counts once' };
    const key = createHash('sha256')
      .update(`${JSON.stringify(iss)}${jti}`)
      .digest('base64');
    const until = this.#used.get(key);
    if (until !== undefined && nowMs < until) return { reason: 'token_replayed', detail: `jti ${jti}` };
    if (this.#used.size >= most) this.#forgetOld(nowMs);
    if (this.#used.size >= most)
      return { reason: 'token_unverifiable', detail: `${most} one-time tokens are remembered already` };
    this.#used.set(key, notAfterMs + issuer.clockSkewMs + MARGIN_MS);
    return undefined;
  }

  #forgetOld(nowMs: number): void {
    if (nowMs >= this.#lookedMs && nowMs - this.#lookedMs < LOOK_AGAIN_MS) return;
    this.#lookedMs = nowMs;
    for (const [key, until] of this.#used) if (nowMs >= until) this.#used.delete(key);
  }
}
