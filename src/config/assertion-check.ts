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
  const problems = routesOf(config).flatMap(({ listener, route, path }) => {
    const asserted = problemOfAssertion(config, route, listener);
    const injected = problemOfInjected(config, route, listener);
    return [
      ...(asserted === undefined ? [] : [at([...path, 'assertion'], asserted)]),
      ...(injected === undefined ? [] : [at([...path, 'injectCredential'], injected)]),
    ];
  });
  const { jwksFile } = assertion ?? {};
  if (jwksFile !== undefined && jwksFile === assertion?.keyFile)
    problems.push(at([...AT, 'jwksFile'], 'must not be the file of the private key: it is written'));
  else if (jwksFile !== undefined && filesReadBy(config).has(jwksFile))
    problems.push(at([...AT, 'jwksFile'], 'must be a file of its own: it is written, and this one is read'));
  return problems;
}

/** Every file that the configuration names to be read, and itself. */
function filesReadBy(config: Config): ReadonlySet<string> {
  const files = new Set<string>();
  JSON.stringify([config, ...config.upstreams.values()], (key, value: unknown) => {
    if (/file$/i.test(key) && key !== 'jwksFile' && typeof value === 'string') files.add(value);
    return value;
  });
  return files;
}

function problemOfAssertion(
  { forward }: Config,
  { assertion }: RouteConfig,
  { protocol, direction }: ListenerConfig,
): string | undefined {
  if (assertion === undefined) return undefined;
  if (protocol === 'tcp') return 'a tcp listener carries no requests';
  if (direction === 'outbound')
    return 'goes with `direction: inbound`: the other side verifies who calls by itself';
  if (assertion === false || forward.assertion !== undefined) return undefined;
  return 'needs `forward.assertion`: the key that signs';
}

function problemOfInjected(
  { forward }: Config,
  { injects, forwardsToken }: RouteConfig,
  { protocol }: ListenerConfig,
): string | undefined {
  if (injects === undefined) return undefined;
  if (protocol === 'tcp') return 'a tcp listener carries no requests';
  const { header } = injects;
  const wrong = problemOfForwardHeader(header); // it would be a second truth of who calls
  if (wrong !== undefined) return `${header} ${wrong}`;
  if (forward.headers.some(({ name }) => normaliseHeaderName(name) === normaliseHeaderName(header)))
    return `${header} is set by forward.headers already`;
  if (forwardsToken && header === 'authorization')
    return 'authorization holds the token there: `forwardToken` is true';
  return undefined;
}

/** What is allowed but rarely meant. */
export function warnAdded(config: Config, at: ProblemAt): Problem[] {
  const { assertion } = config.forward;
  const warnings: Problem[] = [];
  if (assertion !== undefined && assertion.keyFile === config.audit.seal?.keyFile)
    warnings.push(at([...AT, 'key'], 'signs the records as well: a key of its own can be changed by itself'));
  const isForNobody =
    assertion?.audience === undefined && !routesOf(config).some(({ route }) => route.assertion);
  if (assertion !== undefined && isForNobody)
    warnings.push(at(AT, 'without `audience` here or in a route, no service gets one'));
  for (const { route, path } of routesOf(config)) {
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
