import { closeSync, openSync, readSync } from 'node:fs';
import { round } from '../support/statistics.js';

export interface LoopReading {
  readonly wallMs: number;
  /** Of the whole process, threads too. */
  readonly cpuMs: number;
  /** The longest that the event loop kept a timer of 1 ms waiting. On a busy machine other programs are in it. */
  readonly longestStallMs: number;
  /** The most CPU that the main thread spent between two turns of that timer. NaN where the system does not say. */
  readonly longestTurnCpuMs: number;
  /** Most resident memory seen, above what there was before. */
  readonly memoryMiB: number;
}

/** Watches the event loop of this process while `work` runs. */
export async function watchLoop(work: () => Promise<void>): Promise<LoopReading> {
  const thread = new MainThreadTime();
  const memoryBefore = process.memoryUsage.rss();
  let longestStallMs = 0;
  let longestTurnCpuMs = Number.isNaN(thread.cpuMs()) ? Number.NaN : 0;
  let memory = memoryBefore;
  let lastMs = performance.now();
  let lastCpuMs = thread.cpuMs();
  const tick = (): void => {
    const [nowMs, cpuMs] = [performance.now(), thread.cpuMs()];
    longestStallMs = Math.max(longestStallMs, nowMs - lastMs - 1);
    longestTurnCpuMs = Math.max(longestTurnCpuMs, cpuMs - lastCpuMs);
    [lastMs, lastCpuMs] = [nowMs, cpuMs];
  };
  const ticker = setInterval(tick, 1);
  const memoryWatch = setInterval(() => {
    memory = Math.max(memory, process.memoryUsage.rss());
  }, 20);
  const cpuBefore = process.cpuUsage();
  const startMs = performance.now();
  try {
    await work();
  } finally {
    tick();
    clearInterval(ticker);
    clearInterval(memoryWatch);
    thread.close();
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    wallMs: round(performance.now() - startMs, 1),
    cpuMs: round((user + system) / 1000, 0),
    longestStallMs: round(longestStallMs, 1),
    longestTurnCpuMs: round(longestTurnCpuMs, 1),
    memoryMiB: round((memory - memoryBefore) / 1024 / 1024, 0),
  };
}

/** What Linux says that the main thread has spent on a CPU. */
class MainThreadTime {
  readonly #text = Buffer.alloc(128);
  readonly #file: number | undefined;

  constructor() {
    try {
      this.#file = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
    } catch {
      this.#file = undefined;
    }
  }

  cpuMs(): number {
    if (this.#file === undefined) return Number.NaN;
    const length = readSync(this.#file, this.#text, 0, this.#text.length, 0);
    return Number(this.#text.toString('latin1', 0, length).split(' ')[0]) / 1e6;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }
}
