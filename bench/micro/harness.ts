import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { median, round } from '../support/statistics.js';

export interface MicroCase {
  readonly name: string;
  /** For much code, which takes longer to be compiled. */
  readonly warmUpMs?: number;
  /** One operation. What it returns is kept, so that no compiler can leave the work out. */
  run(): unknown;
  /** Between batches, for what has to settle (written records, say). */
  settle?(): Promise<void>;
}

export interface MicroResult {
  readonly name: string;
  /** Median over the batches. */
  readonly nsPerOp: number;
  readonly fastestNsPerOp: number;
  readonly bytesPerOp: number;
  readonly batches: number;
  readonly opsPerBatch: number;
}

const WARM_UP_MS = 200;
const BATCH_MS = 6;
const BATCHES = 31;
const MEMORY_RUNS = 9;
/** Far below a young generation, so that no collection falls into a measurement. */
const MEMORY_BYTES = 400_000;

setFlagsFromString('--expose-gc');
/** Of the young generation: what a measurement leaves behind is there, and the rest of the heap need not be walked. */
const collectGarbage = ((): (() => void) => {
  const gc = runInNewContext('gc') as (options: { type: 'minor' }) => void;
  return () => gc({ type: 'minor' });
})();

let kept: unknown;
/** Whether the last operation left anything: reading `kept` keeps it from being optimised away. */
export const hasResult = (): boolean => kept !== undefined;

/**
 * Warms all up, sizes a batch of each to some milliseconds, then takes the median of many. The batches of all go round in
 * turns, so that a busy moment of the machine, or code that is compiled late, does not fall on one of them alone.
 */
export async function measureAll(subjects: readonly MicroCase[]): Promise<MicroResult[]> {
  const running: { subject: MicroCase; opsPerBatch: number; times: number[] }[] = [];
  for (const subject of subjects) {
    running.push({ subject, opsPerBatch: await warmUp(subject), times: [] });
  }
  for (let i = 0; i < BATCHES; i++) {
    for (const { subject, opsPerBatch, times } of running) {
      times.push(runBatch(subject, opsPerBatch) / opsPerBatch);
      await settle(subject);
    }
  }
  const results: MicroResult[] = [];
  for (const { subject, opsPerBatch, times } of running) {
    results.push({
      name: subject.name,
      nsPerOp: round(median(times), 1),
      fastestNsPerOp: round(Math.min(...times), 1),
      bytesPerOp: Math.max(0, Math.round(await bytesPerOp(subject))),
      batches: BATCHES,
      opsPerBatch,
    });
  }
  return results;
}

async function warmUp(subject: MicroCase): Promise<number> {
  let ops = 1;
  for (let spentMs = 0; ; ) {
    const batchMs = runBatch(subject, ops) / 1e6;
    await settle(subject);
    spentMs += batchMs;
    if (spentMs >= (subject.warmUpMs ?? WARM_UP_MS))
      return Math.max(1, Math.round((ops * BATCH_MS) / batchMs));
    if (batchMs < BATCH_MS) ops *= 2;
  }
}

/** @returns nanoseconds. */
function runBatch(subject: MicroCase, ops: number): number {
  const before = process.hrtime.bigint();
  for (let i = 0; i < ops; i++) kept = subject.run();
  return Number(process.hrtime.bigint() - before);
}

async function bytesPerOp(subject: MicroCase): Promise<number> {
  let ops = 16;
  const seen: number[] = [];
  while (seen.length < MEMORY_RUNS) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < ops; i++) kept = subject.run();
    const grown = process.memoryUsage().heapUsed - before - MEASURING_BYTES;
    await settle(subject);
    if (grown < MEMORY_BYTES && ops < 4096) ops *= 2;
    else seen.push(grown / ops);
  }
  return median(seen);
}

/** What asking for the memory costs itself. */
const MEASURING_BYTES = ((): number => {
  const costs = Array.from({ length: 9 }, () => {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    return process.memoryUsage().heapUsed - before;
  });
  return median(costs);
})();

async function settle(subject: MicroCase): Promise<void> {
  await subject.settle?.();
  kept = undefined;
}
