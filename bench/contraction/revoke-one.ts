import { readAuditLines } from '../support/audit-lines.js';
import { type BenchSite, pause, withSite } from '../support/bench-site.js';
import { getRequest, type PemIdentity } from '../support/raw-connection.js';
import { quantile, round } from '../support/statistics.js';
import { Crowd, unixMs } from './crowd.js';
import { PROBES, Probes } from './probe.js';

export interface RevokeOneResult {
  readonly connections: number;
  readonly identities: number;
  /** Connections of the identity that is revoked. */
  readonly revoked: number;
  readonly ended: number;
  /** From the request to POST /revocations to its answer: in force, ended, and kept on the disk. */
  readonly answeredMs: number;
  /** From that request to the first and the last connection ended, as their clients see it. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** The same as the product records it. */
  readonly recordedMs: number;
  /** The others' requests: over some seconds before, and in the second after. */
  readonly p99BeforeMs: number;
  readonly p99AfterMs: number;
  readonly maxAfterMs: number;
  readonly failed: number;
}

/** Whom `revoke` revokes. */
export const TARGET = 'spiffe://example.org/ns/crowd/sa/target';
const REVOKED = 100;
const EACH = 10;
const BEFORE_MS = 6000;
/** The window in which a stall of ours could show. */
const AFTER_MS = 1000;
const REQUEST = getRequest('/invoices/7');

/** Revokes one identity that holds 100 of `connections` open connections, while others ask at a steady rate. */
export async function measureRevokeOne(nodePath: string, connections: number): Promise<RevokeOneResult> {
  const options = { crowd: connections };
  return withSite(
    nodePath,
    async (site) => {
      const crowd = new Crowd();
      let probes: Probes | undefined;
      try {
        const groups = await groupsOf(site, connections - PROBES);
        const { port } = site.countersign;
        await crowd.open({ port, request: REQUEST.toString('latin1'), groups });
        probes = await Probes.start({ port, identity: groups[1]?.identity ?? site.pki.caller });
        // The first fetch of a process loads its machinery: that is ours, not the subject's.
        await fetch(`http://127.0.0.1:${site.countersign.adminPort}/revocations`).then((r) => r.text());
        await pause(BEFORE_MS);
        const startMs = unixMs();
        const answeredMs = (await revoke(site)) - startMs;
        await pause(AFTER_MS * 1.5);
        const endedMs = (await crowd.ended()).map((atMs) => atMs - startMs);
        const { samples: asked, failed } = await probes.stop();
        const before = asked.filter(({ atMs }) => atMs < startMs - 100).map(({ ms }) => ms);
        const after = asked
          .filter(({ atMs }) => atMs >= startMs - 5 && atMs < startMs + AFTER_MS)
          .map(({ ms }) => ms);
        return {
          connections,
          identities: groups.length,
          revoked: REVOKED,
          ended: endedMs.length,
          answeredMs: round(answeredMs, 1),
          firstMs: round(Math.min(...endedMs), 1),
          lastMs: round(endedMs.length < REVOKED ? Number.POSITIVE_INFINITY : Math.max(...endedMs), 1),
          recordedMs: recordedMs(site),
          p99BeforeMs: round(quantile(before, 0.99)),
          p99AfterMs: round(quantile(after, 0.99)),
          maxAfterMs: round(Math.max(...after)),
          failed,
        };
      } finally {
        crowd.stop();
        await probes?.worker.terminate();
      }
    },
    options,
  );
}

interface Group {
  readonly identity: PemIdentity;
  readonly count: number;
}

async function groupsOf({ pki }: BenchSite, connections: number): Promise<Group[]> {
  const groups: Group[] = [{ identity: await pki.mint(TARGET), count: REVOKED }];
  for (let left = connections - REVOKED; left > 0; left -= EACH) {
    const identity = await pki.mint(`spiffe://example.org/ns/crowd/sa/w${groups.length}`);
    groups.push({ identity, count: Math.min(EACH, left) });
  }
  return groups;
}

/** @returns when it was answered. */
export async function revoke({ countersign }: BenchSite): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${countersign.adminPort}/revocations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: TARGET, reason: 'benchmark', author: 'bench' }),
  });
  const atMs = unixMs();
  if (response.status !== 200) throw new Error(`POST /revocations was answered ${response.status}`);
  return atMs;
}

function recordedMs({ countersign }: BenchSite): number {
  const lines = readAuditLines(countersign.auditFile);
  return lines.find(({ event }) => event === 'revocation.enforced')?.latencyMs ?? Number.NaN;
}
