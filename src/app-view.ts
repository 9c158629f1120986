import type { CredentialIndex } from './listener/credential.js';
import type { HttpListener } from './listener/http-listener.js';
import type { Snapshot } from './snapshot.js';

/** What /snapshot, /connections and the metrics show of the running process. Reads, changes nothing. */

export interface AuthorityUse {
  readonly trustDomain: string;
  /** SHA-256 of the authority, lower-case hex. */
  readonly authority: string;
  /** Open connections that it verified. */
  readonly count: number;
}

/** Who still depends on which authority: what an operator asks before removing one. */
export function authoritiesInUse(credentials: CredentialIndex): readonly AuthorityUse[] {
  const uses = new Map<string, AuthorityUse>();
  for (const { svid, connections } of credentials.live()) {
    if (svid === undefined) continue;
    const authority = svid.authority.sha256;
    const count = (uses.get(authority)?.count ?? 0) + connections.size;
    uses.set(authority, { trustDomain: svid.id.trustDomain, authority, count });
  }
  return [...uses.values()];
}

export function describeSnapshot(snapshot: Snapshot, uses: readonly AuthorityUse[]): object {
  const { own, bundles, policy, revocations, sequence, trustRevision } = snapshot;
  return {
    sequence,
    policyRevision: policy.revision,
    trustRevision,
    own: { id: own.id.uri, serial: own.leaf.serial, notAfter: iso(own.leaf.notAfterMs) },
    trust: [...bundles.values()].map(({ trustDomain, revision, authorities }) => ({
      trustDomain,
      revision,
      authorities: authorities.map(({ sha256, subject, notAfterMs }) => ({
        sha256,
        subject,
        notAfter: iso(notAfterMs),
        connections: uses.find((use) => use.authority === sha256)?.count ?? 0,
      })),
    })),
    revocations: revocations.entries.length,
  };
}

export function describeConnections(listeners: readonly HttpListener[], limit: number): object {
  const shown: object[] = [];
  let total = 0;
  for (const { context, live } of listeners) {
    for (const connection of live) {
      if (++total > limit) continue;
      shown.push({
        id: connection.id,
        listener: context.name,
        principal: connection.credential?.principalFields(),
        openedAt: iso(connection.openedAtMs),
        requests: connection.requests,
        open: connection.open.size,
        refused: connection.refusal?.reason,
        tls: connection.tls,
        peer: { address: connection.peerAddress },
      });
    }
  }
  return { total, shown: shown.length, connections: shown };
}

const iso = (ms: number): string => new Date(ms).toISOString();
