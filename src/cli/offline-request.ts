import type { Config, ListenerConfig, RouteConfig } from '../config/config.js';
import type { PrincipalId } from '../identity/principal-id.js';
import { CONNECT, connectHead, isServerName } from '../message/connect-head.js';
import { parseRequestHead } from '../message/request-head.js';
import type { Target } from '../message/target.js';
import type { AccessRequest } from '../policy/decision.js';
import type { RequestFacts } from '../policy/facts.js';
import { compileRoutes, matchRoute, type RouteTable } from '../policy/route-table.js';
import { err, ok, type Result, refuse } from '../reasons.js';
import { judgeCredential, type OfflineCredential } from './offline-credential.js';

/** A request that is not here: asked by a person, a policy's test, or a record. */
export interface OfflineQuestion {
  readonly as: PrincipalId;
  readonly method: string;
  /** `https://host/path`, or `/path` where it named no host. Of a TCP connection `tcp://name`, or `tcp://` without one. */
  readonly url: string;
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly facts: RequestFacts;
  readonly shown: OfflineCredential;
}

/** A listener without its socket. */
export interface OfflineListener {
  readonly name: string;
  readonly protocol: ListenerConfig['protocol'];
  readonly routes: RouteTable<RouteConfig>;
  /** Most actors of a delegation. */
  readonly maxDepth: number;
}

/** The listener of this name; without a name the only one. The error is for a person. */
export function chooseListener(config: Config, name: string | undefined): Result<OfflineListener, string> {
  const names = config.listeners.map((listener) => listener.name).join(', ');
  if (name === undefined && config.listeners.length > 1) return err(`there are several listeners: ${names}`);
  const chosen =
    name === undefined ? config.listeners[0] : config.listeners.find((listener) => listener.name === name);
  if (chosen === undefined) return err(`there is no listener ${name}; there are ${names}`);
  return ok({
    name: chosen.name,
    protocol: chosen.protocol,
    routes: compileRoutes(chosen.routes),
    maxDepth: config.limits.delegationDepth,
  });
}

/**
 * The listener's own steps (`listener/pipeline.ts`) by the same functions: head, target, route, then the question for
 * policy. Refused is what never reaches policy.
 */
export function toAccessRequest(question: OfflineQuestion, listener: OfflineListener): Result<AccessRequest> {
  const { as, method, url, nowMs, facts, shown } = question;
  const target = listener.protocol === 'tcp' ? readConnection(method, url) : readTarget(method, url);
  if (!target.ok) return target;
  const { host, path, decodedSlashPath } = target.value;
  const route = matchRoute(listener.routes, host, path);
  if (route === undefined)
    return refuse(
      'route_not_found',
      `no route of ${listener.name} for ${host === NO_HOST || host === '' ? 'no host' : host} ${path}`,
    );
  if (decodedSlashPath !== undefined) {
    if (!route.encodedSlash)
      return refuse('path_ambiguous', `route ${route.name} does not say encodedSlash: allow`);
    if (matchRoute(listener.routes, host, decodedSlashPath) !== route)
      return refuse('path_ambiguous', `with %2F decoded it is not for route ${route.name}`);
  }
  const behalfOf = judgeCredential(route, shown, as, listener.maxDepth);
  if (!behalfOf.ok) return behalfOf;
  return ok({
    principal: as,
    behalfOf: behalfOf.value,
    method,
    host: host === NO_HOST ? '' : host,
    path,
    decodedSlashPath,
    route: route.name,
    destination: route.upstream,
    listener: listener.name,
    nowMs,
    facts,
  });
}

/** Without a host no route that asks for one can match: `.invalid` is nobody's name (RFC 6761 6.4). */
const NO_HOST = 'no-host.invalid';

function readTarget(method: string, url: string): Result<Target> {
  const authority = /^https?:\/\/([^/?#]*)/i.exec(url)?.[1];
  const head = parseRequestHead(method, url, '1.1', ['Host', authority ?? NO_HOST]);
  if (head.ok) return ok(head.value.target);
  const { reason, detail } = head.error;
  return refuse(reason, reason === 'method_not_allowed' ? `${method} is never forwarded` : detail);
}

/** A connection asks for nothing but the name that TLS was asked for. */
function readConnection(method: string, url: string): Result<Target> {
  if (method !== CONNECT) return refuse('method_not_allowed', `a tcp listener is asked for ${CONNECT} alone`);
  const name = /^(?:tcp|https):\/\/([^/?#]*)\/?$/.exec(url)?.[1];
  if (name === undefined || !isServerName(name))
    return refuse('host_malformed', 'write tcp://name or tcp://');
  return ok(connectHead(name).target);
}
