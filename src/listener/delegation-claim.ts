import type { DelegateConfig, RouteConfig } from '../config/config.js';
import type { PrincipalId } from '../identity/principal-id.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import type { VerifiedToken } from '../identity/token.js';
import type { RequestHead } from '../message/request-head.js';
import { parseXfcc, type XfccElement } from '../message/xfcc.js';
import { ok, type Refusal, type Result, refuse } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { HeldDelegation } from './delegation.js';
import type { Exchange } from './exchange.js';
import type { Unproven } from './token-admission.js';

const untrusted = (detail: string): Refusal => ({ reason: 'delegation_untrusted', detail });

/**
 * On whose behalf the caller asks, by its token or by what it forwards; left on the exchange. Where a claim is looked at, one that
 * cannot be verified is refused, never left out: without it the call would be the caller's own.
 */
export function takeDelegation(
  exchange: Exchange,
  head: RequestHead,
  route: RouteConfig,
  snapshot: Snapshot,
): Unproven | Refusal | undefined {
  exchange.delegation = undefined; // admitted again, it may be by another route
  if (exchange.connection.direction === 'outbound') return whyNotForwarded(head, route);
  const byToken = ofToken(exchange);
  if (!byToken.ok) return byToken.error;
  const claim = route.delegation === 'off' ? undefined : claimOf(exchange, head, snapshot);
  let held = byToken.value;
  if (claim !== undefined) {
    if (exchange.isNamedByToken)
      return untrusted('what a certificate would have to say is said by one whom a token names');
    if (held !== undefined) return untrusted('both the token and a header say on whose behalf');
    const answer = verified(exchange, claim, snapshot);
    if (!('ok' in answer)) return answer;
    if (!answer.ok) return answer.error;
    held = answer.value;
  }
  if (held === undefined || isForItself(held)) {
    if (route.delegation !== 'require') return undefined;
    return { reason: 'delegation_missing', detail: '' };
  }
  exchange.delegation = held;
  return held.judge(snapshot, exchange.listener.clock.nowMs());
}

/** What our own workload forwards is for the other side to judge; of several, nobody could say which one it is to be. */
function whyNotForwarded(head: RequestHead, { delegation }: RouteConfig): Refusal | undefined {
  const lines = head.received.saysOfOthers.assertion?.length ?? 0;
  return delegation === 'off' || lines <= 1 ? undefined : untrusted('several x-identity-assertion lines');
}

/** Acting for oneself, through nobody, is no delegation. Through others it is: they may have had the caller called. */
const isForItself = ({ caller, delegation: { subject, through } }: HeldDelegation): boolean =>
  through.length === 0 && subject.uri === caller.uri;

const NOBODY_ELSE: Result<undefined> = ok(undefined);

/** Made once a token and caller, for all its requests. */
const ofTokens = new WeakMap<VerifiedToken, HeldDelegation>();

/** A token that names somebody else than the caller makes the call one on that somebody's behalf (RFC 8693 1.1). */
function ofToken({ token, caller, isNamedByToken }: Exchange): Result<HeldDelegation | undefined> {
  if (token === undefined || caller === undefined) return NOBODY_ELSE;
  const { principal: subject, actorSub, through } = token.token;
  // The actor is whoever shows the token: one that says otherwise was meant for somebody else's hands.
  if (!isNamedByToken && actorSub !== undefined && actorSub !== caller.uri)
    return refuse('delegation_untrusted', `the token is for ${actorSub} to act with`);
  const known = ofTokens.get(token.token);
  if (known?.caller.uri === caller.uri) return ok(known);
  if (subject.uri === caller.uri && through.length === 0) return NOBODY_ELSE;
  const held = new HeldDelegation({ subject, through, by: 'token' }, caller, token.token, undefined);
  ofTokens.set(token.token, held);
  return ok(held);
}

interface Claim {
  readonly peer: PrincipalId;
  readonly by: DelegateConfig['by']['kind'];
  readonly lines: readonly string[];
}

/** Only the one header that the configuration names for this very peer; anybody else's says nothing. */
function claimOf({ connection }: Exchange, head: RequestHead, snapshot: Snapshot): Claim | undefined {
  const { delegates } = snapshot.config.trustedPeers;
  const peer = connection.credential?.svid?.id;
  if (peer === undefined || delegates.length === 0) return undefined;
  const by = delegates.find(({ id }) => id.uri === peer.uri)?.by.kind;
  if (by === undefined) return undefined;
  const { assertion, clientCertificate } = head.received.saysOfOthers;
  const lines = by === 'assertion' ? assertion : clientCertificate;
  return lines === undefined ? undefined : { peer, by, lines };
}

function verified(
  exchange: Exchange,
  { peer, by, lines }: Claim,
  snapshot: Snapshot,
): Result<HeldDelegation> | Unproven {
  if (by === 'xfcc') return ofXfcc(peer, lines, snapshot);
  const [text, ...others] = lines;
  if (text === undefined || others.length > 0)
    return refuse('delegation_untrusted', 'several x-identity-assertion lines');
  if (exchange.claim !== undefined) return exchange.claim;
  const { delegations, clock } = exchange.listener;
  return delegations.find(peer, text, snapshot, clock.nowMs()) ?? unproven(exchange, peer, text);
}

/** The newest keys verify it, and what they belong to judges it. */
const unproven = (exchange: Exchange, peer: PrincipalId, text: string): Unproven => ({
  prove: async () => {
    const { delegations, snapshots } = exchange.listener;
    exchange.claim = await delegations.verify(peer, text);
    exchange.snapshot = snapshots.current ?? exchange.snapshot;
  },
});

/**
 * The last element is the peer's own word of who called it; those before it are only what it was told (XF-7), and count for
 * nothing but the depth.
 */
function ofXfcc(
  peer: PrincipalId,
  lines: readonly string[],
  { config: { limits } }: Snapshot,
): Result<HeldDelegation> {
  const parsed = parseXfcc(lines);
  if (!parsed.ok) return refuse('delegation_untrusted', parsed.error.detail);
  const elements = parsed.value;
  if (elements.length > limits.delegationDepth)
    return refuse('delegation_too_deep', `${elements.length} elements of XFCC`);
  const last = elements.at(-1) ?? [];
  if (valuesOf(last, 'By').some((by) => by !== peer.uri))
    return refuse('delegation_untrusted', 'the last element of XFCC is by another than the peer');
  const [uri, ...others] = valuesOf(last, 'URI');
  const subject = parseSpiffeId(uri);
  if (!subject.ok || others.length > 0)
    return refuse('delegation_untrusted', 'the last element of XFCC has not one SPIFFE ID');
  const [sha256] = valuesOf(last, 'Hash');
  return ok(new HeldDelegation({ subject: subject.value, through: [], by: 'xfcc' }, peer, undefined, sha256));
}

const valuesOf = (element: XfccElement, wanted: string): readonly string[] =>
  element.filter(([key]) => key === wanted).map(([, value]) => value);
