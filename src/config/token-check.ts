import { parseBundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { formatAddress, isLoopback } from './address.js';
import type { Config, KeySetOrigin, ListenerConfig, RouteConfig, TokenConfig } from './config.js';
import { nearestKey } from './issues.js';
import type { Problem } from './problem.js';
import type { KeyPath } from './yaml-text.js';

type ProblemAt = (path: KeyPath, message: string) => Problem;
/** At a key of one route. */
type RouteAt = (key: string, message: string) => Problem;

/** Tokens and delegation: what no single value can show. */
export function checkTokens(config: Config, at: ProblemAt): Problem[] {
  return [
    ...checkEntries(config, at),
    ...checkOneTime(config, at),
    ...checkDelegates(config, at),
    ...eachRoute(config, at, (route, listener, routeAt) => [
      ...checkAccept(config, route, listener, routeAt),
      ...checkDelegation(config, route, listener, routeAt),
    ]),
  ];
}

/** Each worker remembers by itself: with several, a token would count once at each of them. */
function checkOneTime({ tokens, workers }: Config, at: ProblemAt): Problem[] {
  if (workers === 1) return [];
  const message =
    'needs `workers: 1`: workers do not tell each other which tokens were used, so that one would count several times';
  return tokens.flatMap(({ issuer }, i) => (issuer.isOneTime ? [at(['tokens', i, 'oneTime'], message)] : []));
}

/** What is allowed but rarely meant. */
export function warnTokens(config: Config, at: ProblemAt): Problem[] {
  const warnings = eachRoute(config, at, (route, _listener, routeAt) => {
    const far = config.upstreams.get(route.upstream);
    if (!route.forwardsToken || far === undefined || far.tls !== undefined) return [];
    const target = far.targets.find(({ address }) => !isLoopback(address));
    if (target === undefined) return [];
    // JWT-SVID 7.3: whoever reads a token on the way can use it.
    const message = `the token goes to ${formatAddress(target.address)} in plaintext: whoever sees it there can use it`;
    return [routeAt('forwardToken', message)];
  });
  for (const [i, { routes, serverCertificate }] of config.listeners.entries()) {
    if (serverCertificate !== undefined || !routes.some(({ accept }) => isWithoutCertificate(accept)))
      continue;
    const message =
      'clients with a token alone see our SVID, which those that know no SPIFFE cannot verify; add a `serverCertificate`';
    warnings.push(at(['listeners', i], message));
  }
  const routes = config.listeners.flatMap((listener) => listener.routes);
  if (config.tokens.length > 0 && !routes.some(takesTokens))
    warnings.push(
      at(['tokens'], 'no route takes tokens: say `accept: token`, `mtls+token` or `either` there'),
    );
  return warnings;
}

const takesTokens = ({ accept }: RouteConfig): boolean => accept !== 'mtls';
const isWithoutCertificate = (accept: RouteConfig['accept']): boolean =>
  accept === 'token' || accept === 'either';

function eachRoute(
  { listeners }: Config,
  at: ProblemAt,
  judge: (route: RouteConfig, listener: ListenerConfig, at: RouteAt) => Problem[],
): Problem[] {
  return listeners.flatMap((listener, i) =>
    listener.routes.flatMap((route, j) =>
      judge(route, listener, (key, message) => at(['listeners', i, 'routes', j, key], message)),
    ),
  );
}

function checkEntries(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const names = new Map<string, number>();
  const namespaces = new Map<string, { readonly issuer: string; readonly entry: number }>();
  for (const [i, token] of config.tokens.entries()) {
    const { issuer } = token;
    const known = names.get(issuer.name);
    if (known === undefined) names.set(issuer.name, i);
    else problems.push(at(['tokens', i, 'name'], `"${issuer.name}" is also tokens[${known}]`));
    problems.push(...checkOrigins(config, token, i, at));
    if (issuer.kind !== 'oidc') continue;
    const { namespace } = issuer.principal;
    const holder = namespaces.get(namespace);
    if (holder === undefined) namespaces.set(namespace, { issuer: issuer.issuer, entry: i });
    else if (holder.issuer !== issuer.issuer) {
      const message = `${namespace} is the namespace of tokens[${holder.entry}], another issuer: each could name the other's principals`;
      problems.push(at(['tokens', i, 'principal'], message));
    }
  }
  return problems;
}

/** Where the keys of an entry come from. */
function checkOrigins(config: Config, { issuer, keys }: TokenConfig, i: number, at: ProblemAt): Problem[] {
  if (issuer.kind === 'oidc')
    return keys === undefined ? [] : checkDiscovery(issuer.issuer, keys, ['tokens', i, 'jwks'], at);
  const problems: Problem[] = [];
  if (issuer.asksAgent && config.workloadApi === undefined) {
    const message = 'workloadApi needs the Workload API: `identity` or a bundle must come from it';
    problems.push(at(['tokens', i, 'validate'], message));
  }
  for (const [j, domain] of (issuer.trustDomains ?? []).entries()) {
    if (isTrusted(config, domain)) continue;
    problems.push(at(['tokens', i, 'trustDomains', j], notConfigured(domain)));
  }
  return problems;
}

function checkDiscovery(issuer: string, keys: KeySetOrigin, path: KeyPath, at: ProblemAt): Problem[] {
  if (keys.kind !== 'discovery' || issuer === '') return [];
  const url = parseBundleEndpointUrl(issuer);
  if (url.ok && !/[?#]/.test(issuer)) return [];
  const message = `the issuer ${issuer} is no https:// URL, so its metadata cannot be fetched: name \`file\` or \`url\``;
  return [at(path, message)];
}

function checkDelegates(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const known = new Map<string, number>();
  for (const [i, { id, by }] of config.trustedPeers.delegates.entries()) {
    const path = ['trustedPeers', 'delegates', i];
    const earlier = known.get(id.uri);
    if (earlier === undefined) known.set(id.uri, i);
    else
      problems.push(
        at([...path, 'spiffeId'], `${id.uri} is delegates[${earlier}] already: one peer, one way`),
      );
    if (!isTrusted(config, id.trustDomain))
      problems.push(at([...path, 'spiffeId'], notConfigured(id.trustDomain)));
    if (by.kind === 'assertion')
      problems.push(...checkDiscovery(by.issuer.issuer, by.keys, [...path, 'jwks'], at));
  }
  return problems;
}

function checkAccept(config: Config, route: RouteConfig, listener: ListenerConfig, at: RouteAt): Problem[] {
  const { accept, tokens, forwardsToken } = route;
  if (accept === 'mtls') {
    const problems: Problem[] = [];
    const message = 'goes with `accept: token`, `mtls+token` or `either`';
    if (tokens !== undefined) problems.push(at('tokens', message));
    if (forwardsToken) problems.push(at('forwardToken', message));
    return problems;
  }
  if (listener.protocol === 'tcp') return [at('accept', 'a tcp listener carries no requests, so no tokens')];
  if (listener.direction === 'outbound')
    return [at('accept', 'what goes out shows our own SVID: only `direction: inbound` takes tokens')];
  const names = config.tokens.map(({ issuer }) => issuer.name);
  if (names.length === 0) return [at('accept', `${accept} needs \`tokens\`: none is configured`)];
  const unknown = (tokens ?? []).filter((name) => !names.includes(name));
  return unknown.map((name) => {
    const near = nearestKey(name, names);
    const hint = near === undefined ? '' : `; did you mean "${near}"?`;
    return at('tokens', `there is no entry "${name}" under \`tokens\`${hint}`);
  });
}

function checkDelegation(
  { trustedPeers }: Config,
  route: RouteConfig,
  { protocol, direction }: ListenerConfig,
  at: RouteAt,
): Problem[] {
  const { delegation } = route;
  if (delegation === 'off') return [];
  if (protocol === 'tcp') return [at('delegation', 'a tcp listener carries no requests')];
  if (direction === 'outbound')
    return delegation === 'accept'
      ? []
      : [at('delegation', 'outbound only `accept`: the assertion that our workload forwards goes on')];
  if (trustedPeers.delegates.length > 0 || takesTokens(route)) return [];
  const message = `${delegation} needs \`trustedPeers.delegates\`, or tokens: nobody could say on whose behalf it acts`;
  return [at('delegation', message)];
}

/** Which domains a folder holds shows only when it is read. */
const isTrusted = (config: Config, trustDomain: string): boolean =>
  config.trustFolders.length > 0 || config.trust.some((entry) => entry.trustDomain === trustDomain);

const notConfigured = (trustDomain: string): string =>
  `trust domain ${trustDomain} is not configured under \`trust\``;
