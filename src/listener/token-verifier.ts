import { type VerifiedAssertion, verifyAssertion } from '../identity/assertion.js';
import type { PrincipalId } from '../identity/principal-id.js';
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
import type { Clock, Diagnostics, SnapshotHolder, TokenAuthority, TokenKind, TokenMetrics } from './ports.js';
import { Slots } from './slots.js';

export interface VerifierParts {
  readonly snapshots: SnapshotHolder;
  readonly authority: TokenAuthority;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  readonly metrics: TokenMetrics;
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
interface Attempt<T> {
  readonly result: Result<T>;
  readonly kind: TokenKind;
  /** The issuer that may have begun to sign with a key that we have not seen yet. */
  readonly newKeysOf?: string | undefined;
}

/**
 * Verifies tokens by all entries of the configuration that may take them, or assertions; what is cheap first, and never too many
 * at once. Each of the two has its own: a flood of one must not keep out the other.
 */
export class TokenVerifier {
  readonly #signatures = new Slots(SIGNATURES_AT_ONCE, MOST_WAITING);
  readonly #refreshes = new Slots(REFRESHES_AT_ONCE, 0);
  readonly #questions = new Slots(QUESTIONS_AT_ONCE, MOST_WAITING);

  constructor(readonly parts: VerifierParts) {}

  /** @returns what it is by each entry that takes it, in their order; never empty. Never rejects. */
  verify(text: string): Promise<Result<readonly VerifiedToken[]>> {
    const parsed = parseToken(text);
    return this.#finish('unknown', async (snapshot) =>
      parsed.ok ? this.#tryAll(parsed.value, snapshot) : { result: parsed, kind: 'unknown' },
    );
  }

  /** What a peer forwards, by the keys that the configuration names for this very peer. Never rejects. */
  verifyAssertion(peer: PrincipalId, text: string): Promise<Result<VerifiedAssertion>> {
    return this.#finish('assertion', (snapshot) => this.#tryAssertion(peer, text, snapshot));
  }

  /** Once more by newer keys, where there may be some; and counts what came of it. */
  async #finish<T>(
    kind: TokenKind,
    attempt: (snapshot: Snapshot) => Promise<Attempt<T>>,
  ): Promise<Result<T>> {
    let last: Attempt<T>;
    try {
      last = await this.#attempt(kind, attempt);
    } catch (cause) {
      this.parts.diagnostics.error({ err: cause, kind }, 'a token could not be verified');
      last = { result: refuse('token_unverifiable', 'verifying it failed inside the proxy'), kind };
    }
    this.parts.metrics.countVerification(last.kind, resultName(last.result));
    return last.result;
  }

  async #attempt<T>(
    kind: TokenKind,
    attempt: (snapshot: Snapshot) => Promise<Attempt<T>>,
  ): Promise<Attempt<T>> {
    const { snapshots } = this.parts;
    for (let i = 0; i < MOST_TRIES; i++) {
      const before = snapshots.current;
      if (before === undefined)
        return { result: refuse('token_unverifiable', 'no snapshot is in force'), kind };
      const { last, by } = await this.#attemptBy(before, attempt);
      // By entries that are others by now it would be kept as what it is no more: one that counts once, say.
      if (isSameIssuers(by, snapshots.current ?? by)) return last;
    }
    return {
      result: refuse('token_unverifiable', 'the configuration changes faster than it can be verified'),
      kind,
    };
  }

  /** `by`: under which it was tried last. */
  async #attemptBy<T>(
    before: Snapshot,
    attempt: (snapshot: Snapshot) => Promise<Attempt<T>>,
  ): Promise<{ readonly last: Attempt<T>; readonly by: Snapshot }> {
    const { snapshots, authority } = this.parts;
    const first = await attempt(before);
    const { newKeysOf } = first;
    if (newKeysOf === undefined) return { last: first, by: before };
    const refresh = this.#refreshes.run(() => authority.refreshKeys(newKeysOf));
    if (refresh === undefined)
      return { last: { ...first, result: err(busy('tokens wait for newer keys')) }, by: before };
    await refresh;
    const by = snapshots.current ?? before;
    return { last: by === before ? first : await attempt(by), by };
  }

  async #tryAssertion(
    peer: PrincipalId,
    text: string,
    { tokens, bundles }: Snapshot,
  ): Promise<Attempt<VerifiedAssertion>> {
    const kind = 'assertion';
    const trusted = tokens.delegates.get(peer.uri);
    if (trusted === undefined)
      return { result: refuse('token_unverifiable', 'the keys of its issuer are not there'), kind };
    const nowMs = this.parts.clock.nowMs();
    const verifying = this.#signatures.run(() => verifyAssertion(text, trusted, peer, bundles, nowMs));
    if (verifying === undefined) return { result: err(busy('assertions are being verified')), kind };
    const result = await verifying;
    const isUnknown = !result.ok && result.error.reason === 'token_key_unknown';
    return { result, kind, newKeysOf: isUnknown ? trusted.issuer.name : undefined };
  }

  async #tryAll(token: UnverifiedToken, snapshot: Snapshot): Promise<Attempt<readonly VerifiedToken[]>> {
    const verified: VerifiedToken[] = [];
    const refused: RefusedBy[] = [];
    for (const trusted of findIssuers(token, snapshot.tokens)) {
      const result = await this.#tryOne(token, trusted, snapshot);
      if (result.ok) verified.push(result.value);
      else refused.push({ issuer: trusted.issuer, refusal: result.error });
    }
    const [first] = verified;
    return first === undefined ? ofRefused(refused) : { result: ok(verified), kind: first.kind };
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
export function isSameIssuers({ tokens: before }: Snapshot, { tokens: now }: Snapshot): boolean {
  return (
    before === now ||
    (isSameList(before.issuers, now.issuers) &&
      isSameList([...before.delegates.values()], [...now.delegates.values()]))
  );
}

const isSameList = (before: readonly TrustedIssuer[], now: readonly TrustedIssuer[]): boolean =>
  before === now ||
  (before.length === now.length && now.every(({ issuer }, i) => issuer === before[i]?.issuer));

interface RefusedBy {
  readonly issuer: TokenIssuer;
  readonly refusal: Refusal;
}

/** Of several reasons the one that is not just another entry's audience. */
function ofRefused(refused: readonly RefusedBy[]): Attempt<never> {
  const telling = refused.find(({ refusal }) => refusal.reason !== 'token_audience') ?? refused[0];
  if (telling === undefined)
    return {
      result: refuse('token_issuer_unknown', 'no entry of `tokens` has its issuer'),
      kind: 'unknown',
    };
  const unknown = refused.find(({ refusal }) => refusal.reason === 'token_key_unknown');
  return { result: err(telling.refusal), kind: telling.issuer.kind, newKeysOf: unknown?.issuer.name };
}

function resultName(result: Result<unknown>): 'ok' | 'refused' | 'unverifiable' {
  if (result.ok) return 'ok';
  return result.error.reason === 'token_unverifiable' ? 'unverifiable' : 'refused';
}
