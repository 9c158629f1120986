import type { AccessEdge, RevisionTally } from './access-tally.js';
import {
  destinationRows,
  identityRows,
  pathRows,
  percentilesOf,
  refusalsByIdentity,
  ruleRows,
  sum,
} from './report-access.js';
import { delegationRows, injectedRows, tokenRows } from './report-borrowed.js';
import { authorityRows, credentialsOf } from './report-credentials.js';
import {
  type DeclaredException,
  evidenceOf,
  exceptionRows,
  revocationsOf,
  timelineOf,
} from './report-events.js';
import { findingsOf } from './report-findings.js';
import { REPORT_VERSION, type Reading, type Refusals, type Report, type SecretRow } from './report-model.js';
import { type DeclaredPolicy, leastPrivilegeOf } from './report-privilege.js';
import type { ReportTally } from './report-tally.js';
import { volumeOf } from './report-volume.js';

/** The configuration in hand, where one is. */
export interface Declared {
  readonly policy: DeclaredPolicy;
  readonly exceptions: readonly DeclaredException[];
}

export type ReadingSoFar = Omit<Reading, 'records' | 'outsideFilter' | 'first' | 'last' | 'isCapped'>;

/** What the report says of everything that was read. */
export function buildReport(tally: ReportTally, readingSoFar: ReadingSoFar, declared?: Declared): Report {
  const { access, callers, events, streams } = tally;
  const { edges } = access;
  const reading: Reading = {
    ...readingSoFar,
    records: tally.records,
    outsideFilter: tally.outsideFilter,
    first: tally.first,
    last: tally.last,
    isCapped: access.isFull || callers.credentials.isFull || events.claims.isFull || events.untold > 0,
  };
  const paths = pathRows(edges);
  const identities = identityRows(paths, callers);
  const destinations = destinationRows(paths, access);
  const rules = ruleRows(edges);
  const volume = volumeOf(access.volume);
  const credentials = callers.credentials.values();
  const parts: Omit<Report, 'findings'> = {
    report: 'countersign-access-report',
    version: REPORT_VERSION,
    reading,
    totals: {
      requests: access.requests,
      allowed: sum(paths, ({ allowed }) => allowed),
      refused: sum(paths, ({ refused }) => refused),
      failed: sum(volume.spans, ({ failed }) => failed),
      refusedConnections: sum(events.refusedHandshakes.values(), ({ connections }) => connections),
      identities: identities.length,
      destinations: destinations.length,
      paths: paths.filter(({ allowed, identity }) => allowed > 0 && identity !== '').length,
      rulesUsed: rules.filter(({ allowed }) => allowed > 0).length,
      durationMs: percentilesOf(access.durations),
    },
    volume,
    identities,
    paths,
    destinations,
    rules,
    leastPrivilege: leastPrivilegeOf(declared?.policy, edges),
    exceptions: exceptionRows(events, edges, declared?.exceptions ?? [], tally.last),
    credentials: credentialsOf(credentials, events),
    secrets: secretRows(tally),
    tokens: tokenRows(access.borrowed),
    delegations: delegationRows(access.borrowed),
    injected: injectedRows(access.borrowed),
    refusals: refusalsOf(tally, edges),
    revocations: revocationsOf(events),
    authorities: authorityRows(credentials),
    revisions: { policy: revisions(access.policyRevisions), trust: revisions(access.trustRevisions) },
    shadow: access.shadow.values(),
    evidence: evidenceOf(streams, events, access.corrected),
    timeline: timelineOf(events),
  };
  return { ...parts, findings: findingsOf(parts, tally) };
}

const revisions = (known: { values(): RevisionTally[] }): Report['revisions']['policy'] =>
  known
    .values()
    .map(({ revision, requests, first, last }) => ({ revision, requests, firstSeen: first, lastSeen: last }))
    .sort((a, b) => (a.firstSeen < b.firstSeen ? -1 : 1));

const secretRows = ({ access }: ReportTally): SecretRow[] =>
  access.secrets
    .values()
    .map(({ identity, route, kind, requests, last }) => ({ identity, route, kind, requests, lastSeen: last }))
    .sort((a, b) => b.requests - a.requests || (a.identity < b.identity ? -1 : 1));

const MAX_REFUSALS = 1000;

function refusalsOf({ events }: ReportTally, edges: readonly AccessEdge[]): Refusals {
  const reasons = new Map<string, { reason: string; requests: number; connections: number }>();
  const at = (reason: string) => {
    const known = reasons.get(reason) ?? { reason, requests: 0, connections: 0 };
    reasons.set(reason, known);
    return known;
  };
  const byIdentity = refusalsByIdentity(edges);
  for (const { reason, requests } of byIdentity) at(reason).requests += requests;
  for (const { reason, connections } of events.refusedHandshakes.values())
    at(reason).connections += connections;
  const claims = events.claims.values().map(({ key, times, last }) => {
    const [claim = '', reason = ''] = key.split('\n');
    return { claim, reason, times, lastSeen: last };
  });
  return {
    byReason: [...reasons.values()].sort(
      (a, b) => b.requests + b.connections - a.requests - a.connections || (a.reason < b.reason ? -1 : 1),
    ),
    byIdentity: byIdentity.slice(0, MAX_REFUSALS),
    claims: claims.sort((a, b) => b.times - a.times),
  };
}
