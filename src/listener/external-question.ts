import type { RouteConfig } from '../config/config.js';
import { normaliseHeaderName } from '../message/header-names.js';
import { type AccessRequest, type Decision, evaluate } from '../policy/decision.js';
import { type ExternalFacts, externalInput } from '../policy/external-input.js';
import type { Snapshot } from '../snapshot.js';
import type { Exchange } from './exchange.js';
import type { Pending } from './pipeline.js';
import type { ExternalAnswer } from './ports.js';

/** Whether requests of this route are an external engine's to judge as well. */
export function isRouteAsked(
  { config }: Pick<Snapshot, 'config'>,
  { name }: Pick<RouteConfig, 'name'>,
): boolean {
  const { externalDecision } = config;
  if (externalDecision === undefined) return false;
  return externalDecision.routes === undefined || externalDecision.routes.includes(name);
}

/** What a local rule denies is denied: there is nothing to ask. What none allows is asked only where the engine may allow. */
export function isAskedAbout(
  snapshot: Pick<Snapshot, 'config'>,
  route: RouteConfig,
  decision: Decision,
): boolean {
  if (!isRouteAsked(snapshot, route)) return false;
  if (decision.effect === 'allow') return true;
  return snapshot.config.externalDecision?.mayAllow === true && decision.reason === 'no_rule_matched';
}

/** Asks about every reading of the path, one after another: all must be allowed, as by policy. */
export async function askEngine(
  exchange: Exchange,
  { asks, snapshot }: Pending,
  signal: AbortSignal,
  isBackground: boolean,
): Promise<ExternalAnswer> {
  const { external } = exchange.listener;
  const local = evaluate(snapshot.policy, asks);
  const facts = factsOf(exchange, asks, snapshot);
  const inputOf = (path: string): string => externalInput(asks, path, local, facts);
  // Both are written now: by the second question there may be no credential any more to tell of.
  const input = inputOf(asks.path);
  const other = asks.decodedSlashPath === undefined ? undefined : inputOf(asks.decodedSlashPath);
  const answer = await external.ask({ input, signal, isBackground });
  if (other === undefined || answer.result !== 'allow') return answer;
  return joinAnswers(answer, await external.ask({ input: other, signal, isBackground }));
}

/** Both readings may be taken: it holds for as long as both do, and both answers are named. */
function joinAnswers(one: ExternalAnswer, other: ExternalAnswer): ExternalAnswer {
  const id = [one.id, other.id].filter((each) => each !== undefined).join(' ');
  return {
    ...other,
    id: id === '' ? undefined : id,
    cached: one.cached && other.cached,
    validForMs: Math.min(one.validForMs, other.validForMs),
  };
}

function factsOf({ head }: Exchange, asks: AccessRequest, { config, policy }: Snapshot): ExternalFacts {
  return {
    headers: headersOf(head?.endToEnd ?? [], config.externalDecision?.headers ?? []),
    registered: policy.registry?.find(asks.principal),
    claims: policy.reads.claims,
  };
}

/** Several lines of one name are joined (RFC 9110 5.3), and so are its other spellings: a lax service takes them for it. */
function headersOf(lines: readonly string[], names: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  if (names.length === 0) return headers;
  for (let i = 0; i < lines.length; i += 2) {
    const name = normaliseHeaderName(lines[i]!);
    if (!names.includes(name)) continue;
    const before = headers[name];
    headers[name] = before === undefined ? lines[i + 1]! : `${before}, ${lines[i + 1]!}`;
  }
  return headers;
}
