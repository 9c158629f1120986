import type { CredentialIndex } from './listener/credential.js';
import type { HttpListener } from './listener/http-listener.js';
import type { Snapshot } from './snapshot.js';
import type { Answer } from './workers/worker-pool.js';

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

/** As one process would show it: what the workers agree on once, what each counts in sum, and each by itself below. */
export function mergeSnapshots(answers: readonly Answer<object>[]): object {
  const [first, ...rest] = answers;
  if (first === undefined) return { state: 'no worker answers', workers: [] };
  const merged = rest.reduce<unknown>((sum, { value }) => sumOf(sum, value), first.value) as object;
  const workers = answers.map(({ index, pid, value }) => {
    const { state, sequence, policyRevision, trustRevision } = value as Record<string, unknown>;
    return { worker: index, pid, state, sequence, policyRevision, trustRevision };
  });
  const revisions = new Set(
    workers.map(({ policyRevision, trustRevision }) => `${policyRevision} ${trustRevision}`),
  );
  return { ...merged, agreed: revisions.size === 1, workers };
}

export function mergeConnections(answers: readonly Answer<object>[], limit: number): object {
  let total = 0;
  const all: object[] = [];
  for (const { index, value } of answers) {
    const part = value as { total: number; connections: readonly object[] };
    total += part.total;
    all.push(...part.connections.map((connection) => ({ ...connection, worker: index })));
  }
  const connections = all.slice(0, limit);
  return { total, shown: connections.length, connections };
}

const COUNTED: ReadonlySet<string> = new Set(['connections', 'credentials']);

function sumOf(a: unknown, b: unknown, key = ''): unknown {
  if (typeof a === 'number' && typeof b === 'number') return COUNTED.has(key) ? a + b : a;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length ? a.map((item, i) => sumOf(item, b[i], key)) : a;
  }
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a ?? b;
  const other = b as Record<string, unknown>;
  return Object.fromEntries(
    Object.entries(a).map(([name, value]) => [name, sumOf(value, other[name], name)]),
  );
}

const iso = (ms: number): string => new Date(ms).toISOString();
