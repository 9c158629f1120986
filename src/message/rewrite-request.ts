import { isAll, isVisibleAscii, TOKEN } from './char-class.js';
import { type ForwardPlan, isReservedByPlan } from './forward-policy.js';
import { formatForwardedElement, parseForwarded, plainAddress } from './forwarded.js';
import { normaliseHeaderName } from './header-names.js';
import { parseHost } from './host.js';
import type { IdentityHeaders } from './identity-headers.js';
import type { ReceivedFields, RequestHead } from './request-head.js';
import { formatTraceparent, parseTraceparent, parseTracestate } from './trace-context.js';
import { ownVia } from './via.js';
import { parseXfcc } from './xfcc.js';

export interface RewriteContext {
  readonly plan: ForwardPlan;
  /** Undefined when there is no verified peer certificate: then no identity header is set, and none is let through. */
  readonly identity: IdentityHeaders | undefined;
  /** x-identity-assertion; outbound that which our workload forwards. */
  readonly assertion?: string | undefined;
  /** A credential that the service wants; what the client sent by this name is dropped. */
  readonly injected?: InjectedHeader | undefined;
  /** A peer of `trustedPeers`: its forwarded headers, XFCC and request ID count. */
  readonly peerTrusted: boolean;
  readonly peerAddress: string;
  readonly requestId: string;
  /** 32 lower-case hex digits, not all zero. */
  readonly newTraceId: string;
  /** 16 lower-case hex digits, not all zero. */
  readonly newSpanId: string;
  /** What the client spoke to this listener; https when left out. */
  readonly proto?: 'http' | 'https';
}

/** A header of ours with a secret in it. */
export interface InjectedHeader {
  /** Lower case: letters, digits and `-`. */
  readonly name: string;
  readonly value: string;
}

export interface RewrittenRequest {
  /** Flat [name, value, …] without host, connection and framing: the upstream client writes those anew. */
  readonly headers: string[];
  readonly traceId: string;
  /** The x-request-id that was sent on. */
  readonly requestId: string;
}

const MAX_REQUEST_ID_LENGTH = 128;
/** Longer lists are not believable; ours alone goes on then, so that a header cannot grow without bound. */
const MAX_LIST_LENGTH = 8 * 1024;

/** What the upstream gets. Dropping comes first, ours is set last: nothing of the client can name, precede or replace it. */
export function rewriteRequest(head: RequestHead, context: RewriteContext): RewrittenRequest {
  const headers = endToEndLines(head, context);
  if (head.maxForwards !== undefined) headers.push('max-forwards', String(Math.max(0, head.maxForwards - 1)));
  // Outbound nothing of this is said: the other side believes no header, and our callers are none of its business.
  const isInbound = context.plan.direction === 'inbound';
  if (isInbound) addForwarded(headers, head, context);
  addVia(headers, head, context.plan);
  const traceId = addTrace(headers, head.received, context);
  const requestId = requestIdOf(head.received.requestId, context);
  headers.push('x-request-id', requestId);
  if (isInbound) addIdentity(headers, head.received, context);
  else if (context.assertion !== undefined) headers.push('x-identity-assertion', context.assertion);
  if (context.injected !== undefined) headers.push(context.injected.name, context.injected.value);
  return { headers, traceId, requestId };
}

/** As rewriteRequest, for a WebSocket route: Connection and Upgrade are written anew, Sec-WebSocket-* cross. */
export function rewriteUpgradeHeaders(head: RequestHead, context: RewriteContext): RewrittenRequest {
  const rewritten = rewriteRequest(head, context);
  rewritten.headers.push('connection', 'Upgrade', 'upgrade', 'websocket');
  return rewritten;
}

/** The parse has dropped all that is reserved by itself; here go the names that only this configuration reserves. */
function endToEndLines(head: RequestHead, { plan, injected }: RewriteContext): string[] {
  const lines = head.endToEnd;
  if (plan.reserved.size === 0 && injected === undefined) return lines.slice();
  const out: string[] = [];
  for (let i = 0; i < lines.length; i += 2) {
    const name = lines[i] ?? '';
    if (isReservedByPlan(plan, name) || isSpellingOf(name, injected?.name)) continue;
    out.push(name, lines[i + 1] ?? '');
  }
  return out;
}

/** Servers take other spellings (`X_Api_Key`) for the same header. */
const isSpellingOf = (name: string, ours: string | undefined): boolean =>
  name.length === ours?.length && normaliseHeaderName(name) === ours;

function addForwarded(headers: string[], head: RequestHead, context: RewriteContext): void {
  const address = plainAddress(context.peerAddress);
  const proto = context.proto ?? 'https';
  const own = formatForwardedElement({ for: address, host: head.target.authority, proto });
  if (!context.peerTrusted) {
    headers.push('x-forwarded-for', address, 'x-forwarded-proto', proto);
    headers.push('x-forwarded-host', head.target.authority, 'forwarded', own);
    return;
  }
  const received = head.received;
  headers.push('x-forwarded-for', extended(received.forwardedFor, address));
  headers.push('x-forwarded-proto', isProto(received.forwardedProto) ? received.forwardedProto : proto);
  headers.push('x-forwarded-host', trustedHost(received.forwardedHost) ?? head.target.authority);
  const before = received.forwarded;
  const isSound = before !== undefined && parseForwarded(before).ok;
  headers.push('forwarded', isSound ? extended(before, own) : own);
}

function extended(before: string | undefined, own: string): string {
  const isSound = before !== undefined && before !== '' && before.length <= MAX_LIST_LENGTH;
  return isSound ? `${before}, ${own}` : own;
}

const isProto = (proto: string | undefined): proto is 'http' | 'https' =>
  proto === 'http' || proto === 'https';

function trustedHost(host: string | undefined): string | undefined {
  const parsed = host === undefined ? undefined : parseHost(host);
  return parsed?.ok === true ? parsed.value.authority : undefined;
}

/** RFC 9110 7.6.3: the protocol version is the one that was received. */
function addVia(headers: string[], head: RequestHead, plan: ForwardPlan): void {
  const own = ownVia(plan, head.httpVersion);
  const before = head.received.via;
  headers.push('via', before === undefined || before === '' ? own : `${before}, ${own}`);
}

/**
 * A valid trace is continued for anyone: the trace ID is no authority. A new trace is marked sampled, because our record
 * of the request holds its ID, and because parent-based samplers behind would otherwise drop every trace.
 */
function addTrace(headers: string[], received: ReceivedFields, context: RewriteContext): string {
  const parent = received.traceparent === undefined ? undefined : parseTraceparent(received.traceparent);
  if (parent === undefined) {
    headers.push('traceparent', formatTraceparent(context.newTraceId, context.newSpanId, 1));
    return context.newTraceId;
  }
  headers.push('traceparent', formatTraceparent(parent.traceId, context.newSpanId, parent.flags));
  const state = received.tracestate === undefined ? undefined : parseTracestate(received.tracestate);
  if (state !== undefined) headers.push('tracestate', state);
  return parent.traceId;
}

function requestIdOf(received: string | undefined, context: RewriteContext): string {
  const isOurs = !context.peerTrusted || !isRequestId(received);
  return isOurs ? context.requestId : received;
}

/** A request ID that may be taken over, from whoever is trusted to give one. */
export const isRequestId = (received: string | undefined): received is string =>
  received !== undefined && isVisibleAscii(received, MAX_REQUEST_ID_LENGTH);

function addIdentity(headers: string[], received: ReceivedFields, context: RewriteContext): void {
  const { identity, assertion } = context;
  if (assertion !== undefined) headers.push('x-identity-assertion', assertion);
  if (identity === undefined) return;
  const xfcc = xfccValue(received.clientCertificate, identity, context);
  if (xfcc !== undefined) headers.push('x-forwarded-client-cert', xfcc);
  for (const text of identity.fixed) headers.push(text);
}

/** XF-6, narrowed: the client's own value counts only when it is whole and comes from a trusted peer. */
function xfccValue(
  received: readonly string[] | undefined,
  identity: IdentityHeaders,
  context: RewriteContext,
): string | undefined {
  const mode = context.plan.xfcc;
  if (mode === 'sanitize') return undefined;
  if (mode === 'sanitize_set') return identity.xfccElement;
  const isSound = context.peerTrusted && received !== undefined && parseXfcc(received).ok;
  const before = isSound ? received.join(',') : undefined;
  if (mode === 'forward_only') return before;
  return before === undefined ? identity.xfccElement : `${before},${identity.xfccElement}`;
}

/** Is an Upgrade to WebSocket one that RFC 6455 4.1 allows? A body or an odd method would leave bytes that two readers place differently. */
export function isWebSocketHandshake(head: RequestHead): boolean {
  if (head.upgrade !== 'websocket' || head.method !== 'GET' || head.body.kind !== 'none') return false;
  let keys = 0;
  let versions = 0;
  for (let i = 0; i < head.endToEnd.length; i += 2) {
    const name = head.endToEnd[i]?.toLowerCase();
    const value = head.endToEnd[i + 1] ?? '';
    if (name === 'sec-websocket-key' && value.length === 24) keys++;
    else if (name === 'sec-websocket-version' && isAll(value, TOKEN)) versions++;
  }
  return keys === 1 && versions === 1;
}
