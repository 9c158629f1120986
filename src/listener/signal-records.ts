import type { LifecycleRecord, PrincipalFields, SharedFields } from '../audit/record.js';
import type { Snapshot } from '../snapshot.js';
import type { FoundSecret } from './signal-secrets.js';

/** Where and when a signal was seen. */
export interface Seen {
  readonly listener: string;
  readonly principal: PrincipalFields | undefined;
  readonly snapshot: Snapshot | undefined;
  readonly nowMs: number;
}

type Event = Extract<
  LifecycleRecord['event'],
  | 'credential.shared'
  | 'credential.near_expiry'
  | 'static_secret.observed'
  | 'identity.first_seen'
  | 'edge.first_seen'
>;

const signalRecord = (
  event: Event,
  { listener, principal, snapshot, nowMs }: Seen,
  detail: string,
): LifecycleRecord => ({
  time: new Date(nowMs).toISOString(),
  event,
  source: listener,
  policyRevision: snapshot?.policy.revision,
  trustRevision: snapshot?.trustRevision,
  detail,
  principal,
});

export function sharedRecord(seen: Seen, shared: SharedFields): LifecycleRecord {
  return { ...signalRecord('credential.shared', seen, describeShared(shared)), shared };
}

function describeShared({ kind, total, networks = 0 }: SharedFields): string {
  switch (kind) {
    case 'addresses':
      return `one key is in use from ${total} addresses of ${networks} networks at once`;
    case 'ids':
      return `one key was shown under ${total} SPIFFE IDs within a day`;
    case 'certificates':
      return `${total} certificates of one SPIFFE ID are in use`;
    default:
      return kind satisfies never;
  }
}

export function nearExpiryRecord(seen: Seen, request: string): LifecycleRecord {
  const leftMs = Date.parse(seen.principal?.notAfter ?? '') - seen.nowMs;
  const left = Math.max(0, Math.round(leftMs / 1000));
  const detail = `${left} seconds of its life are left and it was not renewed; seen in request ${request}`;
  return signalRecord('credential.near_expiry', seen, detail);
}

/** The value is not known here, and must not be. */
export function secretRecord(
  seen: Seen,
  { kind, name }: FoundSecret,
  route: string | undefined,
  destination: string | undefined,
  request: string,
): LifecycleRecord {
  const where = kind === 'query' ? `query parameter ${name}` : `header ${name}`;
  return {
    ...signalRecord('static_secret.observed', seen, `in ${where}; seen in request ${request}`),
    secret: { kind, name },
    request: { listener: seen.listener, route, destination },
  };
}

export function identityFirstSeenRecord(seen: Seen, connection: string): LifecycleRecord {
  return signalRecord('identity.first_seen', seen, `first seen on connection ${connection}`);
}

export function edgeFirstSeenRecord(
  seen: Seen,
  route: string,
  destination: string,
  request: string,
): LifecycleRecord {
  return {
    ...signalRecord('edge.first_seen', seen, `first allowed in request ${request}`),
    request: { listener: seen.listener, route, destination },
  };
}
