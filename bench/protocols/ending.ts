import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Crowd, unixMs } from '../contraction/crowd.js';
import { revoke, TARGET } from '../contraction/revoke-one.js';
import { readAuditLines } from '../support/audit-lines.js';
import { type BenchSite, pause } from '../support/bench-site.js';
import { round } from '../support/statistics.js';
import type { LoopReading } from '../trust/event-loop.js';
import { jobOf, type StreamShape, withStreams } from './stream-shapes.js';

export interface EndingResult {
  readonly name: string;
  readonly streams: number;
  readonly ended: number;
  /** At the proxy: from seeing the revocation to the last connection off the wire, as it records it. */
  readonly recordedMs: number;
  /** From the order to the last one ended, as its client sees it: the client's own work is in it. */
  readonly lastMs: number;
  /** The proxy's event loop from the order on; on a busy machine other programs are in the stall, not in the turn's CPU. */
  readonly longestStallMs: number;
  readonly longestTurnCpuMs: number;
  readonly cpuMs: number;
  /** End records of the streams; each has one. */
  readonly records: number;
}

const SCRIPT = fileURLToPath(new URL('./loop-watch.js', import.meta.url));
const SETTLE_MS = 3000;
const PATIENCE_MS = 10_000;

/** Revokes the one identity that holds all of `streams` open streams. */
export async function measureEnding(
  nodePath: string,
  shape: StreamShape,
  streams: number,
): Promise<EndingResult> {
  const file = join(tmpdir(), `countersign-loop-${process.pid}-${Math.random().toString(36).slice(2)}.json`);
  const preload = { script: SCRIPT, env: { LOOP_WATCH: file } };
  const crowd = new Crowd();
  try {
    return await withStreams(nodePath, shape, preload, async (site) => {
      await crowd.open(jobOf(shape, site, await site.pki.mint(TARGET), streams));
      await fetch(`http://127.0.0.1:${site.countersign.adminPort}/revocations`).then((r) => r.text());
      await pause(SETTLE_MS);
      await readLoop(site, file); // what came before is none of it
      const startMs = unixMs();
      await revoke(site);
      const endedMs = await untilEnded(crowd, streams);
      const loop = await readLoop(site, file);
      const lines = await untilEnforced(site);
      const ends = lines.filter(({ event, phase }) => event === 'access' && phase !== 'start');
      return {
        name: shape.name,
        streams,
        ended: endedMs.length,
        recordedMs: lines.find(({ event }) => event === 'revocation.enforced')?.latencyMs ?? Number.NaN,
        lastMs: round(Math.max(...endedMs) - startMs, 1),
        longestStallMs: loop.longestStallMs,
        longestTurnCpuMs: loop.longestTurnCpuMs,
        cpuMs: loop.cpuMs,
        records: ends.length,
      };
    });
  } finally {
    crowd.stop();
    rmSync(file, { force: true });
  }
}

async function untilEnded(crowd: Crowd, count: number): Promise<readonly number[]> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const ended = await crowd.ended();
    if (ended.length >= count || performance.now() > untilMs) return ended;
    await pause(100);
  }
}

/** Its records follow; that all is done is the last of them. */
async function untilEnforced({ countersign }: BenchSite): Promise<ReturnType<typeof readAuditLines>> {
  const untilMs = performance.now() + PATIENCE_MS;
  for (;;) {
    await pause(500);
    const lines = readAuditLines(countersign.auditFile);
    const isDone = lines.some(({ event }) => event === 'revocation.enforced');
    if (isDone || performance.now() > untilMs) return lines;
  }
}

/** What the proxy's own watch saw since it was asked last. */
async function readLoop({ countersign }: BenchSite, file: string): Promise<LoopReading> {
  rmSync(file, { force: true });
  countersign.program.child.kill('SIGUSR2');
  const exited = once(countersign.program.child, 'exit');
  for (let left = PATIENCE_MS; left > 0; left -= 20) {
    await Promise.race([pause(20), exited]);
    if (!existsSync(file)) continue;
    const text = readFileSync(file, 'utf8');
    if (text.endsWith('}')) return JSON.parse(text) as LoopReading;
  }
  throw new Error('the watch in the proxy does not answer');
}
