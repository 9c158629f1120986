import {
  findIssuers,
  parseToken,
  type UnverifiedToken,
  type VerifiedToken,
  verifyToken,
} from '../identity/token.js';
import type { JwtSvidIssuer, TokenIssuer } from '../identity/token-issuer.js';
import type { TrustedIssuer } from '../identity/token-trust.js';
import { err, ok, type Refusal, type Result, refuse } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Clock, SnapshotHolder, TokenAuthority } from './ports.js';
import { Slots } from './slots.js';

export interface VerifierParts {
  readonly snapshots: SnapshotHolder;
  readonly authority: TokenAuthority;
  readonly clock: Clock;
}

/** Signatures share Node's few threads with what writes the records. */
const SIGNATURES_AT_ONCE = 4;
const MOST_WAITING = 1000;
/** Tokens with unknown keys that may wait for newer keys: whoever sends many must not keep out others. */
const REFRESHES_AT_ONCE = 100;
const QUESTIONS_AT_ONCE = 16;
/** Where entries change meanwhile. */
const MOST_TRIES = 3;

const busy = (what: string): Refusal => ({ reason: 'token_unverifiable', detail: `too many ${what}` });

/** What came of one attempt. */
interface Attempt {
  readonly verified: readonly VerifiedToken[];
  readonly refused: readonly { readonly issuer: TokenIssuer; readonly refusal: Refusal }[];
}

/** Verifies tokens by all entries of the configuration that may take them; what is cheap first, and never too many at once. */
export class TokenVerifier {
  readonly #signatures = new Slots(SIGNATURES_AT_ONCE, MOST_WAITING);
  readonly #refreshes = new Slots(REFRESHES_AT_ONCE, 0);
  readonly #questions = new Slots(QUESTIONS_AT_ONCE, MOST_WAITING);

  constructor(readonly parts: VerifierParts) {}

  /** @returns what it is by each entry that takes it, in their order; never empty. */
  async verify(text: string): Promise<Result<readonly VerifiedToken[]>> {
    const parsed = parseToken(text);
    if (!parsed.ok) return parsed;
    for (let i = 0; i < MOST_TRIES; i++) {
      const before = this.parts.snapshots.current;
      if (before === undefined) return refuse('token_unverifiable', 'no snapshot is in force');
      const { result, by } = await this.#verifyBy(parsed.value, before);
      // By entries that are others by now it would be kept as what it is no more: one that counts once, say.
      if (isSameIssuers(by, this.parts.snapshots.current ?? by)) return result;
    }
    return refuse('token_unverifiable', 'the configuration changes faster than it can be verified');
  }

  /** `by`: under which it was tried last. */
  async #verifyBy(
    token: UnverifiedToken,
    before: Snapshot,
  ): Promise<{ readonly result: Result<readonly VerifiedToken[]>; readonly by: Snapshot }> {
    const first = await this.#tryAll(token, before);
    const unknown = first.refused.find(({ refusal }) => refusal.reason === 'token_key_unknown');
    if (first.verified.length > 0 || unknown === undefined) return { result: resultOf(first), by: before };
    // Its issuer may have begun to sign with a key that we have not seen yet.
    const refresh = this.#refreshes.run(() => this.parts.authority.refreshKeys(unknown.issuer.name));
    if (refresh === undefined) return { result: err(busy('tokens wait for newer keys')), by: before };
    await refresh;
    const now = this.parts.snapshots.current ?? before;
    return { result: resultOf(now === before ? first : await this.#tryAll(token, now)), by: now };
  }

  async #tryAll(token: UnverifiedToken, snapshot: Snapshot): Promise<Attempt> {
    const verified: VerifiedToken[] = [];
    const refused: { issuer: TokenIssuer; refusal: Refusal }[] = [];
    for (const trusted of findIssuers(token, snapshot.tokens)) {
      const result = await this.#tryOne(token, trusted, snapshot);
      if (result.ok) verified.push(result.value);
      else refused.push({ issuer: trusted.issuer, refusal: result.error });
    }
    return { verified, refused };
  }

  async #tryOne(
    token: UnverifiedToken,
    trusted: TrustedIssuer,
    { bundles }: Snapshot,
  ): Promise<Result<VerifiedToken>> {
    const { clock } = this.parts;
    const verifying = this.#signatures.run(() => verifyToken(token, trusted, bundles, clock.nowMs()));
    if (verifying === undefined) return err(busy('tokens are being verified'));
    const verified = await verifying;
    const { issuer } = trusted;
    if (!verified.ok || issuer.kind !== 'jwt-svid' || !issuer.asksAgent) return verified;
    const refusal = await this.#ask(token, verified.value, issuer);
    return refusal === undefined ? verified : err(refusal);
  }

  /** The agent can only take away what our own bundles allow. Where it never validates any, they stand alone. */
  async #ask(
    token: UnverifiedToken,
    { principal }: VerifiedToken,
    { audiences }: JwtSvidIssuer,
  ): Promise<Refusal | undefined> {
    const { aud } = token.claims;
    const audience = audiences.find((own) => own === aud || (Array.isArray(aud) && aud.includes(own)));
    if (audience === undefined) return { reason: 'token_audience', detail: '' };
    const asking = this.#questions.run(() => this.parts.authority.validate(audience, token.text));
    if (asking === undefined) return busy('tokens are being asked about');
    const answer = await asking;
    if (answer.ok) {
      if (answer.value.uri === principal.uri) return undefined;
      return { reason: 'token_subject', detail: `to the agent it is that of ${answer.value.uri}` };
    }
    const { kind, message } = answer.error;
    if (kind === 'unsupported') return undefined;
    return kind === 'rejected'
      ? { reason: 'token_signature', detail: `the agent refused it: ${message}` }
      : { reason: 'token_unverifiable', detail: `the agent cannot be asked: ${message}` };
  }
}

/** No entry of the configuration has changed; their keys may have. */
export function isSameIssuers(before: Snapshot, now: Snapshot): boolean {
  const [then, issuers] = [before.tokens.issuers, now.tokens.issuers];
  return (
    then === issuers ||
    (then.length === issuers.length && issuers.every(({ issuer }, i) => issuer === then[i]?.issuer))
  );
}

/** Of several reasons the one that is not just another entry's audience. */
function resultOf({ verified, refused }: Attempt): Result<readonly VerifiedToken[]> {
  if (verified.length > 0) return ok(verified);
  const telling = refused.find(({ refusal }) => refusal.reason !== 'token_audience') ?? refused[0];
  if (telling === undefined) return refuse('token_issuer_unknown', 'no entry of `tokens` has its issuer');
  return err(telling.refusal);
}
