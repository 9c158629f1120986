import type { Readable } from 'node:stream';
import type { Config, ListenerConfig, RouteConfig } from '../config/config.js';
import type { ForwardPlan } from '../message/forward-policy.js';
import { type Http2Form, parseHttp2Head } from '../message/http2-head.js';
import { parseRequestHead, type RequestHead } from '../message/request-head.js';
import { isWebSocketHandshake, type RewriteContext, rewriteRequest } from '../message/rewrite-request.js';
import type { AccessRequest } from '../policy/decision.js';
import { authorize, type Permit } from '../policy/permit.js';
import { matchRoute } from '../policy/route-table.js';
import type { Refusal, Result } from '../reasons.js';
import type { ListenerView, Snapshot } from '../snapshot.js';
import { assertionFor, injectedFor } from './added-headers.js';
import type { Connection } from './connection.js';
import { takeDelegation } from './delegation-claim.js';
import type { Exchange } from './exchange.js';
import { isAskedAbout } from './external-question.js';
import { isTrustedPeer } from './joined-ids.js';
import type { ForwardRequest } from './ports.js';
import { LiveFacts } from './request-facts.js';
import { isNamedByToken, takeToken, type Unproven } from './token-admission.js';

/** A request as it came; an IncomingMessage is one. */
export interface RawRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly httpVersion: string;
  /** Flat; in HTTP/2 pseudo-headers too. */
  readonly rawHeaders: readonly string[];
  readonly http2?: Http2Form;
}

/** All that forwarding needs, once every question was answered yes. */
export interface Admitted {
  readonly permit: Permit;
  readonly route: RouteConfig;
  readonly snapshot: Snapshot;
}

/** Policy has spoken, and an external engine is to be asked before anything is let through. */
export interface Pending {
  readonly asks: AccessRequest;
  readonly route: RouteConfig;
  readonly snapshot: Snapshot;
}

const no = (reason: Refusal['reason'], detail = ''): Refusal => ({ reason, detail });

/**
 * Steps 3 to 7 of a request's way, the same for requests and upgrades: who is it, is the message sane, where does it go,
 * may it. What it finds is left on the exchange for the record, also when the answer is no.
 */
export function admit(exchange: Exchange, request: RawRequest): Admitted | Pending | Unproven | Refusal {
  const { listener, connection, snapshot } = exchange;
  if (snapshot === undefined) return no('not_ready', 'no snapshot is in force');
  const { limits } = snapshot.config;

  // Parsed first so that a refused caller's record says what it asked for; judged first, so that it decides nothing.
  const parsed = readHeadOf(request, planOf(connection, snapshot).pseudonym);
  if (parsed.ok) exchange.head = parsed.value;

  const refusal = connection.judge(snapshot, exchange.startedAtMs);
  exchange.principal = connection.credential?.principalFields();
  if (refusal !== undefined) return refusal;

  if (!listener.records.available) return no('audit_unavailable');
  const excessive = excessOf(request, limits);
  if (excessive !== undefined) return no('headers_too_large', excessive);
  if (!parsed.ok) return parsed.error;
  const head = parsed.value;
  const { target } = head;

  const view = snapshot.listeners.get(listener.name);
  const changed = changedKindOf(view, connection, 'http');
  if (changed !== undefined) return changed;
  const route = view && matchRoute(view.routes, target.host, target.path);
  exchange.route = route;
  exchange.token = undefined; // admitted again, it may be by another route
  exchange.isNamedByToken = false;
  // Whoever has no certificate is told nothing of routes before a token says who it is.
  const isNamed = isNamedByToken(exchange, route);
  const unnamed = isNamed ? takeToken(exchange, head, route, snapshot) : undefined;
  if (unnamed !== undefined) return unnamed;
  // Before anything that tells of routes or policy, so that looking for them is not free.
  const excess = exchange.takeShare();
  if (excess !== undefined) return excess;
  if (route === undefined) return no('route_not_found');
  const unfit = whyUnfit(exchange, head, route, view!, limits);
  if (unfit !== undefined) return unfit;
  const isBeside = !isNamed && route.accept !== 'mtls';
  const unproven = isBeside ? takeToken(exchange, head, route, snapshot) : undefined;
  if (unproven !== undefined) return unproven;
  const refused = takeDelegation(exchange, head, route, snapshot) ?? exchange.useUp(snapshot);
  if (refused !== undefined) return refused;
  return decide(exchange, exchange.head!, route, snapshot);
}

/** What a route does not take, whoever asks. */
function whyUnfit(
  { connection }: Exchange,
  head: RequestHead,
  route: RouteConfig,
  view: ListenerView,
  limits: Config['limits'],
): Refusal | undefined {
  if (connection.credential === undefined && route.accept !== 'token' && route.accept !== 'either')
    return no('certificate_missing', 'the route asks for a certificate');
  const { target, upgrade, body } = head;
  const { serverName } = connection.tls;
  if (route.host !== undefined && serverName !== undefined && serverName !== target.host)
    return no('misdirected_request', `TLS was asked for ${serverName}`); // RFC 9110 15.5.20
  if (target.decodedSlashPath !== undefined) {
    const other = matchRoute(view.routes, target.host, target.decodedSlashPath);
    if (!route.encodedSlash || other !== route)
      return no('path_ambiguous', 'encoded slash, and the route does not allow it');
  }
  if (upgrade !== undefined && !(route.upgrade as readonly string[]).includes(upgrade))
    return no('upgrade_refused', `the route does not take an upgrade to ${upgrade}`);
  if (upgrade !== undefined && !isWebSocketHandshake(head))
    return no('upgrade_refused', 'not a WebSocket handshake');
  if (body.kind === 'length' && body.length > (route.bodyBytes ?? limits.bodyBytes))
    return no('body_too_large');
  return undefined;
}

/** What a listener is changes with a restart; until then nobody is let through by routes that are for something else. */
export function changedKindOf(
  view: ListenerView | undefined,
  { direction }: Connection,
  protocol: ListenerConfig['protocol'],
): Refusal | undefined {
  if (view === undefined) return undefined;
  if (view.config.direction !== direction) return no('not_ready', 'its direction changes with a restart');
  if (view.config.protocol !== protocol) return no('not_ready', 'its protocol changes with a restart');
  return undefined;
}

/** Policy's word on what asks for this route, and whether an external engine is to be asked too. */
export function decide(
  exchange: Exchange,
  head: RequestHead,
  route: RouteConfig,
  snapshot: Snapshot,
): Admitted | Pending | Refusal {
  const { listener, caller } = exchange;
  const { target } = head;
  if (caller === undefined) return no('certificate_missing');
  const question: AccessRequest = {
    principal: caller,
    behalfOf: exchange.delegation?.delegation,
    method: head.method,
    host: target.host,
    path: target.path,
    decodedSlashPath: target.decodedSlashPath,
    route: route.name,
    destination: route.upstream,
    listener: listener.name,
    nowMs: exchange.startedAtMs,
    facts: new LiveFacts(head, exchange),
  };
  const answer = authorize(snapshot.policy, question);
  exchange.decision = answer.ok ? answer.value.decision : answer.error.decision;
  if (isAskedAbout(snapshot, route, exchange.decision)) return { asks: question, route, snapshot };
  if (!answer.ok) return answer.error;
  exchange.permit = answer.value;
  return { permit: answer.value, route, snapshot };
}

function readHeadOf(request: RawRequest, pseudonym: string): Result<RequestHead> {
  const { method = '', url = '', httpVersion, rawHeaders, http2 } = request;
  return http2 === undefined
    ? parseRequestHead(method, url, httpVersion, rawHeaders, pseudonym)
    : parseHttp2Head(rawHeaders, http2, pseudonym);
}

/** What of a head is too much. HTTP/1's parser has counted octets before; HTTP/2's bounds memory alone. */
function excessOf({ rawHeaders, http2 }: RawRequest, limits: Config['limits']): string | undefined {
  const pseudo = http2 === undefined ? 0 : 4;
  if (rawHeaders.length > (limits.headerCount + pseudo) * 2)
    return `more than ${limits.headerCount} header fields`;
  if (http2 === undefined) return undefined;
  let octets = 0;
  for (const text of rawHeaders) octets += text.length + 2; // as HTTP/1.1 would send them: `: `, CRLF
  return octets > limits.headerBytes ? `more than ${limits.headerBytes} bytes of header fields` : undefined;
}

/** What the header rewriting needs to know besides the request itself. */
export function rewriteContext(exchange: Exchange, admitted: Admitted): RewriteContext {
  const { connection, listener } = exchange;
  const { snapshot, route } = admitted;
  const isInbound = connection.direction === 'inbound';
  const caller = exchange.isNamedByToken ? exchange.token : undefined;
  return {
    plan: planOf(connection, snapshot),
    identity: isInbound ? (caller ?? connection.credential)?.identityHeaders(snapshot) : undefined,
    assertion: assertionFor(exchange, admitted),
    injected: injectedFor(route, snapshot),
    peerTrusted: isTrustedPeer(exchange, snapshot),
    peerAddress: connection.peerAddress,
    requestId: exchange.id,
    newTraceId: listener.ids.hex(16),
    newSpanId: listener.ids.hex(8),
  };
}

const planOf = ({ direction }: Connection, snapshot: Snapshot): ForwardPlan =>
  direction === 'outbound' ? snapshot.outboundPlan : snapshot.forwardPlan;

/** What goes out of the head of an admitted request; Host, Connection and framing are the upstream's to write. */
export function outgoingHeaders(exchange: Exchange, head: RequestHead, admitted: Admitted): string[] {
  const { headers, traceId } = rewriteRequest(head, rewriteContext(exchange, admitted));
  exchange.traceId = traceId;
  return headers;
}

/** The request as the upstream is to get it: built from what was judged, byte for byte. */
export function forwardRequest(
  head: RequestHead,
  headers: string[],
  body: Readable | undefined,
  connectMs?: number,
): ForwardRequest {
  const { path, query, authority } = head.target;
  return {
    method: head.method,
    target: query === '' ? path : path + query,
    authority,
    headers,
    body,
    bodyLength: head.body.kind === 'length' ? head.body.length : undefined,
    acceptsTrailers: head.acceptsTrailers,
    ...(connectMs === undefined ? {} : { connectMs }),
  };
}

/** How long the upstream may take to begin its answer: the route's word, else the upstream's, else that of all. */
export function firstByteMsOf({ route, snapshot: { config } }: Admitted): number {
  const ofUpstream = config.upstreams.get(route.upstream)?.timeouts.responseMs;
  return route.deadlines?.upstreamFirstByteMs ?? ofUpstream ?? config.deadlines.upstreamFirstByteMs;
}

export const isAdmitted = (answer: Admitted | Unproven | Refusal): answer is Admitted => 'permit' in answer;
export const isPending = (answer: Admitted | Pending | Unproven | Refusal): answer is Pending =>
  'asks' in answer;
