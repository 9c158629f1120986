import type { TrustedIssuer } from '../identity/token-trust.js';
import type { Credential, CredentialIndex } from '../listener/credential.js';
import type { Listener } from '../listener/listener.js';
import type { Snapshot } from '../snapshot.js';
import type { Answer } from '../workers/worker-pool.js';
import { type AuthorityUse, authorityKey } from './dependents.js';
import { type AuditView, mergeAuditViews } from './seals.js';
import { addUp, mergeSignals, type SignalsView } from './signal-view.js';
import { mergeUpstreams, type UpstreamsView } from './upstream-view.js';

/** What /snapshot and /connections show of the running process. Reads, changes nothing. */

const MAX_SHOWN = 20;

export function describeSnapshot(
  snapshot: Snapshot,
  uses: ReadonlyMap<string, AuthorityUse>,
  ownProblem: string | undefined,
): object {
  const { own, bundles, policy, revocations, sequence, tokens, trustRevision } = snapshot;
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
    tokens: [...tokens.issuers, ...tokens.delegates.values()].map(describeIssuer),
    revocations: revocations.entries.length,
    registry: policy.registry && {
      entries: policy.registry.entries.length,
      unregistered: policy.registry.unregistered,
      revision: policy.registry.revision,
    },
  };
}

/** Whose tokens count, and by which keys. Those of `jwt-svid` stand in the trust bundles. */
const describeIssuer = ({ issuer, keys, stale }: TrustedIssuer): object => ({
  name: issuer.name,
  kind: issuer.kind,
  issuer: issuer.kind === 'jwt-svid' ? undefined : issuer.issuer,
  keys: keys?.keys.map(({ kid, alg, thumbprint }) => ({ kid, alg, thumbprint })),
  stale,
});

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

export function describeConnections(listeners: readonly Listener[], limit: number): object {
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
    const { state, sequence, policyRevision, trustRevision, own } = value as Record<string, unknown>;
    const ownSerial = (own as { readonly serial?: string } | undefined)?.serial;
    const problems = problemsOf(value);
    const { external } = value as { readonly external?: object };
    const stands = { state, sequence, policyRevision, trustRevision, ownSerial, external };
    return { worker: index, pid, ...stands, problems };
  });
  // The own SVID too: an authority is taken away only when no worker shows a certificate of it any more.
  const revisions = new Set(
    workers.map(
      ({ policyRevision, trustRevision, ownSerial }) => `${policyRevision} ${trustRevision} ${ownSerial}`,
    ),
  );
  return { ...merged, agreed: revisions.size === 1, workers };
}

/** What one worker alone may have refused, or not got yet. */
function problemsOf(snapshot: object): object[] {
  const { sources = [] } = snapshot as {
    readonly sources?: readonly {
      name: string;
      lastError?: string;
      stale?: string;
      awaited?: boolean;
      drifted?: boolean;
    }[];
  };
  return sources
    .filter(({ lastError, stale, awaited }) => lastError !== undefined || stale !== undefined || awaited)
    .map(({ name, lastError, stale, awaited, drifted }) => ({ name, lastError, stale, awaited, drifted }));
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

interface Dependents {
  readonly identities: number;
  readonly shown: readonly { readonly id: string; readonly connections: number; readonly lastSeen: string }[];
}

/** One identity may be seen by several workers. How many there are in all is known where all are shown. */
function mergeDependents(a: Dependents, b: Dependents): Dependents {
  const byId = new Map(a.shown.map((one) => [one.id, one]));
  for (const one of b.shown) {
    const known = byId.get(one.id);
    if (known === undefined) byId.set(one.id, one);
    else {
      const latest = known.lastSeen > one.lastSeen ? known : one;
      byId.set(one.id, { ...latest, connections: known.connections + one.connections });
    }
  }
  const identities = Math.max(a.identities, b.identities, byId.size);
  return { identities, shown: [...byId.values()].slice(0, MAX_SHOWN) };
}

function sumOf(a: unknown, b: unknown, key = ''): unknown {
  if (typeof a === 'number' && typeof b === 'number') return COUNTED.has(key) ? a + b : a;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length ? a.map((item, i) => sumOf(item, b[i], key)) : a;
  }
  if (key === 'lastSeen' && typeof a === 'string' && typeof b === 'string') return a > b ? a : b;
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a ?? b;
  const other = b as Record<string, unknown>;
  if (key === 'memory') return addUp(a, b);
  if (key === 'signals') return mergeSignals(a as SignalsView, b as SignalsView);
  if (key === 'upstreams') return mergeUpstreams(a as UpstreamsView, b as UpstreamsView);
  if (key === 'dependents') return mergeDependents(a as Dependents, b as Dependents);
  if (key === 'audit') return mergeAuditViews([a as AuditView, b as AuditView]);
  return Object.fromEntries(
    Object.entries(a).map(([name, value]) => [name, sumOf(value, other[name], name)]),
  );
}

const iso = (ms: number): string => new Date(ms).toISOString();
