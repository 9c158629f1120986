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
  const watch = new LoopWatch();
  try {
    await work();
  } finally {
    watch.stop();
  }
  return watch.stop();
}

/** Watches the event loop of this process from now on. */
export class LoopWatch {
  readonly #thread = new MainThreadTime();
  readonly #memoryBefore = process.memoryUsage.rss();
  readonly #cpuBefore = process.cpuUsage();
  readonly #startMs = performance.now();
  readonly #timers: readonly NodeJS.Timeout[];
  #longestStallMs = 0;
  #longestTurnCpuMs: number;
  #memory = this.#memoryBefore;
  #lastMs = this.#startMs;
  #lastCpuMs: number;
  #reading: LoopReading | undefined;

  constructor() {
    this.#lastCpuMs = this.#thread.cpuMs();
    this.#longestTurnCpuMs = Number.isNaN(this.#lastCpuMs) ? Number.NaN : 0;
    const watchMemory = (): void => {
      this.#memory = Math.max(this.#memory, process.memoryUsage.rss());
    };
    this.#timers = [setInterval(() => this.#tick(), 1).unref(), setInterval(watchMemory, 20).unref()];
  }

  /** What was seen until the first call of it. */
  stop(): LoopReading {
    if (this.#reading !== undefined) return this.#reading;
    this.#tick();
    for (const timer of this.#timers) clearInterval(timer);
    this.#thread.close();
    const { user, system } = process.cpuUsage(this.#cpuBefore);
    this.#reading = {
      wallMs: round(performance.now() - this.#startMs, 1),
      cpuMs: round((user + system) / 1000, 0),
      longestStallMs: round(this.#longestStallMs, 1),
      longestTurnCpuMs: round(this.#longestTurnCpuMs, 1),
      memoryMiB: round((this.#memory - this.#memoryBefore) / 1024 / 1024, 0),
    };
    return this.#reading;
  }

  #tick(): void {
    const [nowMs, cpuMs] = [performance.now(), this.#thread.cpuMs()];
    this.#longestStallMs = Math.max(this.#longestStallMs, nowMs - this.#lastMs - 1);
    this.#longestTurnCpuMs = Math.max(this.#longestTurnCpuMs, cpuMs - this.#lastCpuMs);
    [this.#lastMs, this.#lastCpuMs] = [nowMs, cpuMs];
  }
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
