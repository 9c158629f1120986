import type { HealthCheckConfig } from '../config/config.js';
import type { Connector } from './connector.js';
import { probeTarget, type Spoken } from './health-probe.js';

/** Share by which pauses vary, so that the checks of many targets and processes do not fall together. */
const JITTER = 0.1;

/** Asks one target again and again, one question at a time, until it is stopped. It keeps no process alive. */
export class HealthCheck {
  #timer: NodeJS.Timeout;
  #isStopped = false;
  readonly #ask: () => Promise<string | undefined>;
  readonly #everyMs: number;
  readonly #onResult: (problem: string | undefined) => void;

  /** @param onResult what is wrong with it; undefined = nothing. */
  constructor(
    connector: Connector,
    spoken: Spoken,
    config: HealthCheckConfig,
    onResult: (problem: string | undefined) => void,
  ) {
    this.#ask = () => probeTarget(connector, spoken, config);
    this.#everyMs = config.everyMs;
    this.#onResult = onResult;
    this.#timer = this.#after(Math.random() * JITTER * config.everyMs);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #after(ms: number): NodeJS.Timeout {
    return setTimeout(() => void this.#run(), ms).unref();
  }

  async #run(): Promise<void> {
    const problem = await this.#ask();
    if (this.#isStopped) return;
    this.#timer = this.#after(this.#everyMs * (1 - JITTER + 2 * JITTER * Math.random()));
    this.#onResult(problem);
  }
}
