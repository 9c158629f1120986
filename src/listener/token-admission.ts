import type { RouteConfig } from '../config/config.js';
import type { RequestHead } from '../message/request-head.js';
import type { Refusal } from '../reasons.js';
import type { ListenerView, Snapshot } from '../snapshot.js';
import { readBearer, withoutBearer } from './bearer.js';
import type { Exchange } from './exchange.js';
import type { Readings } from './token-index.js';

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
  const text = readBearer(head.rawHeaders);
  const isNamed = isNamedByToken(exchange, route);
  if (text === undefined) {
    const isNeeded = isNamed || route?.accept === 'mtls+token';
    return isNeeded ? { reason: 'token_missing', detail: '' } : undefined;
  }
  if (typeof text !== 'string') return text;
  exchange.head = { ...head, endToEnd: withoutBearer(head.endToEnd) };
  const { tokens, clock } = exchange.listener;
  const proof = exchange.proof;
  if (proof?.ok === false) return proof.error;
  const readings = proof?.value ?? tokens.find(text, snapshot, clock.nowMs());
  if (readings === undefined) return exchange.unproven(text);
  return choose(exchange, readings, route, snapshot);
}

/** By the first entry that counts on the route; where there is none to tell of, by the first. */
function choose(
  exchange: Exchange,
  readings: Readings,
  route: RouteConfig | undefined,
  snapshot: Snapshot,
): Refusal | undefined {
  const counts = route?.tokens;
  const token = counts === undefined ? readings[0] : readings.find((one) => counts.includes(one.token.entry));
  if (token === undefined)
    return {
      reason: 'token_issuer_unknown',
      detail: 'an entry of `tokens` that does not count on this route',
    };
  exchange.token = token;
  exchange.isNamedByToken = isNamedByToken(exchange, route);
  if (exchange.isNamedByToken) exchange.principal = token.principalFields(snapshot);
  return token.judge(snapshot, exchange.listener.clock.nowMs());
}
