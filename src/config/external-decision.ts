import { isAll, TOKEN } from '../message/char-class.js';
import { headerKindOf, normaliseHeaderName } from '../message/header-names.js';
import { isLoopback } from './address.js';
import type { Config, ExternalDecisionConfig } from './config.js';
import type { RawExternalDecision } from './external-schema.js';
import { nearestKey } from './issues.js';
import type { Places } from './places.js';
import type { Problem } from './problem.js';
import type { KeyPath } from './yaml-text.js';

type ProblemAt = (path: KeyPath, message: string) => Problem;

const KEY = 'externalDecision';

/** The part of the configuration that it is, where there is one. */
export function externalDecisionOf(
  raw: RawExternalDecision | undefined,
  places: Places,
): { readonly externalDecision?: ExternalDecisionConfig } {
  if (raw === undefined) return {};
  const { url, socket, ca, routes, timeout, circuit, ...same } = raw;
  return {
    externalDecision: {
      ...same,
      url: places.decisionUrl([KEY, 'url'], url),
      ...(socket === undefined ? {} : { socketPath: places.unixSocket([KEY, 'socket'], socket) }),
      ...(ca === undefined ? {} : { caFile: places.file([KEY, 'ca'], ca) }),
      ...(routes === undefined ? {} : { routes }),
      timeoutMs: timeout,
      circuit: { failures: circuit.failures, openMs: circuit.open },
    },
  };
}

export function checkExternalDecision(
  { externalDecision, listeners, forward }: Config,
  at: ProblemAt,
): Problem[] {
  if (externalDecision === undefined) return [];
  const problems = checkPlace(externalDecision, at);
  const known = new Set(listeners.flatMap((listener) => listener.routes.map((route) => route.name)));
  for (const [i, name] of (externalDecision.routes ?? []).entries()) {
    if (known.has(name)) continue;
    const nearest = nearestKey(name, [...known]);
    const hint = nearest === undefined ? '' : `; did you mean "${nearest}"?`;
    problems.push(at([KEY, 'routes', i], `there is no route "${name}"${hint}`));
  }
  const ours = new Set(forward.headers.map(({ name }) => normaliseHeaderName(name)));
  for (const [i, name] of externalDecision.headers.entries()) {
    const wrong = problemOfHeader(name, ours);
    if (wrong !== undefined) problems.push(at([KEY, 'headers', i], wrong));
  }
  return problems;
}

/** Whoever can answer in the engine's place decides: in plain text, that is everybody on the way. */
function checkPlace(
  { url, socketPath, caFile, allowPlaintext }: ExternalDecisionConfig,
  at: ProblemAt,
): Problem[] {
  const problems: Problem[] = [];
  const isPlain = url.protocol === 'http:';
  const isLocal = socketPath !== undefined || isLoopback({ kind: 'tcp', host: url.host, port: url.port });
  if (isPlain && !isLocal && !allowPlaintext) {
    const message = `anybody between here and ${url.host} could answer in plain text; use https://, or say \`allowPlaintext: true\` if that is meant`;
    problems.push(at([KEY, 'url'], message));
  }
  if (isPlain && caFile !== undefined) problems.push(at([KEY, 'ca'], 'goes with https:// only'));
  return problems;
}

const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'cookie']);

function problemOfHeader(name: string, ours: ReadonlySet<string>): string | undefined {
  if (!isAll(name, TOKEN) || name !== normaliseHeaderName(name))
    return 'must be a header name in lower case, without `_`';
  if (CREDENTIALS.has(name)) return 'holds credentials, which the log of the engine would keep';
  if (headerKindOf(name) !== 'pass' || ours.has(name))
    return 'is written or removed by the proxy: what a client says there is not to be believed';
  return undefined;
}
