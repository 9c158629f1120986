import type {
  ConnectionTerminatedRecord,
  HandshakeRecord,
  LifecycleRecord,
  PrincipalFields,
  TlsFields,
} from '../audit/record.js';
import type { Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Connection } from './connection.js';
import type { Enforcement } from './contraction.js';
import type { Credential } from './credential.js';

interface RefusedHandshake {
  readonly id: string;
  readonly refusal: Refusal | undefined;
  readonly credential: Credential | undefined;
  readonly tls: TlsFields | undefined;
  readonly peerAddress: string;
}

const noTls: TlsFields = { version: undefined, cipher: undefined, resumed: false, serverName: undefined };

/** A handshake that came to nothing, with what the peer presented. */
export function handshakeRecord(
  listener: string,
  handshake: RefusedHandshake,
  snapshot: Snapshot | undefined,
  nowMs: number,
): HandshakeRecord {
  return {
    time: new Date(nowMs).toISOString(),
    event: 'handshake',
    id: handshake.id,
    principal: handshake.credential?.principalFields(),
    decision: {
      effect: 'deny',
      reason: handshake.refusal?.reason ?? 'tls_handshake_failed',
      rule: undefined,
      policyRevision: snapshot?.policy.revision,
      trustRevision: snapshot?.trustRevision,
      detail: handshake.refusal?.detail,
    },
    request: { listener },
    tls: handshake.tls ?? noTls,
    peer: { address: handshake.peerAddress },
  };
}

/** A connection whose access ended while it was open: why, and how long the end took. */
export function terminatedRecord(
  listener: string,
  connection: Connection,
  nowMs: number,
): ConnectionTerminatedRecord {
  const { terminatedBy } = connection;
  return {
    time: new Date(nowMs).toISOString(),
    event: 'connection.terminated',
    id: connection.id,
    principal: connection.credential?.principalFields(),
    reason: terminatedBy?.reason ?? 'access_ended',
    latencyMs: terminatedBy === undefined ? 0 : Math.max(0, nowMs - terminatedBy.cause.seenMs),
    request: { listener },
    peer: { address: connection.peerAddress },
  };
}

/** All that one change ended is gone: how much it was, and how long it took from when the cause was seen. */
export function enforcedRecord(
  { source, connections, reasons, latencyMs }: Enforcement,
  snapshot: Snapshot | undefined,
  nowMs: number,
): LifecycleRecord {
  return {
    time: new Date(nowMs).toISOString(),
    event: 'revocation.enforced',
    source,
    policyRevision: snapshot?.policy.revision,
    trustRevision: snapshot?.trustRevision,
    detail: reasons.join(', ') || undefined,
    connections,
    latencyMs,
  };
}

/** A credential was let in that lives longer than the configuration calls usual. */
export function longLivedRecord(
  listener: string,
  connection: string,
  credential: Credential,
  snapshot: Snapshot | undefined,
  nowMs: number,
): LifecycleRecord {
  const { notBeforeMs = 0, notAfterMs = 0 } = credential.svid?.leaf ?? {};
  return {
    time: new Date(nowMs).toISOString(),
    event: 'credential.long_lived',
    source: listener,
    policyRevision: snapshot?.policy.revision,
    trustRevision: snapshot?.trustRevision,
    detail: `lives ${Math.round((notAfterMs - notBeforeMs) / 1000)} seconds; first seen on connection ${connection}`,
    principal: credential.principalFields(),
  };
}

/** A caller that the registry does not know was seen for the first time. */
export function unregisteredRecord(
  listener: string,
  request: string,
  principal: PrincipalFields,
  snapshot: Snapshot | undefined,
  nowMs: number,
): LifecycleRecord {
  return {
    time: new Date(nowMs).toISOString(),
    event: 'identity.unregistered',
    source: listener,
    policyRevision: snapshot?.policy.revision,
    trustRevision: snapshot?.trustRevision,
    detail: `first seen in request ${request}`,
    principal,
  };
}
