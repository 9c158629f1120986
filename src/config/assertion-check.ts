import { parseAssertionKeys } from '../identity/assertion-key.js';
import { problemOfForwardHeader } from '../message/forward-policy.js';
import { normaliseHeaderName } from '../message/header-names.js';
import { isLoopback } from './address.js';
import type { Config, ListenerConfig, RouteConfig, UpstreamConfig } from './config.js';
import type { Problem } from './problem.js';
import { warnOfKeyMode } from './seal-check.js';
import type { FileReader } from './trust-check.js';
import type { KeyPath } from './yaml-text.js';

type ProblemAt = (path: KeyPath, message: string) => Problem;

const AT = ['forward', 'assertion'];

/** What services are to get beside the request: assertions and credentials that could not be made or put in. */
export function checkAdded(config: Config, at: ProblemAt): Problem[] {
  const { assertion } = config.forward;
  const problems: Problem[] = [];
  if (assertion?.jwksFile !== undefined && assertion.jwksFile === assertion.keyFile)
    problems.push(at([...AT, 'jwksFile'], 'is the file of the private key: it would be replaced'));
  for (const { listener, route, path } of routesOf(config)) {
    problems.push(...checkAsserted(config, listener, route, (key, message) => at([...path, key], message)));
    problems.push(
      ...checkInjected(config, listener, route, (message) => at([...path, 'injectCredential'], message)),
    );
  }
  return problems;
}

function checkAsserted(
  { forward }: Config,
  { protocol, direction }: ListenerConfig,
  { assertion }: RouteConfig,
  problem: (key: string, message: string) => Problem,
): Problem[] {
  if (assertion === undefined) return [];
  if (protocol === 'tcp') return [problem('assertion', 'a tcp listener carries no requests')];
  if (direction === 'outbound')
    return [
      problem('assertion', 'goes with `direction: inbound`: the other side verifies who calls by itself'),
    ];
  if (assertion === false || forward.assertion !== undefined) return [];
  return [problem('assertion', 'needs `forward.assertion` with a key')];
}

function checkInjected(
  { forward }: Config,
  { protocol }: ListenerConfig,
  { injects, forwardsToken }: RouteConfig,
  problem: (message: string) => Problem,
): Problem[] {
  if (injects === undefined) return [];
  if (protocol === 'tcp') return [problem('a tcp listener carries no requests')];
  const { header } = injects;
  const wrong = problemOfForwardHeader(header);
  if (wrong !== undefined) return [problem(`${header} ${wrong}`)];
  if (forward.headers.some(({ name }) => normaliseHeaderName(name) === header))
    return [problem(`${header} is also in \`forward.headers\``)];
  if (forwardsToken && header === 'authorization')
    return [problem('there is one Authorization only, and `forwardToken` is for that of the caller')];
  return [];
}

/** What is allowed but rarely meant. */
export function warnAdded(config: Config, at: ProblemAt): Problem[] {
  const { assertion } = config.forward;
  const warnings: Problem[] = [];
  const routes = routesOf(config);
  const isNamed = routes.some(({ route }) => typeof route.assertion === 'object');
  if (assertion !== undefined && assertion.audience === undefined && !isNamed)
    warnings.push(at(AT, 'no service gets an assertion: neither this nor any route names an `audience`'));
  if (assertion !== undefined && assertion.keyFile === config.audit.seal?.keyFile)
    warnings.push(at([...AT, 'key'], 'signs the records as well: a key of its own can be changed by itself'));
  for (const { route, path } of routes) {
    const upstream = config.upstreams.get(route.upstream);
    if (route.injects === undefined || upstream === undefined || isUnreadable(upstream)) continue;
    const message = `the secret goes to "${upstream.name}" in the clear: anybody on the way can read it`;
    warnings.push(at([...path, 'injectCredential'], message));
  }
  return warnings;
}

/** By others than its two ends. */
const isUnreadable = ({ tls, targets }: UpstreamConfig): boolean =>
  tls !== undefined || targets.every(({ address }) => isLoopback(address));

const routesOf = ({ listeners }: Config) =>
  listeners.flatMap((listener, i) =>
    listener.routes.map((route, j) => ({ listener, route, path: ['listeners', i, 'routes', j] })),
  );

/** The key that signs assertions, read and tried out. @param modeOf undefined where the file cannot be looked at */
export async function checkAssertionKey(
  config: Config,
  at: ProblemAt,
  read: FileReader,
  modeOf: (file: string) => Promise<number | undefined>,
): Promise<{ readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] }> {
  const file = config.forward.assertion?.keyFile;
  if (file === undefined) return { problems: [], warnings: [] };
  const path = [...AT, 'key'];
  const bytes = await read(file);
  if (!bytes.ok) return { problems: [at(path, bytes.error)], warnings: [] };
  const keys = parseAssertionKeys(bytes.value);
  if (!keys.ok) return { problems: [at(path, `${file}: ${keys.error}`)], warnings: [] };
  const warning = warnOfKeyMode(file, (await modeOf(file)) ?? 0);
  return { problems: [], warnings: warning === undefined ? [] : [at(path, warning)] };
}
