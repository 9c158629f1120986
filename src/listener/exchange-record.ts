import {
  type AccessRecord,
  type DecisionFields,
  MAX_RECORDED_VALUE,
  type ReadValues,
  type RequestFields,
  type UpstreamFields,
} from '../audit/record.js';
import type { RequestHead } from '../message/request-head.js';
import { ConditionFault } from '../policy/facts.js';
import { ANY_PATH } from '../policy/path-template.js';
import type { Permit } from '../policy/permit.js';
import type { Exchange } from './exchange.js';
import { IsoTime } from './iso-time.js';
import { joinedIds } from './joined-ids.js';
import { LiveFacts } from './request-facts.js';

const isoTime = new IsoTime();

/** The evidence of one exchange as it stands at `tickMs` (of the monotonic clock). */
export function accessRecord(
  exchange: Exchange,
  phase: 'start' | 'end' | undefined,
  tickMs: number,
): AccessRecord {
  const { connection, snapshot, startedAtMs, startedMs, upstreamMs } = exchange;
  return {
    time: isoTime.format(startedAtMs),
    event: 'access',
    id: exchange.id,
    phase,
    principal: exchange.principal ?? connection.credential?.principalFields(),
    behalfOf: snapshot && exchange.delegation?.fields(snapshot),
    token: exchange.token?.tokenFields,
    decision: decisionFields(exchange),
    request: requestFields(exchange),
    response: {
      status: exchange.status,
      bytes: exchange.responseBytes,
      outcome: exchange.outcome,
      reason: exchange.reason,
      grpcStatus: exchange.grpcStatus,
    },
    upstream: upstreamFields(exchange),
    timing: {
      totalMs: round(tickMs - startedMs),
      upstreamMs: upstreamMs === undefined ? undefined : round(upstreamMs),
    },
    tls: connection.tls,
    peer: connection.peer,
  };
}

/** Left out where the configuration says it all. */
function upstreamFields({
  server,
  attempts,
  route,
  snapshot,
  assertion,
}: Exchange): UpstreamFields | undefined {
  if (server === undefined || route === undefined) return undefined;
  const isOneOfSeveral = (snapshot?.config.upstreams.get(route.upstream)?.targets.length ?? 1) > 1;
  const injected = route.injects?.header;
  const isAdded = assertion !== undefined || injected !== undefined;
  if (!isOneOfSeveral && attempts === 1 && server.identity === undefined && !isAdded) return undefined;
  return {
    target: isOneOfSeveral ? server.target : undefined,
    attempts: attempts > 1 ? attempts : undefined,
    server: server.identity,
    assertion,
    injected,
  };
}

function decisionFields(exchange: Exchange): DecisionFields {
  const { decision, snapshot, refusal, permit } = exchange;
  return {
    // What was let through stays an allow even if it failed later: records with `allow` are what the upstream may have seen.
    effect: permit === undefined ? 'deny' : 'allow',
    reason: permit !== undefined ? allowedBy(permit) : (exchange.reason ?? 'internal_error'),
    rule: decision?.rule,
    exception: permit?.decision.exception,
    shadow: decision?.shadow,
    conditionErrors: decision?.conditionErrors,
    policyRevision: decision?.policyRevision ?? snapshot?.policy.revision,
    trustRevision: snapshot?.trustRevision,
    external: exchange.external,
    detail: refusal === undefined || refusal.detail === '' ? undefined : refusal.detail,
  };
}

type AllowedBy = 'rule_allowed' | 'exception_allowed' | 'external_allowed';

const allowedBy = ({ decision }: Permit): AllowedBy => {
  if (decision.reason === 'external_allowed') return decision.reason;
  return decision.exception === undefined ? 'rule_allowed' : 'exception_allowed';
};

function requestFields(exchange: Exchange): RequestFields {
  const { head, route, listener } = exchange;
  const host = head?.target.host;
  return {
    listener: listener.name,
    direction: exchange.connection.direction === 'outbound' ? 'outbound' : undefined,
    route: route?.name,
    destination: route?.upstream,
    method: head?.method ?? exchange.rawMethod?.slice(0, MAX_RECORDED_VALUE), // in HTTP/2 as long as a client likes
    host: host?.slice(0, MAX_RECORDED_VALUE),
    protocol: exchange.protocol,
    upgrade: upgradeOf(head),
    bytes: exchange.requestBytes,
    ...joinedIds(exchange),
    ...readValues(exchange),
    secrets: exchange.secrets?.map(({ kind }) => kind),
    ...pathFields(exchange),
  };
}

/** The path as it was judged, or what stands for it. */
function pathFields({
  head,
  rawTarget,
  snapshot,
}: Exchange): Pick<RequestFields, 'path' | 'redacted' | 'truncated'> {
  const path = head?.target.path ?? pathOf(rawTarget);
  if (path === undefined) return { path, truncated: undefined };
  if (snapshot === undefined) return { path: ANY_PATH, redacted: true, truncated: undefined }; // who knows what may be told
  const { templates } = snapshot.recording;
  if (templates !== undefined)
    return { path: templates.templateOf(path), redacted: true, truncated: undefined };
  const isCut = path.length > MAX_RECORDED_VALUE;
  return { path: isCut ? path.slice(0, MAX_RECORDED_VALUE) : path, truncated: isCut ? true : undefined };
}

/** What conditions may have read, so that the decision can be taken again from the record alone, and what was asked for. */
function readValues(exchange: Exchange): Pick<RequestFields, 'headers' | 'query' | 'claims'> {
  const { head, snapshot } = exchange;
  if (snapshot === undefined || head === undefined) return NOTHING_READ;
  const { headers, query, claims } = snapshot.recording;
  if (headers.length + query.length + claims.length === 0) return NOTHING_READ;
  const facts = new LiveFacts(head, exchange);
  return {
    headers: valuesOf(headers, (name) => facts.header(name)),
    query: valuesOf(query, (name) => facts.query(name)),
    claims: valuesOf(claims, (name) => facts.claim(name)),
  };
}

const NOTHING_READ = {};

/** One that cannot be read is left out: whoever judges by the record cannot tell it either. */
function valuesOf(
  names: readonly string[],
  read: (name: string) => string | undefined,
): ReadValues | undefined {
  if (names.length === 0) return undefined;
  const values: Record<string, string | null> = Object.create(null); // `__proto__` is a name like any other
  for (const name of names) {
    try {
      const value = read(name) ?? null;
      if (value === null || value.length <= MAX_RECORDED_VALUE) values[name] = value;
    } catch (cause) {
      if (!(cause instanceof ConditionFault)) throw cause;
    }
  }
  return values;
}

/** Two words, however many a client may think of. */
function upgradeOf(head: RequestHead | undefined): RequestFields['upgrade'] {
  if (head?.upgrade === undefined) return undefined;
  return head.upgrade === 'websocket' ? 'websocket' : 'other';
}

/** A target that never parsed, without its query and its authority: queries and userinfo hold secrets. */
function pathOf(rawTarget: string | undefined): string | undefined {
  if (rawTarget === undefined) return undefined;
  const query = rawTarget.indexOf('?');
  const target = query < 0 ? rawTarget : rawTarget.slice(0, query);
  if (target.startsWith('/')) return target;
  const absolute = /^[^/\\]*:[/\\]+[^/\\]*/.exec(target); // as forgiving as whoever wrote it may have been
  if (absolute !== null) return target.slice(absolute[0].length) || '/';
  return target.slice(target.lastIndexOf('@') + 1); // CONNECT's authority-form
}

const round = (ms: number): number => Math.round(ms * 1000) / 1000;
