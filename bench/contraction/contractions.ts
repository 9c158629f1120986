import { readAuditLines } from '../support/audit-lines.js';
import { CALLER, policyYaml, rulesUnderLoad } from '../support/bench-rules.js';
import { type BenchSite, pause, withSite } from '../support/bench-site.js';
import { clientContext, getRequest, RawConnection } from '../support/raw-connection.js';
import { cpuBetween } from '../support/running-program.js';
import { round } from '../support/statistics.js';

/** A change that takes access away, and the file that brings it. */
export interface Contraction {
  readonly name: string;
  readonly file: string;
  readonly content: string;
  /** Whether it leaves the workload nothing, so that its idle connections are to be closed. */
  readonly closes: boolean;
}

const others = rulesUnderLoad(100).slice(0, -1);

export const contractions: readonly Contraction[] = [
  {
    name: 'revocation of the identity',
    file: 'revoked.yaml',
    content: `version: 1\nrevoked:\n  - { id: "${CALLER}", reason: benchmark }\n`,
    closes: true,
  },
  {
    name: 'policy that leaves the identity nothing',
    file: 'policy.yaml',
    content: policyYaml(others.filter(({ principal }) => !principal.endsWith('/sa/web'))),
    closes: true,
  },
  {
    name: 'policy that leaves the identity other paths',
    file: 'policy.yaml',
    content: policyYaml(others),
    closes: false,
  },
];

export interface ContractionResult {
  readonly name: string;
  readonly connections: number;
  /** From the rename to the last connection closed, or (where none is to be closed) to the first request refused. */
  readonly biteMs: number;
  /** To the first connection closed: what noticing, reading and judging take. NaN where none is to be closed. */
  readonly firstMs: number;
  /** CPU that the proxy spent on it: what stays comparable on a busy machine. In steps of 10. */
  readonly cpuMs: number;
  readonly closed: number;
  /** Asked once more after the bite: refused, and (which must not be) answered. */
  readonly refused: number;
  readonly stillAnswered: number;
  /** The longest that the proxy's own records say, from seeing the cause to the connection's end. */
  readonly recordedMs: number;
}

const PATIENCE_MS = 2000;
const OPENING_AT_ONCE = 16;
const REQUEST = getRequest('/invoices/7');

/** Opens connections of one workload, puts the change in place by rename, and waits until it bites on the last one. */
export async function measureContraction(
  nodePath: string,
  contraction: Contraction,
  count: number,
): Promise<ContractionResult> {
  return withSite(nodePath, async (site) => {
    const connections = await openMany(site, count);
    await pause(300);
    const endedMs: number[] = [];
    for (const connection of connections) {
      connection.onEnd = () => {
        endedMs.push(performance.now());
        connection.destroy(); // a slow goodbye of ours would count as theirs
      };
    }
    const { program } = site.countersign;
    const cpuBefore = program.cpuTime();
    const renamedMs = site.folder.replace(contraction.file, contraction.content);
    const biteMs = contraction.closes
      ? await untilAllClosed(endedMs, count, renamedMs)
      : await untilRefused(connections[0]!, renamedMs);
    const spent = cpuBetween(cpuBefore, program.cpuTime());
    const closed = endedMs.length;
    const statuses = await Promise.all(connections.map((connection) => connection.ask(REQUEST)));
    for (const connection of connections) connection.destroy();
    await program.stop();
    return {
      name: contraction.name,
      connections: count,
      biteMs: round(biteMs, 1),
      firstMs: round((endedMs[0] ?? Number.NaN) - renamedMs, 1),
      cpuMs: round((spent.userSeconds + spent.systemSeconds) * 1000, 0),
      closed,
      refused: statuses.filter((status) => status === 403).length,
      stillAnswered: statuses.filter((status) => status === 200).length,
      recordedMs: Math.max(0, ...terminations(site.countersign.auditFile)),
    };
  });
}

async function openMany({ countersign, pki }: BenchSite, count: number): Promise<RawConnection[]> {
  const context = clientContext(pki.caller);
  const connections: RawConnection[] = [];
  while (connections.length < count) {
    const some = Math.min(OPENING_AT_ONCE, count - connections.length);
    const opened = await Promise.all(
      Array.from({ length: some }, () => RawConnection.open(countersign.port, context)),
    );
    for (const connection of opened) {
      const status = await connection.ask(REQUEST);
      if (status !== 200) throw new Error(`answered ${status} before anything was taken away`);
    }
    connections.push(...opened);
  }
  return connections;
}

async function untilAllClosed(endedMs: readonly number[], count: number, sinceMs: number): Promise<number> {
  while (endedMs.length < count && performance.now() - sinceMs < PATIENCE_MS) await pause(1);
  return endedMs.length < count ? Number.POSITIVE_INFINITY : Math.max(...endedMs) - sinceMs;
}

async function untilRefused(connection: RawConnection, sinceMs: number): Promise<number> {
  while (performance.now() - sinceMs < PATIENCE_MS) {
    if ((await connection.ask(REQUEST)) !== 200) return performance.now() - sinceMs;
  }
  return Number.POSITIVE_INFINITY;
}

function terminations(auditFile: string): number[] {
  return readAuditLines(auditFile)
    .filter(({ event }) => event === 'connection.terminated')
    .map(({ latencyMs }) => latencyMs ?? 0);
}
