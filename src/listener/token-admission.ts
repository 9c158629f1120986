import type { RouteConfig } from '../config/config.js';
import { judgeBinding } from '../identity/token.js';
import type { RequestHead } from '../message/request-head.js';
import type { Refusal } from '../reasons.js';
import type { ListenerView, Snapshot } from '../snapshot.js';
import { maybeTokenIn, readAuthorization, tokenIn, withoutBearer } from './bearer.js';
import type { Exchange } from './exchange.js';
import type { Readings, TokenCredential } from './token-credential.js';

/** A token came that was not verified before: to be awaited, and then admitted again from the start. */
export interface Unproven {
  /** Never rejects. */
  prove(): Promise<void>;
}

export const isUnproven = (answer: object): answer is Unproven => 'prove' in answer;

const opens = new WeakMap<ListenerView, boolean>();

/** Whether a client without a certificate could ever be let in by some route of it. */
export function isOpenToTokens(view: ListenerView | undefined): boolean {
  if (view === undefined) return false;
  const known = opens.get(view);
  if (known !== undefined) return known;
  const isOpen = view.config.routes.some(({ accept }) => accept === 'token' || accept === 'either');
  opens.set(view, isOpen);
  return isOpen;
}

/** Whether it is the token, not a certificate, that says who calls. */
export const isNamedByToken = ({ connection }: Exchange, route: RouteConfig | undefined): boolean =>
  connection.credential === undefined || route?.accept === 'token';

/**
 * Takes the token of a request, off its head too, and leaves it on the exchange. A Bearer token that is there is always judged.
 * @returns undefined where nothing stands against it, which is so without one where the route needs none.
 */
export function takeToken(
  exchange: Exchange,
  head: RequestHead,
  route: RouteConfig | undefined,
  snapshot: Snapshot,
): Unproven | Refusal | undefined {
  const { tokens, clock } = exchange.listener;
  const authorization = readAuthorization(head.rawHeaders);
  if (typeof authorization === 'object') return authorization;
  // Reading one of a thousand octets costs more than looking for one that was read before.
  const quick = authorization === undefined ? undefined : maybeTokenIn(authorization);
  let known = quick === undefined ? undefined : tokens.find(quick, snapshot, clock.nowMs());
  if (known === undefined) {
    const text = authorization === undefined ? undefined : tokenIn(authorization);
    if (typeof text === 'object') return text;
    if (text === undefined) {
      const isNeeded = isNamedByToken(exchange, route) || route?.accept === 'mtls+token';
      return isNeeded ? { reason: 'token_missing', detail: '' } : undefined;
    }
    known = exchange.proof;
    if (known === undefined) return exchange.unproven(text);
  }
  if (route?.forwardsToken !== true) exchange.head = { ...head, endToEnd: withoutBearer(head.endToEnd) };
  return known.ok ? choose(exchange, known.value, route, snapshot) : known.error;
}

/** Of the entries that count on the route, the first by which it is good now; where none is, what the first says. */
function choose(
  exchange: Exchange,
  readings: Readings,
  route: RouteConfig | undefined,
  snapshot: Snapshot,
): Refusal | undefined {
  const nowMs = exchange.listener.clock.nowMs();
  let first: Refusal | undefined;
  for (const reading of readings) {
    if (route?.tokens?.includes(reading.token.entry) === false) continue;
    const refusal = reading.judge(snapshot, nowMs) ?? judgeBinding(reading.token, leafOf(exchange));
    if (refusal === undefined) {
      accept(exchange, reading, route, snapshot);
      return undefined;
    }
    first ??= refusal;
    noteRefused(exchange, reading, route, snapshot);
  }
  return first ?? { reason: 'token_issuer_unknown', detail: 'its entry of `tokens` does not count here' };
}

/** For the record: whose token it was, as a claim that is not acceptable. */
function noteRefused(
  exchange: Exchange,
  reading: TokenCredential,
  route: RouteConfig | undefined,
  snapshot: Snapshot,
): void {
  if (exchange.token !== undefined) return;
  exchange.token = reading;
  if (isNamedByToken(exchange, route))
    exchange.principal = { ...reading.principalFields(snapshot), kind: 'none' };
}

function accept(
  exchange: Exchange,
  token: TokenCredential,
  route: RouteConfig | undefined,
  snapshot: Snapshot,
): void {
  exchange.token = token;
  if (!isNamedByToken(exchange, route)) return;
  exchange.isNamedByToken = true;
  exchange.principal = token.principalFields(snapshot);
}

/** From TLS alone: what a header says of a certificate binds nothing (RFC 8705 3). */
const leafOf = ({ connection }: Exchange): string | undefined => connection.credential?.svid?.leaf.sha256;

/** A token that counts once is used up by the request that all else was found good of. */
export function useUp({ token, listener }: Exchange, snapshot: Snapshot): Refusal | undefined {
  return token?.token.issuer.isOneTime === true ? listener.tokens.use(token, snapshot) : undefined;
}

/** Whether what was shown then is what the route asks for now. */
export function isStillAccepted(
  { token, delegation, isNamedByToken }: Exchange,
  { accept, tokens, delegation: said }: RouteConfig,
): boolean {
  if (said === 'require' && delegation === undefined) return false;
  if (said === 'off' && delegation !== undefined && delegation.delegation.by !== 'token') return false;
  if (token !== undefined && tokens?.includes(token.token.entry) === false) return false;
  switch (accept) {
    case 'mtls':
      return token === undefined;
    case 'mtls+token':
      return token !== undefined && !isNamedByToken;
    case 'token':
      return isNamedByToken;
    case 'either':
      return true;
  }
}
