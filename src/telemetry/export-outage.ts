import type { ExportLossCause } from '../audit/record.js';
import type { Diagnostics } from '../listener/ports.js';

/** Says once what keeps records from a collector, once that some are given up, and that it is over. */
export class ExportOutage {
  readonly #diagnostics: Diagnostics;
  #isAway = false;
  #givenUp = 0;
  #isNoted = false;

  constructor(diagnostics: Diagnostics) {
    this.#diagnostics = diagnostics;
  }

  /** The last attempt failed. */
  get isAway(): boolean {
    return this.#isAway;
  }

  failed(problem: string): void {
    if (!this.#isAway) this.#diagnostics.warn({ problem }, 'the collector does not take records');
    this.#isAway = true;
  }

  gaveUp(lines: number, why: ExportLossCause): void {
    if (this.#givenUp === 0)
      this.#diagnostics.error({ why }, 'records are not exported: the copy of the collector is incomplete');
    this.#givenUp += lines;
  }

  /** It took a batch, but for so many lines. */
  answered(rejected: number, message: string | undefined): void {
    if (message !== undefined && !this.#isNoted)
      this.#diagnostics.warn({ rejected, message }, 'the collector took records and says something of them');
    this.#isNoted = message !== undefined;
    if (this.#isAway || (rejected === 0 && this.#givenUp > 0))
      this.#diagnostics.info({ givenUp: this.#givenUp }, 'records are exported again');
    this.#isAway = false;
    if (rejected === 0) this.#givenUp = 0;
  }
}
