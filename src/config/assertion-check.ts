import { parseAssertionKeys } from '../identity/assertion-key.js';
import { isLoopback } from './address.js';
import type { Config, UpstreamConfig } from './config.js';
import type { Problem } from './problem.js';
import { warnOfKeyMode } from './seal-check.js';
import type { FileReader } from './trust-check.js';
import type { KeyPath } from './yaml-text.js';

type ProblemAt = (path: KeyPath, message: string) => Problem;

const AT = ['forward', 'assertion'];

/** Assertions for servers that verify who calls by themselves. What else cannot be is the matter of `checkTokens`. */
export function checkAsserted(config: Config, at: ProblemAt): Problem[] {
  return routesOf(config).flatMap(({ listener, route, path }) => {
    if (route.assertion === undefined || listener.direction === 'inbound') return [];
    const message = 'goes with `direction: inbound`: the other side verifies who calls by itself';
    return [at([...path, 'assertion'], message)];
  });
}

/** What is allowed but rarely meant. */
export function warnAdded(config: Config, at: ProblemAt): Problem[] {
  const { assertion } = config.forward;
  const warnings: Problem[] = [];
  if (assertion !== undefined && assertion.keyFile === config.audit.seal?.keyFile)
    warnings.push(at([...AT, 'key'], 'signs the records as well: a key of its own can be changed by itself'));
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
