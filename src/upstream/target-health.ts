import type { HealthCheckConfig, UpstreamConfig } from '../config/config.js';

export type TargetState = 'available' | 'ejected' | 'unhealthy';

/** What does not answer is asked again ever more rarely, up to so many times the configured pause. */
const MAX_TIMES = 10;

/** Whether one target is to be sent anything, by what came of calls and of health checks. Times are monotonic milliseconds. */
export class TargetHealth {
  lastError: { readonly atMs: number; readonly problem: string } | undefined;
  readonly #ejection: UpstreamConfig['ejection'];
  readonly #check: HealthCheckConfig | undefined;
  #failuresInRow = 0;
  /** Ejections since the last success. */
  #timesInRow = 0;
  /** 0 = it is in. */
  #outUntilMs = 0;
  #isUnhealthy = false;
  /** Health checks in a row that contradict what is held of it. */
  #contradictions = 0;

  constructor({ ejection, healthCheck }: Pick<UpstreamConfig, 'ejection' | 'healthCheck'>) {
    this.#ejection = ejection;
    this.#check = healthCheck;
  }

  state(nowMs: number): TargetState {
    if (this.#isUnhealthy) return 'unhealthy';
    return this.#outUntilMs > nowMs ? 'ejected' : 'available';
  }

  /** Cheap where nothing is wrong: no clock is read. */
  isOut(now: () => number): boolean {
    return this.#isUnhealthy || (this.#outUntilMs !== 0 && this.#outUntilMs > now());
  }

  succeeded(): void {
    if (this.#failuresInRow === 0) return;
    this.#failuresInRow = 0;
    this.#timesInRow = 0;
  }

  /**
   * One that comes back and fails again is out again at once: the row has not been broken.
   * @param mayEject whether there is room among its like for one more that is out.
   * @returns whether it is out by this.
   */
  failed(problem: string, nowMs: number, mayEject: () => boolean): boolean {
    this.lastError = { atMs: nowMs, problem };
    this.#failuresInRow++;
    const ejection = this.#ejection;
    if (ejection === false || this.#failuresInRow < ejection.failures) return false;
    if (this.#outUntilMs > nowMs || !mayEject()) return false;
    this.#timesInRow = Math.min(this.#timesInRow + 1, MAX_TIMES);
    this.#outUntilMs = nowMs + ejection.forMs * this.#timesInRow;
    return true;
  }

  /** What a health check found. @returns whether its state is another now. */
  checked(problem: string | undefined, nowMs: number): boolean {
    if (problem !== undefined) this.lastError = { atMs: nowMs, problem };
    const check = this.#check;
    const isGood = problem === undefined;
    if (check === undefined || isGood !== this.#isUnhealthy) {
      this.#contradictions = 0;
      return false;
    }
    if (++this.#contradictions < (isGood ? check.healthy : check.unhealthy)) return false;
    this.#contradictions = 0;
    this.#isUnhealthy = !isGood;
    return true;
  }
}
