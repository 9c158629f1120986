import { type AuthorityUse, authorityKey } from './app-dependents.js';
import type { Credential, CredentialIndex } from './listener/credential.js';
import type { HttpListener } from './listener/http-listener.js';
import type { Snapshot } from './snapshot.js';

/** What /snapshot and /connections show of the running process. Reads, changes nothing. */

const MAX_SHOWN = 20;

export function describeSnapshot(
  snapshot: Snapshot,
  uses: ReadonlyMap<string, AuthorityUse>,
  ownProblem: string | undefined,
): object {
  const { own, bundles, policy, revocations, sequence, trustRevision } = snapshot;
  return {
    sequence,
    policyRevision: policy.revision,
    trustRevision,
    own: {
      id: own.id.uri,
      serial: own.leaf.serial,
      notAfter: iso(own.leaf.notAfterMs),
      problem: ownProblem,
    },
    trust: [...bundles.values()].map(({ trustDomain, revision, authorities }) => ({
      trustDomain,
      revision,
      authorities: authorities.map(({ sha256, subject, notBeforeMs, notAfterMs }) => ({
        sha256,
        subject,
        notBefore: iso(notBeforeMs),
        notAfter: iso(notAfterMs),
        ...describeUse(uses.get(authorityKey(trustDomain, sha256))),
      })),
    })),
    revocations: revocations.entries.length,
  };
}

/** Who would be locked out if this authority were taken away now, as far as this process has seen. */
function describeUse(use: AuthorityUse | undefined): object {
  return {
    connections: use?.connections ?? 0,
    lastSeen: use === undefined ? undefined : iso(use.lastSeenMs),
    /** Identities whose newest credential it verified. */
    dependents: {
      identities: use?.dependents.length ?? 0,
      shown: (use?.dependents ?? [])
        .slice(0, MAX_SHOWN)
        .map(({ id, connections, lastSeenMs, issuedMs, notAfterMs }) => ({
          id,
          connections,
          lastSeen: iso(lastSeenMs),
          issued: iso(issuedMs),
          notAfter: iso(notAfterMs),
        })),
    },
    /** Identities that it verified before another authority verified a newer credential of theirs. */
    moved: use?.moved ?? 0,
  };
}

/** Credentials that live longer than the configuration calls usual. */
export function describeLongLived(credentials: CredentialIndex): object {
  const long = [...credentials].filter(({ isLongLived }) => isLongLived);
  return { total: long.length, shown: long.slice(0, MAX_SHOWN).map(describeCredential) };
}

const describeCredential = ({ svid, connections, seenAtMs }: Credential): object => ({
  id: svid?.id.uri,
  serial: svid?.leaf.serial,
  notAfter: svid && iso(svid.leaf.notAfterMs),
  connections: connections.size,
  lastSeen: iso(seenAtMs),
});

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
